"""Programs that speak TLS: recorded by PID while busy, compared with what their peers and their
customers saw, replayed with the peers off, and failed when changed.

``KEBPF_TLS="name …"`` chooses rows of the matrix, ``KEBPF_TLS=all`` takes all; without it those
are run that are marked ``in_ci``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.conftest import skip_unless_root
from tests.e2e.fix_services import why_not
from tests.e2e.kebpf_runs import Entry
from tests.e2e.runtimes.reasons import JOINING, UNDER_WAY
from tests.e2e.tls.calls import Call, as_text
from tests.e2e.tls.harness import Program, Recording
from tests.e2e.tls.load import Sent
from tests.e2e.tls.rows import Row, choose_rows
from tests.e2e.tls.services import Services

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.kernel,
    pytest.mark.postgres,
    pytest.mark.redis,
    pytest.mark.timeout(600),
]
# A call of the library that was under way when its probe came is not seen to end.
PARKED = (
    "(a call it (may have )?made cannot be replayed: )?"
    r"(an unknown number of|[\d,]+) bytes of (a request|the re(quest|sponse)) were lost"
    "|something before its response could not be read, so the pairing is doubtful"
)
# A call of the thread's next request, of which nothing else was seen any more.
AT_THE_END = (
    "a call it (may have )?made cannot be replayed: "
    "the recording ended before the (request|response) was complete"
)
MOST_CALLS = 2  # of a request, each on a connection of its own at most
CHANGED_CASES = 8  # one of each size at least: a failing case waits for what does not come


@dataclass(frozen=True)
class Recorded:
    """A program whose peers are off by now, and its recording."""

    program: Program
    recording: Recording


@pytest.fixture(scope="module", params=choose_rows(), ids=lambda row: row.name)
def recorded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Recorded]:
    """Each row in turn."""
    skip_unless_root()
    row: Row = request.param
    reason = row.why_not() or why_not()
    if reason is not None:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp(row.name)
    with Services(folder, row.calls) as services:
        program = Program(row, services)
        recording = program.record(folder / "joined")
        services.switch_off()
        yield Recorded(program, recording)


def as_case(sent: Sent) -> tuple[object, ...]:
    """What must be in the case of a request."""
    return ("POST", sent.path, sent.note, sent.status, sent.answer)


def read_case(case: Entry) -> tuple[object, ...]:
    """What is in it."""
    request, response = case["request"], case["response"]
    sent, answered = as_text(request["body"]), as_text(response["body"])
    return (request["method"], request["path"], sent, response["status"], answered)


def shorten(calls: Iterable[Call]) -> list[tuple[object, ...]]:
    """Calls as a failure shows them."""
    return [
        (call.verb, call.number, len(call.sent), call.sent[:30], len(call.answered))
        for call in sorted(calls)[:10]
    ]


def test_every_request_is_a_case_with_its_bytes(recorded: Recorded) -> None:
    """Byte for byte what the customer sent and got, but for those under way at either end."""
    recording = recorded.recording
    left_out = recording.summary["left_out"]
    expected = {one.number: as_case(one) for one in recording.within}
    found = {
        number: read_case(case) for number, case in recording.cases.items() if number in expected
    }
    wrong = [number for number in found if found[number] != expected[number]]
    assert not wrong, [(found[number], expected[number]) for number in wrong[:2]]
    allowed = recorded.program.row.left_out
    missing = sorted(expected.keys() - found.keys())
    assert len(missing) <= count_as_allowed(left_out, allowed), (missing[:20], left_out)
    assert len(recording.within) >= recorded.program.row.requests
    assert set(recording.cases) <= {one.number for one in (*recording.within, *recording.around)}
    known = (*UNDER_WAY, JOINING, PARKED, *allowed)
    assert not [one for one in left_out if not any(re.fullmatch(each, one) for each in known)]


def count_as_allowed(left_out: dict[str, int], allowed: Sequence[str]) -> int:
    """Requests left out for what a row allows, or for how the recording joined a connection."""
    patterns = (*allowed, JOINING, PARKED, AT_THE_END)
    return sum(
        count
        for reason, count in left_out.items()
        if any(re.fullmatch(pattern, reason) for pattern in patterns)
    )


def test_every_call_is_a_mock_with_its_bytes(recorded: Recorded) -> None:
    """As the peer saw it; of a request left out, there may be fewer."""
    recording = recorded.recording
    cases = set(recording.cases)
    asked = Counter(call for call in recording.asked if call.number in cases)
    mocked = Counter(call for call in recording.mocked if call.number in cases)
    assert mocked == asked, (shorten(asked - mocked), shorten(mocked - asked))
    assert Counter(recording.mocked) <= Counter(recording.asked)
    assert bool(asked) == (recorded.program.row.calls is not None)


def test_nothing_is_left_unread(recorded: Recorded) -> None:
    summary = recorded.recording.summary
    assert summary["lost_events"] == summary["lost_bytes"] == 0
    under_way = len(recorded.recording.around)
    told = count_as_allowed(summary["left_out"], recorded.program.row.left_out)
    assert summary["unparsed_connections"] <= MOST_CALLS * (under_way + told), summary["unparsed"]


def test_same_version_passes_with_everything_off(recorded: Recorded, tmp_path: Path) -> None:
    recording = recorded.recording
    run = recorded.program.replay(recording.path, tmp_path / "events.jsonl")
    assert (run.status, run.failed) == (0, []), run.explain()
    finished = run.finished
    assert finished["passed"] == len(run.cases) == recording.summary["test_cases"]
    assert finished["passed"] >= recorded.program.row.min_cases
    verdicts = ("failed", "errored", "skipped", "misses", "findings")
    assert not any(finished[name] for name in verdicts), run.explain()


def test_changed_version_fails(recorded: Recorded, tmp_path: Path) -> None:
    """With a wrong field in the response, a call not made, a call with another argument."""
    recording = recorded.recording
    cases = recording.asserted[:CHANGED_CASES]
    for bug in recorded.program.row.bugs:
        report = tmp_path / f"{bug}.jsonl"
        run = recorded.program.replay(recording.path, report, bug, cases)
        assert run.status == 1, (bug, run.explain())
        assert len(run.failed) == len(run.cases) == len(cases) > 0, (bug, run.explain())
