# `make help` lists the targets.  Those that load eBPF programs use sudo when not run by root.
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SUDO := $(if $(filter 0,$(shell id -u)),,sudo --preserve-env=KEBPF_REQUIRE_KERNEL,KEBPF_RUNTIMES,KEBPF_STRANGERS,KEBPF_TLS,KEBPF_VM_CACHE)
PYTEST_ARGS ?=
MUTANTS_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup packages demo test runtimes java agent-jar strangers tls conformance dedup-million mutants lint format bench docs install uninstall purge deb test-vm test-kernels clean fidelity forms kills fuzz soak

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: packages $(READY) ## Install what is missing and make .venv, ready to use

packages:
	@packaging/setup/install-packages dev

$(READY): pyproject.toml | packages
	@test -x $(BIN)/python || /usr/bin/python3 -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@
	@echo "$(BIN)/kebpf is ready"

demo: setup ## Record a small shop, replay it with everything off, then find a regression
	$(SUDO) $(BIN)/python -m examples.demo

test: setup ## Run all tests, the kernel's among them (PYTEST_ARGS="-k word" for some)
	$(SUDO) $(BIN)/python -m pytest $(PYTEST_ARGS)

runtimes: setup ## Record and replay real programs of all runtimes (KEBPF_RUNTIMES="name …" for some)
	$(SUDO) KEBPF_RUNTIMES="$(or $(KEBPF_RUNTIMES),all)" $(BIN)/python -m pytest tests/e2e/test_runtimes.py $(PYTEST_ARGS)

java: setup ## Test the Java agent in depth, on every JDK there is (KEBPF_JVMS="/path/java:…" for more)
	$(SUDO) KEBPF_JVMS="$(KEBPF_JVMS)" $(BIN)/python -m pytest tests/e2e/test_java_agent.py $(PYTEST_ARGS)

agent-jar: ## Build the Java agent's jar from its sources (needs javac)
	packaging/java/build-jar kebpf/capture/java/kebpf-agent.jar

strangers: setup ## Record, replay and change services kebpf does not know (KEBPF_STRANGERS="name …" for some)
	$(SUDO) KEBPF_STRANGERS="$(or $(KEBPF_STRANGERS),all)" $(BIN)/python -m pytest tests/e2e/test_strangers.py $(PYTEST_ARGS)

tls: setup ## Record, replay and change programs that speak TLS (KEBPF_TLS="name …" for some)
	$(SUDO) KEBPF_TLS="$(or $(KEBPF_TLS),all)" $(BIN)/python -m pytest tests/e2e/test_tls_matrix.py tests/e2e/test_tls_harmless.py $(PYTEST_ARGS)

conformance: setup ## Run client libraries on real servers and on mocks (CONFORMANCE="name …" for some)
	$(SUDO) CONFORMANCE="$(or $(CONFORMANCE),all)" $(BIN)/python -m pytest tests/conformance $(PYTEST_ARGS)

fidelity: setup ## Record every application in a crowd, replay it in all orders (FIDELITY="name … --runs N")
	$(SUDO) $(BIN)/python -m tests.e2e.fidelity $(FIDELITY)

soak: setup ## Soak the agent with a busy service restarted every minute (SOAK_MINUTES=30 SOAK_QUOTA=16 MiB)
	$(SUDO) $(BIN)/python -m tests.e2e.soak --minutes $(or $(SOAK_MINUTES),30) --quota $(or $(SOAK_QUOTA),0)

forms: setup ## Replay every application in every form, compare the verdicts (FORMS="name … --runs N")
	$(SUDO) $(BIN)/python -m tests.e2e.forms $(FORMS)

kills: setup ## Kill recordings at random moments and see that nothing complete is lost (KILLS=100)
	$(SUDO) env KEBPF_KILLS="$(or $(KILLS),100)" $(BIN)/python -m pytest tests/recording/test_recovery.py tests/e2e/test_cut_off.py tests/e2e/test_agent_faults.py $(PYTEST_ARGS)

fuzz: setup ## Fuzz all parsers, guided by what code they reach (FUZZ_SECONDS=600, FUZZ="target …" for some)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[fuzz]'
	$(BIN)/python -m tests.fuzz --seconds $(or $(FUZZ_SECONDS),600) $(FUZZ)

dedup-million: setup ## Tell the shapes of 1,000,000 made-up exchanges apart, and measure that
	KEBPF_MILLION=1000000 $(BIN)/python -m pytest -q tests/recording/dedup/test_stream.py -k made_up --timeout 7200 $(PYTEST_ARGS)

lint: setup ## Check style, formatting, types and the C code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy examples benchmarks
	$(BIN)/mypy --explicit-package-bases docs/*.py
	clang-format --dry-run -Werror bpf/*.[ch]

format: setup ## Format Python and C
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	clang-format -i bpf/*.[ch]

bench: setup ## Measure what recording costs; writes benchmarks/RESULTS.md
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	packaging/setup/install-packages bench
	$(SUDO) $(BIN)/python -m benchmarks.bench

docs: setup ## Write the command-line reference and make the pictures of the reports
	$(BIN)/python docs/make_reference.py
	$(SUDO) $(BIN)/python -m docs.make_pictures

deb: ## Build the Debian package in dist/
	packaging/debian/build

test-vm: setup deb ## Boot Debian in qemu and try the package under its systemd (KEBPF_VM_CACHE=folder)
	$(SUDO) KEBPF_VM=1 $(BIN)/python -m pytest tests/vm $(PYTEST_ARGS)

test-kernels: setup ## Run the kernel's tests on the kernels of several releases (KERNELS="name …")
	$(SUDO) $(BIN)/python -m tests.vm.kernels $(KERNELS)

install: ## Install kebpf with service, man page and completions (/opt/kebpf, /usr/local)
	packaging/setup/install-packages runtime
	$(SUDO) packaging/setup/install add

uninstall: ## Remove what `make install` made; recordings and a changed configuration stay
	$(SUDO) packaging/setup/install remove

purge: ## The same, and the recordings and the configuration
	$(SUDO) packaging/setup/install purge

clean: ## Remove .venv, caches and builds; recordings stay
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache
	find . -name '*.egg-info' -prune -exec rm -rf {} +
	$(SUDO) rm -rf .pytest_cache .hypothesis
	$(SUDO) find . -name __pycache__ -prune -exec rm -rf {} +
