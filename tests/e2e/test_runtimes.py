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

from examples.oracle import OWN_COMMANDS
from tests.e2e.conftest import skip_unless_root
from tests.e2e.fix_services import why_not
from tests.e2e.kebpf_runs import Entry
from tests.e2e.runtimes.declaration import Runtime, find_runtimes, install
from tests.e2e.runtimes.harness import Program, Recording
from tests.e2e.runtimes.reasons import JOINING, UNDER_WAY, count_without_those_under_way
from tests.e2e.runtimes.routes import Sent
from tests.e2e.runtimes.servers import Servers, is_transaction

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


#: Left to `make runtimes` by default: what is of their kind is tested by another.
NEAR_ANOTHER = {"python-asyncio", "python-gunicorn-threads", "python-uvloop"}


def chosen_runtimes() -> list[Runtime]:
    """Those named in KEBPF_RUNTIMES, ``all`` of them; by default all but a few."""
    wanted = os.environ.get("KEBPF_RUNTIMES", "").replace(",", " ").split()
    if not wanted:
        return [one for one in find_runtimes() if one.name not in NEAR_ANOTHER]
    return [one for one in find_runtimes() if "all" in wanted or one.name in wanted]


@dataclass(frozen=True)
class Recorded:
    """A program whose servers are off by now, and its recordings."""

    program: Program
    joined: Recording
    fresh: Recording


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
        joined = program.record(folder / "joined")
        servers.forget()
        fresh = program.record_from_start(folder / "fresh")
        servers.switch_off()
        yield Recorded(program, joined, fresh)


def routes_of(recording: Recording) -> dict[str, str]:
    """The route of each request, by its number."""
    return {one.number: one.route for one in (*recording.within, *recording.around)}


def is_uncaptured(recorded: Recorded, sent: Sent) -> bool:
    """Whether it is the file of a program that has the kernel send it."""
    return recorded.program.runtime.sendfile > 0 and sent.route == "file"


def is_left_uncounted(mock: Entry) -> bool:
    """Whether `Servers.count_calls` does not: a transaction's ends; what it asks itself (INFO)."""
    request = mock["request"]
    if mock["protocol"] == "redis":
        return request["command"][0].lower() in OWN_COMMANDS
    return is_transaction(request.get("sql"))


def reasons_of(recorded: Recorded) -> list[str]:
    """The reasons for which requests of the runtime may be left out, as patterns."""
    runtime = recorded.program.runtime
    by_kernel = r"[\d,]+ bytes of the response were lost"  # fewer, of one that was half sent
    return [*runtime.left_out, JOINING, *([by_kernel] if runtime.sendfile else [])]


def assert_nothing_lost(recorded: Recorded, recording: Recording) -> None:
    """But what sendfile sent, and connections of which only the end of an answer was seen."""
    summary = recording.summary
    files = [one for one in (*recording.within, *recording.around) if one.route == "file"]
    lost = summary["lost_bytes"]
    if size := recorded.program.runtime.sendfile:
        within = sum(one.route == "file" for one in recording.within)
        assert within * size <= lost <= len(files) * size  # some were half sent when it began
    else:
        assert lost == 0
    assert summary["lost_events"] == 0
    assert summary["unparsed_connections"] <= summary["left_out"].get(UNDER_WAY[0], 0)


def test_every_request_is_a_case_or_left_out_for_a_reason(recorded: Recorded) -> None:
    """Joined under load."""
    recording = recorded.joined
    assert_nothing_lost(recorded, recording)
    within = {one.number for one in recording.within}
    assert set(recording.cases) <= set(routes_of(recording))
    allowed = (*reasons_of(recorded), *UNDER_WAY)
    left_out = recording.summary["left_out"]
    other = [one for one in left_out if not any(re.fullmatch(known, one) for known in allowed)]
    assert not other
    missing = within - set(recording.cases)
    assert len(missing) <= count_without_those_under_way(left_out), (missing, left_out)
    assert len(recording.cases) >= recorded.program.runtime.min_cases
    if recorded.program.runtime.recycles_after is not None:
        assert {routes_of(recording)[number] for number in recording.cases} == set(CALLS)


def test_every_request_is_a_case_from_the_start(recorded: Recorded) -> None:
    recording = recorded.fresh
    assert_nothing_lost(recorded, recording)
    kept = [one for one in recording.within if not is_uncaptured(recorded, one)]
    assert set(recording.cases) == {one.number for one in kept}
    left_out = count_without_those_under_way(recording.summary["left_out"])
    assert left_out == len(recording.within) - len(kept)
    assert {one.route for one in recording.within} == set(CALLS)


@pytest.mark.parametrize("form", ["joined", "fresh"])
def test_calls_are_those_the_routes_make(form: str, recorded: Recorded) -> None:
    recording: Recording = getattr(recorded, form)
    routes = routes_of(recording)
    owners = {case["name"]: number for number, case in recording.cases.items()}
    asked: Counter[tuple[str, str]] = Counter()
    maybe: Counter[tuple[str, str]] = Counter()
    for mock in recording.mocks:
        if mock["tier"] == "case" and mock["case"] in owners:
            asked[owners[mock["case"]], mock["protocol"]] += 1
        for name in mock["candidates"]:
            maybe[owners[name], mock["protocol"]] += 1
    wrong = {}
    for number in recording.cases:
        fitting = [
            expected
            for expected in CALLS[routes[number]]
            if all(
                asked[number, protocol]
                <= count
                <= asked[number, protocol] + maybe[number, protocol]
                for protocol, count in zip(("postgres", "redis"), expected, strict=True)
            )
        ]
        if not fitting:
            wrong[number] = (routes[number], asked[number, "postgres"], asked[number, "redis"])
    assert not wrong
    for protocol in ("postgres", "redis"):
        mocks = (mock for mock in recording.mocks if mock["protocol"] == protocol)
        held = sum(mock["calls"] for mock in mocks if not is_left_uncounted(mock))
        assert held <= recording.counted[protocol]
        if form == "fresh":
            assert held == recording.counted[protocol]


@pytest.mark.parametrize("form", ["joined", "fresh"])
def test_same_version_passes_with_everything_off(
    form: str, recorded: Recorded, tmp_path: Path
) -> None:
    recording: Recording = getattr(recorded, form)
    run = recorded.program.replay(recording.path, tmp_path / "events.jsonl")
    assert (run.status, run.failed) == (0, []), run.explain()
    finished = run.finished
    assert finished["passed"] == len(run.cases) == recording.summary["test_cases"]
    verdicts = ("failed", "errored", "skipped", "misses", "findings")
    assert not any(finished[name] for name in verdicts), run.explain()


def test_changed_version_fails(recorded: Recorded, tmp_path: Path) -> None:
    """Where the change shows, and nowhere else."""
    recording = recorded.fresh
    routes = routes_of(recording)
    names = {case["name"]: routes[number] for number, case in recording.cases.items()}
    for bug in recorded.program.runtime.bugs:
        run = recorded.program.replay(recording.path, tmp_path / f"{bug}.jsonl", bug)
        assert run.status == 1, (bug, run.explain())
        failed = {names[case["case"]] for case in run.failed}
        assert failed or run.finished["findings"]
        assert failed <= CHANGED_BY[bug], (bug, run.explain())
