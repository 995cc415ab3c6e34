"""The order of calls that one asyncio task makes one after the other, on any connections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from kebpf.recording.model import Endpoint, Mock, Timing
from kebpf.replay.events import CallFinding
from kebpf.replay.orders import MOST_COMPARED
from kebpf.replay.sequences import NOTE

from .builders import CACHE, DATABASE, RECORDED_NS, make_mock
from .matching import Run

SET, COUNT, READ, LAST = "SET name", "INCR count", "GET name", "INSERT done"
STEP = 1000
TASK, OTHER = 7, 8


def record(case: str, *operations: str, tasks: Sequence[int] = (TASK,)) -> list[Mock]:
    """Calls of a case one after the other, each on a connection of its own."""
    return [
        make_mock(
            operation,
            case,
            case=case,
            destination=place_of(operation),
            timing=Timing(RECORDED_NS + number * STEP, RECORDED_NS + number * STEP + 500),
            connection=number + 1,
            tasks=list(tasks),
        )
        for number, operation in enumerate(operations)
    ]


def place_of(operation: str) -> Endpoint:
    return DATABASE if operation == LAST else CACHE


def play(mocks: Sequence[Mock], *operations: str) -> list[CallFinding]:
    """What is found when the case ``a`` makes the calls in this order."""
    run = Run(*mocks)
    run.begin("a")
    for operation in operations:
        run.call(operation, "a", at=place_of(operation))
    return run.end()


def test_a_call_that_is_no_longer_waited_for_is_overtaken() -> None:
    mocks = [*record("a", READ, SET, COUNT, LAST), *record("b", READ, SET, COUNT, LAST)]
    assert play(mocks, READ, SET, COUNT, LAST) == []
    (finding,) = play(mocks, READ, COUNT, SET, LAST)
    assert (finding.kind, finding.note) == ("reordered", NOTE)
    assert (finding.call, finding.nearest) == ("INCR count ['a']", "SET name ['a']")
    (finding,) = play(mocks, READ, SET, LAST, COUNT)
    assert finding.nearest == "INCR count ['a']"


BOTH = [*record("a", SET, COUNT), *record("b", SET, COUNT)]


@pytest.mark.parametrize(
    "mocks",
    [
        record("a", SET, COUNT),  # once may be chance
        [*record("a", SET, COUNT), *record("b", COUNT, SET)],
        [*record("a", SET, COUNT), *record("b", SET, COUNT, SET)],
        [*record("a", SET, COUNT), *record("b", SET, COUNT, tasks=())],
        [*record("a", SET, COUNT), record("b", SET)[0], record("b", SET, COUNT, tasks=(OTHER,))[1]],
        [*record("a", SET, COUNT), *(replace(one, timing=BOTH[0].timing) for one in BOTH[2:])],
        [replace(BOTH[0], tasks=[OTHER]), *BOTH[1:]],
        [*BOTH, make_mock(SET, "c", case=None, candidates=["a", "b"], destination=CACHE)],
    ],
)
def test_where_it_may_be_chance_nothing_is_said(mocks: Sequence[Mock]) -> None:
    assert [one for one in play(mocks, COUNT, SET) if one.kind == "reordered"] == []


def test_what_others_do_says_nothing_of_a_case_that_does_otherwise() -> None:
    """Of many cases only the first are asked."""
    others = [mock for number in range(MOST_COMPARED) for mock in record(f"b{number}", SET, COUNT)]
    at_once = [replace(one, tasks=[TASK, number]) for number, one in enumerate(BOTH[:2])]
    assert play([*others, *at_once], COUNT, SET) == []
    assert len(play([*others, *BOTH[:2]], COUNT, SET)) == 1


def test_two_reads_have_no_order() -> None:
    mocks = [*record("a", READ, "EXISTS name"), *record("b", READ, "EXISTS name")]
    assert play(mocks, "EXISTS name", READ) == []


ANSWERED = RECORDED_NS + 500  # the first call


@pytest.mark.parametrize(
    ("first", "second", "is_sequence"),
    [
        ([TASK, OTHER], [TASK, ANSWERED], True),  # a task each, one made after the other's end
        ([TASK, OTHER], [TASK], True),
        ([TASK], [TASK, ANSWERED + 1], True),
        ([TASK, OTHER], [TASK, ANSWERED - 1], False),  # both at once
        ([TASK, OTHER], [TASK, 9, ANSWERED + 1], False),  # of a branch that was there before
        ([OTHER], [TASK], False),
    ],
)
def test_a_task_made_for_a_call_counts_from_its_making(
    first: list[int], second: list[int], is_sequence: bool
) -> None:
    mocks = [
        replace(one, tasks=tasks)
        for case in ("a", "b")
        for one, tasks in zip(record(case, SET, COUNT), (first, second), strict=True)
    ]
    found = [one.kind for one in play(mocks, COUNT, SET)]
    assert found == ["reordered"] * is_sequence
