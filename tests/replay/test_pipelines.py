"""The order of calls that a program sends together is its own; chance meetings have none."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from kebpf.recording.model import Mock, Timing
from kebpf.replay.events import CallFinding

from .builders import CACHE, RECORDED_NS, make_mock
from .matching import Run

SET, COUNT, READ = "SET name", "INCR count", "GET name"


def record(case: str, *segments: Sequence[str], key: str = "") -> list[Mock]:
    """Calls of a case on one connection, piece after piece."""
    found = []
    for number, segment in enumerate(segments):
        start = RECORDED_NS + number * 1000
        for operation in segment:
            request = {"sql": operation, "args": [case]}
            request |= {"command": [operation, key]} if key else {}
            timing = Timing(start, start + 500)
            found.append(
                make_mock(
                    operation, case, case=case, timing=timing, destination=CACHE, request=request
                )
            )
    return found


def play(run: Run, case: str, *operations: str) -> list[CallFinding]:
    run.begin(case)
    for operation in operations:
        run.call(operation, case, at=CACHE)
    return run.end()


def test_calls_always_sent_together_in_one_order_are_reordered_otherwise() -> None:
    mocks = [*record("a", (SET, COUNT)), *record("b", (SET, COUNT))]
    assert play(Run(*mocks), "a", SET, COUNT) == []
    (finding,) = play(Run(*mocks), "a", COUNT, SET)
    assert (finding.kind, finding.call, finding.nearest) == (
        "reordered",
        "INCR count ['a']",
        "SET name ['a']",
    )


@pytest.mark.parametrize(
    "other",
    [
        [],  # one case alone may have had them together by chance
        record("b", (COUNT, SET)),
        record("b", (SET,), (COUNT,)),
        record("b", (SET, COUNT, SET)),
    ],
)
def test_an_order_that_may_be_chance_is_not_asserted(other: list[Mock]) -> None:
    assert play(Run(*record("a", (SET, COUNT)), *other), "a", COUNT, SET) == []


def test_two_reads_and_calls_that_waited_for_answers_may_change_places() -> None:
    reads = [*record("a", (READ, "GET x")), *record("b", (READ, "GET x"))]
    assert play(Run(*reads), "a", "GET x", READ) == []
    apart = [*record("a", (SET,), (COUNT,)), *record("b", (SET,), (COUNT,))]
    assert play(Run(*apart), "a", COUNT, SET) == []


def test_calls_on_one_key_have_an_order_at_once() -> None:
    run = Run(*record("a", ("RPUSH", "LTRIM"), key="list"))
    assert [one.kind for one in play(run, "a", "LTRIM", "RPUSH")] == ["reordered"]
