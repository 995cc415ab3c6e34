"""Programs of other runtimes are recorded while they serve, pass their own recording, and fail
it when they are changed."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.conftest import skip_unless_root
from tests.e2e.fix_services import why_not
from tests.e2e.runtimes.declaration import Runtime, find_runtimes, install
from tests.e2e.runtimes.harness import Program, Recording
from tests.e2e.runtimes.servers import Servers

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.kernel,
    pytest.mark.postgres,
    pytest.mark.redis,
    pytest.mark.timeout(900),
]

# What a request of a route asks of PostgreSQL and of Redis, transactions and sessions aside.
CALLS: dict[str, tuple[tuple[int, int], ...]] = {
    "health": ((0, 0),),
    "create": ((2, 2),),
    "refuse": ((0, 0),),
    "read hit": ((0, 1),),
    "read miss": ((1, 2),),
    "read none": ((1, 1),),
    "list": ((1, 0),),
    "delete": ((1, 1),),
    "delete none": ((1, 0), (1, 1)),
    "echo": ((0, 0),),
    "report": ((1, 0),),
    "file": ((0, 0),),
}
# The routes whose answers or calls a regression changes.
CHANGED_BY = {
    "title": {"create", "read miss", "list"},
    "history": {"create"},
    "order": {"list"},
}


def chosen_runtimes() -> list[Runtime]:
    """All, or those named in KEBPF_RUNTIMES."""
    wanted = os.environ.get("KEBPF_RUNTIMES", "").replace(",", " ").split()
    return [one for one in find_runtimes() if not wanted or one.name in wanted]


@dataclass(frozen=True)
class Recorded:
    """A program whose servers are off by now, and its recording."""

    program: Program
    recording: Recording


@pytest.fixture(scope="module", params=chosen_runtimes(), ids=lambda runtime: runtime.name)
def recorded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Recorded]:
    """Each runtime in turn."""
    skip_unless_root()
    runtime: Runtime = request.param
    reason = runtime.why_not() or why_not()
    if reason is not None:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp(runtime.name)
    with Servers(folder) as servers:
        program = Program(runtime, install(runtime), servers)
        recording = program.record(folder / "recording")
        servers.switch_off()
        yield Recorded(program, recording)


def test_every_request_sent_while_recording_is_a_case(recorded: Recorded) -> None:
    recording, runtime = recorded.recording, recorded.program.runtime
    lost = ("lost_events", "lost_bytes", "unparsed_connections")
    assert {name: recording.summary[name] for name in lost} == dict.fromkeys(lost, 0)
    within = {one.number: one.route for one in recording.within}
    around = {one.number for one in recording.around}
    cases = recording.cases
    assert set(cases) <= set(within) | around
    missing = {number: within[number] for number in set(within) - set(cases)}
    explained = sum(
        count
        for reason, count in recording.summary["left_out"].items()
        if any(re.fullmatch(allowed, reason) for allowed in runtime.left_out)
    )
    assert len(missing) <= explained, (missing, recording.summary["left_out"])
    assert len(cases) >= (runtime.min_cases or 0)
    assert {within[number] for number in cases if number in within} == set(CALLS)


def test_calls_are_those_the_routes_make(recorded: Recorded) -> None:
    recording = recorded.recording
    routes = {one.number: one.route for one in (*recording.within, *recording.around)}
    owners = {case["name"]: number for number, case in recording.cases.items()}
    asked = Counter(
        (owners[mock["case"]], mock["protocol"])
        for mock in recording.mocks
        if mock["case"] and mock["tier"] == "case"
    )
    open_calls = [mock for mock in recording.mocks if mock["candidates"]]
    wrong = {}
    for number in recording.cases:
        found = (asked[number, "postgres"], asked[number, "redis"])
        if found not in CALLS[routes[number]]:
            wrong[number] = (routes[number], found)
    assert not wrong or open_calls, wrong
    for protocol in ("postgres", "redis"):
        held = sum(mock["calls"] for mock in recording.mocks if mock["protocol"] == protocol)
        assert 0 < held <= recording.counted[protocol]


def test_same_version_passes_with_everything_off(recorded: Recorded, tmp_path: Path) -> None:
    run = recorded.program.replay(recorded.recording.path, tmp_path / "events.jsonl")
    assert (run.status, run.failed) == (0, []), run.explain()
    finished = run.finished
    assert finished["passed"] == len(run.cases) == len(recorded.recording.cases)
    verdicts = ("failed", "errored", "skipped", "misses", "findings")
    assert not any(finished[name] for name in verdicts), run.explain()


def test_changed_version_fails(recorded: Recorded, tmp_path: Path) -> None:
    """In every case the change shows in, and in no other."""
    recording = recorded.recording
    routes = {one.number: one.route for one in (*recording.within, *recording.around)}
    names = {case["name"]: routes[number] for number, case in recording.cases.items()}
    for bug in recorded.program.runtime.bugs:
        run = recorded.program.replay(recording.path, tmp_path / f"{bug}.jsonl", bug)
        assert run.status == 1, run.explain()
        failed = {case["case"] for case in run.failed}
        expected = {name for name, route in names.items() if route in CHANGED_BY[bug]}
        assert failed == expected, (bug, run.explain())
