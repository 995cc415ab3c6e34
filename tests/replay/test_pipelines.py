"""The order of calls that a program sends together is its own; chance meetings have none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

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


FETCH = "SELECT note"


def record_flight(
    case: str,
    *calls: tuple[str, int, int],
    is_by_reader: bool = True,
    connection: int = 1,
) -> list[Mock]:
    """Calls of a case, each with its first byte and the end of its answer."""
    return [
        replace(
            make_mock(
                operation,
                case,
                case=case,
                timing=Timing(RECORDED_NS + start, RECORDED_NS + end),
                destination=CACHE,
                connection=connection,
            ),
            is_by_reader=is_by_reader,
        )
        for operation, start, end in calls
    ]


def is_red(*mocks: Mock) -> bool:
    """Whether the case ``a`` may no longer count before it sets."""
    operations = [str(mock.request["sql"]) for mock in mocks if mock.case == "a"]
    first, second = operations.index(SET), operations.index(COUNT)
    operations[first], operations[second] = operations[second], operations[first]
    run = Run(*mocks)
    run.begin("a")
    for operation in operations:
        run.call(operation, "a", at=CACHE)
    found = run.end()
    assert {one.kind for one in found} <= {"reordered"}
    return bool(found)


def test_calls_written_one_after_the_other_before_an_answer_are_in_order() -> None:
    flights = [record_flight(case, (SET, 0, 900), (COUNT, 30, 900)) for case in ("a", "b")]
    assert is_red(*flights[0], *flights[1])
    assert not is_red(*flights[0])  # one case alone may have had them so by chance
    assert play(Run(*flights[0], *flights[1]), "a", SET, COUNT) == []


def test_a_flight_behind_one_answer_is_in_order() -> None:
    flights = [
        record_flight(case, (FETCH, 0, 100), (SET, 200, 900), (COUNT, 230, 900))
        for case in ("a", "b")
    ]
    assert is_red(*flights[0], *flights[1])


@pytest.mark.parametrize(
    "calls",
    [
        [(SET, 0, 900), (COUNT, 950, 1200)],  # the answer to the first was there
        [(FETCH, 0, 100), ("SELECT user", 10, 120), (SET, 200, 900), (COUNT, 230, 900)],
        [(FETCH, 0, 210), (SET, 200, 900), (COUNT, 230, 900)],  # an answer came in between
    ],
)
def test_branches_side_by_side_may_change_places(calls: list[tuple[str, int, int]]) -> None:
    assert not is_red(*record_flight("a", *calls), *record_flight("b", *calls))


def test_threads_and_connections_side_by_side_may_change_places() -> None:
    calls = [(SET, 0, 900), (COUNT, 30, 900)]
    moving = [record_flight(case, *calls, is_by_reader=False) for case in ("a", "b")]
    assert not is_red(*moving[0], *moving[1])
    split = [
        [
            *record_flight(case, calls[0], connection=1),
            *record_flight(case, calls[1], connection=2),
        ]
        for case in ("a", "b")
    ]
    assert not is_red(*split[0], *split[1])


def test_a_case_that_shows_the_other_order_says_that_it_is_a_race() -> None:
    flights = [record_flight(case, (SET, 0, 900), (COUNT, 30, 900)) for case in ("a", "b")]
    other = record_flight("c", (COUNT, 0, 900), (SET, 30, 900))
    assert not is_red(*flights[0], *flights[1], *other)


def test_a_case_of_which_it_is_not_clear_says_nothing() -> None:
    flights = [record_flight(case, (SET, 0, 900), (COUNT, 30, 900)) for case in ("a", "b")]
    crowded = record_flight(
        "c", (FETCH, 0, 50), ("SELECT user", 10, 60), (SET, 70, 900), (COUNT, 80, 900)
    )
    assert is_red(*flights[0], *flights[1], *crowded)
