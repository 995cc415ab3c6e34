"""A read that the program was seen to give up is made or left out by chance, once a case."""

from __future__ import annotations

from typing import Any

from kebpf.recording.model import Mock, Tier, Timing
from kebpf.replay.events import MissKind
from kebpf.replay.givenup import GivenUp, was_cancelled

from .builders import RECORDED_NS, make_mock
from .matching import Run, kinds, rows

FIRST, SECOND, THIRD = "get-jam-00000a", "get-jam-00000a-2", "get-jam-00000a-3"
OTHER = "get-tea-00000a"
CASES = (FIRST, SECOND, THIRD, OTHER)
CANCELED = {"error": {"code": "57014", "message": "canceling statement due to user request"}}


def session(kind: str, at: int, connection: int, number: int) -> Mock:
    request: dict[str, Any] = {"sql": kind, "kind": kind}
    response: dict[str, Any] = {}
    (request if kind == "cancel" else response)["process_id"] = number
    timing = Timing(RECORDED_NS + at, RECORDED_NS + at + 1)
    where: dict[str, Any] = {"connection": connection, "timing": timing}
    told: dict[str, Any] = {"request": request, "response": response, "tier": Tier.SESSION}
    return make_mock(kind, **told, **where, name=f"{kind} {number} {at}")


def read(case: str | None, at: int = 10, connection: int = 1, **changes: Any) -> Mock:
    timing = Timing(RECORDED_NS + at, RECORDED_NS + at + 5)
    values = {"answer": [5], "timing": timing, "connection": connection, **changes}
    return make_mock("SELECT jam", 1, case=case, **values)


GIVEN_UP = [session("startup", 0, 1, 7), session("cancel", 12, 9, 7)]


def test_each_case_of_the_route_may_make_it_once() -> None:
    """Two of three were recorded to; what the run takes for granted is told."""
    run = Run(*GIVEN_UP, read(FIRST), read(SECOND, 30), cases=CASES)
    for case in (FIRST, SECOND, THIRD):
        run.begin(case)
        assert rows(run.call("SELECT jam", 1)) == [5]
        assert run.end() == []
    findings, ledger = run.matcher.finish()
    assert (findings, ledger.cached) == ([], ["SELECT jam [1]"])


def test_or_leave_it_out() -> None:
    run = Run(*GIVEN_UP, read(FIRST), cases=CASES)
    run.begin(FIRST)
    assert run.matcher.pending() == ["SELECT jam [1]"]  # it may still come
    assert run.end() == []
    assert run.matcher.finish()[1].cached == ["SELECT jam [1]"]


def test_but_not_twice_nor_on_another_route() -> None:
    run = Run(*GIVEN_UP, read(FIRST), cases=CASES)
    for case in (FIRST, SECOND):
        run.begin(case)
        for _ in range(2):
            run.call("SELECT jam", 1)
        assert [kind for kind, _ in kinds(run.end())] in (["repeated"], ["extra"])
    run.begin(OTHER)
    run.call("SELECT jam", 1)
    assert kinds(run.end()) == [("extra", None)]


def test_of_several_cases_that_may_have_made_it() -> None:
    """None of the calls is known to be one case's: three cases make two calls, or three, or one."""
    calls = [
        read(None, at, tier=Tier.CASE, candidates=[FIRST, SECOND, THIRD], name=f"at {at}")
        for at in (10, 20)
    ]
    for number in range(4):
        run = Run(*GIVEN_UP, *calls, cases=CASES)
        for case in (FIRST, SECOND, THIRD)[:number]:
            run.begin(case)
            run.call("SELECT jam", 1)
            assert run.end() == []
        for case in (FIRST, SECOND, THIRD)[number:]:
            run.begin(case)
            assert run.end() == []
        assert run.matcher.finish()[0] == []
    run.begin(FIRST)
    run.call("SELECT jam", 1)
    assert kinds(run.end()) == [("repeated", MissKind.USED_UP)]


def test_without_a_cancel_request_for_it_each_is_held_to_its_number() -> None:
    """It was for another connection, for a call before, or for what is no read."""
    others = (
        [session("startup", 0, 1, 7), session("cancel", 12, 9, 8)],
        [session("startup", 0, 1, 7), session("cancel", 9, 9, 7)],
        [session("startup", 0, 2, 7), session("cancel", 12, 9, 7)],
        [*GIVEN_UP, read("x", 11, request={"sql": "SELECT tea", "args": []}, name="later")],
    )
    for some in others:
        run = Run(*some, read(FIRST), cases=CASES)
        run.begin(FIRST)
        assert [one.kind for one in run.end()] == ["missing"]
    write: dict[str, Any] = {"request": {"sql": "DELETE jam", "args": []}, "name": "write"}
    run = Run(*GIVEN_UP, read(FIRST, **write), cases=CASES)
    run.begin(FIRST)
    assert [one.kind for one in run.end()] == ["missing"]


def test_answers_that_differ_are_not_given_for_one_another() -> None:
    """But that it was cancelled is not another answer."""
    run = Run(*GIVEN_UP, read(FIRST), read(SECOND, 30, answer=[6]), cases=CASES)
    run.begin(FIRST)
    assert [one.kind for one in run.end()] == ["missing"]
    cancelled = read(SECOND, 30, response=CANCELED)
    assert was_cancelled(cancelled) and not was_cancelled(read(FIRST))
    run = Run(*GIVEN_UP, read(FIRST), cancelled, cases=CASES)
    run.begin(FIRST)
    assert run.end() == []


def test_a_process_number_that_was_given_again_is_the_last_ones() -> None:
    given_up = GivenUp()
    mocks = [
        session("startup", 0, 1, 7),
        read(FIRST, 10, 1),
        session("startup", 20, 2, 7),
        read(SECOND, 30, 2),
        session("cancel", 31, 9, 7),
    ]
    for mock in mocks:
        given_up.note(mock)
    assert list(given_up.find()) == [3]
