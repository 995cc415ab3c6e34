# `make help` lists the targets.  Those that load eBPF programs use sudo when not run by root.
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SUDO := $(if $(filter 0,$(shell id -u)),,sudo --preserve-env=KEBPF_REQUIRE_KERNEL,KEBPF_RUNTIMES,KEBPF_STRANGERS)
PYTEST_ARGS ?=
MUTANTS_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup packages demo test runtimes strangers conformance mutants lint format bench docs install uninstall clean fidelity forms

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

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
	$(SUDO) $(BIN)/python -m pytest tests/e2e/test_runtimes.py $(PYTEST_ARGS)

strangers: setup ## Record, replay and change services kebpf does not know (KEBPF_STRANGERS="name …" for some)
	$(SUDO) KEBPF_STRANGERS="$(or $(KEBPF_STRANGERS),all)" $(BIN)/python -m pytest tests/e2e/test_strangers.py $(PYTEST_ARGS)

conformance: setup ## Run client libraries on real servers and on mocks (CONFORMANCE="name …" for some)
	$(SUDO) CONFORMANCE="$(or $(CONFORMANCE),all)" $(BIN)/python -m pytest tests/conformance $(PYTEST_ARGS)

fidelity: setup ## Record every application in a crowd, replay it in all orders (FIDELITY="name … --runs N")
	$(SUDO) $(BIN)/python -m tests.e2e.fidelity $(FIDELITY)

forms: setup ## Replay every application in every form, compare the verdicts (FORMS="name … --runs N")
	$(SUDO) $(BIN)/python -m tests.e2e.forms $(FORMS)

lint: setup ## Check style, formatting, types and the C code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy examples benchmarks docs/make_reference.py docs/make_pictures.py
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

install: ## Install kebpf into /opt/kebpf, with a link in /usr/local/bin
	packaging/setup/install-packages runtime
	$(SUDO) packaging/setup/install add

uninstall: ## Remove what `make install` made
	$(SUDO) packaging/setup/install remove

clean: ## Remove .venv, caches and builds; recordings stay
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache
	find . -name '*.egg-info' -prune -exec rm -rf {} +
	$(SUDO) rm -rf .pytest_cache .hypothesis
	$(SUDO) find . -name __pycache__ -prune -exec rm -rf {} +
