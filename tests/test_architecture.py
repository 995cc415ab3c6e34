"""What no module may break: the direction of imports, sizes, and that tests mirror the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "kebpf"
TESTS = ROOT / "tests"

# A stage imports those behind it only.
STAGES = (
    "pytest_plugin",
    "cli",
    "agent",
    "report",
    "replay",
    "recording",
    "protocols",
    "reassembly",
    "capture",
    "kernel",
)
KNOWS_ONLY = {"protocols": {"protocols"}}  # stricter than the order
ONLY_IN = {
    "bcc": ("kebpf/kernel/loader",),
    "rich": ("kebpf/report/", "kebpf/cli/"),
    "pytest": ("kebpf/pytest_plugin/",),
}
SANS_IO = (
    "kebpf/protocols/",
    "kebpf/reassembly/",
    "kebpf/recording/provenance.py",
    "kebpf/recording/values.py",
    "kebpf/replay/matcher.py",
    "kebpf/replay/comparison.py",
    "kebpf/replay/binding.py",
)
IO_MODULES = {"asyncio", "socket", "os", "time", "selectors", "select", "threading", "subprocess"}
MAX_LINES = 500
TRIVIAL_STATEMENTS = 25

# Modules above the trivial size without a test module of their own: where they are tested.
# Each entry was looked at with line coverage: that file alone runs nearly all of the module.
TESTED_IN: dict[str, str] = {
    "kebpf/agent/fields.py": "tests/agent/test_config.py",
    "kebpf/agent/recorder.py": "tests/e2e/test_agent.py",
    "kebpf/agent/status.py": "tests/e2e/test_agent.py",
    "kebpf/agent/supervisor.py": "tests/e2e/test_agent.py",
    "kebpf/capture/gnutls.py": "tests/capture/test_tlscode.py",
    "kebpf/capture/tlsevents.py": "tests/capture/test_events.py",
    "kebpf/cli/casehost.py": "tests/pytest_plugin/test_cases.py",
    "kebpf/cli/deciding.py": "tests/cli/test_review.py",
    "kebpf/cli/options.py": "tests/cli/test_commands.py",
    "kebpf/replay/tally.py": "tests/replay/test_runner.py",
    "kebpf/protocols/dns/framing.py": "tests/protocols/dns/test_pairing.py",
    "kebpf/protocols/dns/rdata.py": "tests/protocols/dns/test_messages.py",
    "kebpf/protocols/postgres/answering.py": "tests/protocols/postgres/test_extended.py",
    "kebpf/protocols/postgres/arrays.py": "tests/protocols/postgres/test_types.py",
    "kebpf/protocols/postgres/blocks.py": "tests/protocols/postgres/test_pairing.py",
    "kebpf/protocols/postgres/collecting.py": "tests/protocols/postgres/test_pairing.py",
    "kebpf/protocols/postgres/bits.py": "tests/protocols/postgres/test_types.py",
    "kebpf/protocols/postgres/dates.py": "tests/protocols/postgres/test_types.py",
    "kebpf/protocols/postgres/documents.py": "tests/protocols/postgres/test_pairing.py",
    "kebpf/protocols/postgres/exchanges.py": "tests/protocols/postgres/test_pairing.py",
    "kebpf/protocols/postgres/following.py": "tests/protocols/postgres/test_pairing.py",
    "kebpf/protocols/postgres/framing.py": "tests/protocols/postgres/test_pairing.py",
    "kebpf/protocols/postgres/geometry.py": "tests/protocols/postgres/test_types.py",
    "kebpf/protocols/postgres/lexing.py": "tests/protocols/postgres/test_statements.py",
    "kebpf/protocols/postgres/messages.py": "tests/protocols/postgres/test_parser.py",
    "kebpf/protocols/postgres/network.py": "tests/protocols/postgres/test_types.py",
    "kebpf/protocols/postgres/numeric.py": "tests/protocols/postgres/test_types.py",
    "kebpf/protocols/postgres/prepared.py": "tests/protocols/postgres/test_pairing.py",
    "kebpf/protocols/postgres/ranges.py": "tests/protocols/postgres/test_types.py",
    "kebpf/protocols/postgres/replies.py": "tests/protocols/postgres/test_session.py",
    "kebpf/protocols/postgres/settings.py": "tests/protocols/postgres/test_session.py",
    "kebpf/protocols/postgres/writer.py": "tests/protocols/postgres/test_parser.py",
    "kebpf/protocols/redis/catalogue.py": "tests/protocols/redis/test_pairing.py",
    "kebpf/protocols/redis/client_state.py": "tests/protocols/redis/test_pairing.py",
    "kebpf/protocols/redis/credentials.py": "tests/protocols/redis/test_pairing.py",
    "kebpf/protocols/redis/greetings.py": "tests/protocols/redis/test_server.py",
    "kebpf/protocols/redis/outstanding.py": "tests/protocols/redis/test_server.py",
    "kebpf/protocols/redis/parser.py": "tests/protocols/redis/test_replies.py",
    "kebpf/protocols/redis/stream.py": "tests/protocols/redis/test_replies.py",
    "kebpf/protocols/redis/subscriptions.py": "tests/protocols/redis/test_server.py",
    "kebpf/protocols/redis/writer.py": "tests/protocols/redis/test_replies.py",
    "kebpf/pytest_plugin/host.py": "tests/pytest_plugin/test_cases.py",
    "kebpf/recording/activity.py": "tests/recording/test_attribution.py",
    "kebpf/reassembly/connection.py": "tests/reassembly/test_tracker.py",
    "kebpf/recording/amendment.py": "tests/replay/test_acceptingcalls.py",
    "kebpf/recording/assembler.py": "tests/recording/test_recorder.py",
    "kebpf/recording/watched.py": "tests/recording/test_watcher.py",
    "kebpf/recording/assembly.py": "tests/recording/test_recorder.py",
    "kebpf/recording/body.py": "tests/recording/test_casefile.py",
    "kebpf/recording/checkout.py": "tests/recording/test_attribution.py",
    "kebpf/recording/dedup/groups.py": "tests/recording/dedup/test_stream.py",
    "kebpf/recording/dedup/mocks.py": "tests/recording/dedup/test_unique.py",
    "kebpf/recording/ids.py": "tests/recording/test_values.py",
    "kebpf/recording/jsonstyle.py": "tests/recording/test_casefile.py",
    "kebpf/recording/facts.py": "tests/recording/test_builder.py",
    "kebpf/recording/keeping.py": "tests/recording/test_recovery.py",
    "kebpf/recording/wreck.py": "tests/recording/test_recovery.py",
    "kebpf/recording/manifestfile.py": "tests/recording/test_store.py",
    "kebpf/recording/origins.py": "tests/recording/test_provenance.py",
    "kebpf/recording/rawforms.py": "tests/recording/test_provenance.py",
    "kebpf/recording/templates.py": "tests/recording/test_values.py",
    "kebpf/recording/redaction/calls.py": "tests/recording/redaction/test_redactor.py",
    "kebpf/recording/redaction/editor.py": "tests/recording/redaction/test_redactor.py",
    "kebpf/recording/redaction/headers.py": "tests/recording/redaction/test_redactor.py",
    "kebpf/recording/redaction/spans.py": "tests/recording/redaction/test_redactor.py",
    "kebpf/recording/redaction/vault.py": "tests/recording/redaction/test_redactor.py",
    "kebpf/recording/redaction/walking.py": "tests/recording/redaction/test_redactor.py",
    "kebpf/recording/timeline.py": "tests/recording/test_builder.py",
    "kebpf/recording/times.py": "tests/recording/test_values.py",
    "kebpf/recording/wrapping.py": "tests/replay/test_nested.py",
    "kebpf/recording/writer.py": "tests/recording/test_store.py",
    "kebpf/recording/yamltext.py": "tests/recording/test_casefile.py",
    "kebpf/replay/answers.py": "tests/replay/test_matcher.py",
    "kebpf/replay/call.py": "tests/replay/test_matcher.py",
    "kebpf/replay/case_calls.py": "tests/replay/test_matcher.py",
    "kebpf/replay/caserun.py": "tests/replay/test_runner.py",
    "kebpf/replay/clock.py": "tests/replay/test_binding.py",
    "kebpf/replay/patching.py": "tests/replay/test_accepting.py",
    "kebpf/replay/exec_child.py": "tests/replay/test_launch.py",
    "kebpf/replay/processes.py": "tests/replay/test_launch.py",
    "kebpf/replay/review.py": "tests/replay/test_accepting.py",
    "kebpf/replay/rewriting.py": "tests/replay/test_binding.py",
    "kebpf/replay/spawn.py": "tests/replay/test_launch.py",
    "kebpf/replay/world.py": "tests/replay/test_accepting.py",
    "kebpf/report/html/page.py": "tests/report/html/test_reporter.py",
}
# And those without any, and why.
UNTESTED: dict[str, str] = {
    "kebpf/protocols/base.py": "types only, checked by mypy",
    "kebpf/recording/model.py": "types only, checked by mypy",
    "kebpf/recording/progress.py": "types only, checked by mypy",
    "kebpf/replay/events.py": "types only, checked by mypy",
    "kebpf/replay/stages.py": "types only, checked by mypy",
}
# Test modules of no one module, and what they are about.
WIDER_TESTS: dict[str, str] = {
    "tests/recording/test_confined.py": "the recorder's two processes, one of them confined",
    "tests/recording/test_java_reports.py": "the watcher, with what a Java agent reports",
    "tests/capture/test_following.py": "the probes, and how targets and groups come and go",
    "tests/capture/test_stale.py": "the same, with the entry of a socket that is gone",
    "tests/capture/matrix/test_endings.py": "the same, with sockets whose end nobody tells",
    "tests/capture/matrix/test_endpoints.py": "the same, over every kind of address and ending",
    "tests/capture/matrix/test_processes.py": "the same, with sockets that change hands",
    "tests/capture/matrix/test_threads.py": "the same, with threads that get in each other's way",
    "tests/capture/matrix/test_bulk.py": "the same, on bodies beyond the limit of a call",
    "tests/capture/matrix/test_calls.py": "probes and reassembly, on every call that moves bytes",
    "tests/replay/test_clients_conduct.py": "the responder with clients that behave badly",
    "tests/replay/test_tls_clients.py": "the responder over TLS with real clients",
    "tests/report/html/test_browser.py": "the HTML report as a browser shows it",
    "tests/protocols/http1/test_live.py": "the protocol as a whole, on live traffic",
}

MODULES = sorted(PACKAGE.rglob("*.py"))
TEST_MODULES = sorted(TESTS.glob("*/**/test_*.py"))


def name_of(path: Path) -> str:
    """A path as it is written in the tables above."""
    return path.relative_to(ROOT).as_posix()


def mirror_of(path: Path) -> Path:
    """Where a module's tests belong."""
    return TESTS / path.relative_to(PACKAGE).parent / f"test_{path.stem}.py"


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def imports_of(path: Path) -> Iterator[str]:
    """The full names of all modules a file imports, wherever in it."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from _names_of(path, node)


def _names_of(path: Path, node: ast.ImportFrom) -> Iterator[str]:
    module = node.module or ""
    if node.level:
        package = path.relative_to(ROOT).with_suffix("").parts[: -node.level]
        module = ".".join((*package, module)).rstrip(".")
    yield module
    yield from (f"{module}.{alias.name}" for alias in node.names)


def stage_of(dotted: str) -> str | None:
    """The stage of a module of kebpf."""
    parts = dotted.split(".")
    return parts[1] if parts[0] == "kebpf" and len(parts) > 1 and parts[1] in STAGES else None


def has_top_level(imported: str, name: str) -> bool:
    return imported == name or imported.startswith(f"{name}.")


def count_statements(path: Path) -> int:
    """Statements that do something: no imports, no docstrings."""
    passive = (ast.Import, ast.ImportFrom, ast.Expr)
    return sum(
        isinstance(node, ast.stmt) and not isinstance(node, passive)
        for node in ast.walk(parse(path))
    )


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_one_way(path: Path) -> None:
    own = stage_of(".".join(path.relative_to(ROOT).with_suffix("").parts))
    imported = {stage for each in imports_of(path) if (stage := stage_of(each))}
    if own is None:
        return
    allowed = KNOWS_ONLY.get(own) or set(STAGES[STAGES.index(own) :])
    assert imported <= allowed


@pytest.mark.parametrize("library", ONLY_IN)
def test_library_is_imported_in_its_place_only(library: str) -> None:
    users = [
        name_of(path)
        for path in MODULES
        if any(has_top_level(each, library) for each in imports_of(path))
    ]
    assert [user for user in users if not user.startswith(ONLY_IN[library])] == []


@pytest.mark.parametrize(
    "path", [each for each in MODULES if name_of(each).startswith(SANS_IO)], ids=name_of
)
def test_pure_module_does_no_io(path: Path) -> None:
    imported = {each.partition(".")[0] for each in imports_of(path)}
    assert imported & IO_MODULES == set()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_module_prints_nothing_and_says_what_it_is_for(path: Path) -> None:
    tree = parse(path)
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert not any(isinstance(call, ast.Name) and call.id == "print" for call in calls)
    assert ast.get_docstring(tree) or not tree.body


def list_sources() -> list[Path]:
    """All Python and C files people write here."""
    folders = ("kebpf", "tests", "examples", "benchmarks", "bpf", "packaging")
    return sorted(
        path
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".c", ".h"}
    )


@pytest.mark.parametrize("path", list_sources(), ids=name_of)
def test_file_is_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", TEST_MODULES, ids=name_of)
def test_test_module_mirrors_a_module(path: Path) -> None:
    folder = path.relative_to(TESTS).parent
    whole = {"conformance", "e2e", "fuzz", "mutants", "packaging", "vm"}  # folders
    if folder.parts[0] in whole or name_of(path) in WIDER_TESTS:
        return
    subject = PACKAGE / folder / path.stem.removeprefix("test_")
    assert subject.with_suffix(".py").exists() or subject.is_dir()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_module_has_a_test_module(path: Path) -> None:
    if path.name.startswith("__") or count_statements(path) <= TRIVIAL_STATEMENTS:
        return
    assert mirror_of(path).exists() or name_of(path) in {**UNTESTED, **TESTED_IN}


def test_exceptions_are_still_needed() -> None:
    for name in (*UNTESTED, *TESTED_IN):
        path = ROOT / name
        assert path.exists(), f"{name} is gone"
        assert not mirror_of(path).exists(), f"{name} has a test module now"
        assert count_statements(path) > TRIVIAL_STATEMENTS, f"{name} is trivial"
    assert [test for test in TESTED_IN.values() if not (ROOT / test).exists()] == []
