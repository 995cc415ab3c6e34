"""How a case's transactions ended, and the order of calls in them, where it is certain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from kebpf.recording.model import Evidence, Mock, Tier, Timing
from kebpf.replay.events import CallFinding

from .builders import RECORDED_NS, make_mock
from .matching import Run

STOCK, ORDER, ITEM = "SELECT stock", "INSERT orders", "INSERT items"
MODES = "BEGIN ISOLATION LEVEL SERIALIZABLE"
CHAINED = "COMMIT AND CHAIN"
SESSION = {
    CHAINED,
    "BEGIN",
    MODES,
    "COMMIT",
    "ROLLBACK",
    "ROLLBACK TO X",
    "ROLLBACK TO Y",
    "RELEASE X",
}


def record(*calls: str, case: str = "a", connection: int = 1, **changes: Any) -> list[Mock]:
    """Calls one after the other on one connection; ``changes`` are those of session mocks."""
    found = []
    for number, sql in enumerate(calls):
        start = RECORDED_NS + number * 1000
        given: dict[str, Any] = {
            "connection": connection,
            "timing": Timing(start, start + 500),
            "name": f"{case} {number} {sql}",
        }
        if sql in SESSION:
            given |= {"tier": Tier.SESSION, **changes}
        found.append(make_mock(sql, case=case, **given))
    return found


def play(run: Run, *calls: str, case: str = "a") -> list[CallFinding]:
    run.begin(case)
    for sql in calls:
        if sql.upper().rstrip(";") in SESSION:
            run.session(sql=sql)
        else:
            run.call(sql)
    return run.end()


WHOLE = ("BEGIN", STOCK, ORDER, ITEM, "COMMIT")


def test_a_commit_that_became_a_rollback_is_changed() -> None:
    run = Run(*record("BEGIN", ORDER, "COMMIT"))
    run.begin()
    assert run.matcher.pending() == ["INSERT orders []", "COMMIT"]
    (finding,) = play(run, "BEGIN", ORDER, "ROLLBACK")
    assert (finding.kind, finding.call, finding.nearest) == ("changed", "ROLLBACK", "COMMIT")


@pytest.mark.parametrize(
    ("calls", "kinds"),
    [
        (("BEGIN", ORDER, ITEM), ["missing"]),
        (("BEGIN", ORDER, ITEM, "commit;"), []),
        (("BEGIN", ORDER, "COMMIT", "BEGIN", ITEM, "COMMIT"), ["extra"]),
    ],
)
def test_a_lost_commit_is_missing_and_a_second_one_extra(
    calls: Sequence[str], kinds: list[str]
) -> None:
    run = Run(*record("BEGIN", ORDER, ITEM, "COMMIT"))
    assert [finding.kind for finding in play(run, *calls)] == kinds


def test_weak_evidence_and_savepoints_assert_nothing() -> None:
    run = Run(*record("BEGIN", ORDER, "ROLLBACK TO X", "COMMIT", evidence=Evidence.TIME))
    assert play(run, "BEGIN", ORDER, "ROLLBACK") == []


def test_a_transaction_of_session_statements_only_asserts_nothing() -> None:
    run = Run(*record("BEGIN", ORDER, "COMMIT"), *record("BEGIN", "ROLLBACK", connection=2))
    assert play(run, "BEGIN", ORDER, "COMMIT") == []
    run = Run(*record("BEGIN", ORDER, "COMMIT"))
    assert play(run, "BEGIN", "ROLLBACK", "BEGIN", ORDER, "COMMIT", "ROLLBACK") == []


def test_the_end_of_a_transaction_of_somebody_elses_calls_is_not_extra() -> None:
    possible = make_mock("INSERT log", candidates=["a"], tier=Tier.BACKGROUND)
    run = Run(*record("BEGIN", ORDER, "COMMIT"), possible)
    calls = ("BEGIN", ORDER, "COMMIT", "BEGIN", "INSERT log", "COMMIT")
    assert play(run, *calls) == []


def test_the_end_of_a_transaction_that_was_not_recorded_is_extra() -> None:
    run = Run(*record("BEGIN", ORDER, "COMMIT"))
    calls = ("BEGIN", ORDER, "COMMIT", "BEGIN", "DROP x", "COMMIT")
    assert [finding.call for finding in play(run, *calls)] == ["DROP x []", "COMMIT"]


@pytest.mark.parametrize(
    ("undo", "kinds"), [("ROLLBACK TO X", []), ("ROLLBACK TO Y", []), ("RELEASE X", ["missing"])]
)
def test_a_lost_partial_rollback_is_missing(undo: str, kinds: list[str]) -> None:
    run = Run(*record("BEGIN", ORDER, "ROLLBACK TO X", "COMMIT"))
    assert [finding.kind for finding in play(run, "BEGIN", ORDER, undo, "COMMIT")] == kinds


@pytest.mark.parametrize(
    ("recorded", "made", "found"),
    [
        (MODES, MODES, []),
        (MODES, "BEGIN", [("missing", MODES)]),
        ("BEGIN", MODES, [("extra", MODES)]),
    ],
)
def test_modes_of_a_transaction_are_asserted(
    recorded: str, made: str, found: list[tuple[str, str]]
) -> None:
    run = Run(*record(recorded, ORDER, "COMMIT"))
    findings = play(run, made, ORDER, "COMMIT")
    assert [(finding.kind, finding.call) for finding in findings] == found


def test_modes_are_not_asserted_where_the_recorded_begin_has_no_owner() -> None:
    run = Run(*record(ORDER, "COMMIT"))
    assert play(run, MODES, ORDER, "COMMIT") == []
    assert [one.call for one in play(Run(*record("BEGIN", ORDER, "COMMIT")), MODES, ORDER)] != []


def test_a_write_moved_behind_the_commit_is_reordered() -> None:
    recorded = record("BEGIN", ORDER, ITEM, "COMMIT", "BEGIN", STOCK, "COMMIT")
    made = ("BEGIN", ORDER, "COMMIT", "BEGIN", ITEM, STOCK, "COMMIT")
    (finding,) = play(Run(*recorded), *made)
    assert (finding.kind, finding.call) == ("reordered", "INSERT items []")
    assert finding.note == "in two transactions; recorded in one"


def test_calls_in_another_order_are_reordered() -> None:
    (finding,) = play(Run(*record(*WHOLE)), "BEGIN", ORDER, STOCK, ITEM, "COMMIT")
    assert (finding.kind, finding.call, finding.nearest) == (
        "reordered",
        "INSERT orders []",
        "SELECT stock []",
    )
    assert play(Run(*record(*WHOLE)), *WHOLE) == []


@pytest.mark.parametrize(
    ("recorded", "made"),
    [
        ((STOCK, ORDER), (ORDER, STOCK)),  # in no transaction
        (("BEGIN", STOCK, "SELECT price", "COMMIT"), ("BEGIN", "SELECT price", STOCK, "COMMIT")),
        (("BEGIN", STOCK, ORDER, "COMMIT"), ("BEGIN", ORDER, "COMMIT", STOCK)),
    ],
)
def test_order_without_certainty_is_not_asserted(
    recorded: Sequence[str], made: Sequence[str]
) -> None:
    assert play(Run(*record(*recorded)), *made) == []


def test_equal_operations_may_change_places() -> None:
    mocks = record("BEGIN", ORDER, ITEM, ITEM, "COMMIT")
    mocks[2].request["args"], mocks[3].request["args"] = [1], [2]
    run = Run(*mocks)
    run.begin()
    run.session(sql="BEGIN")
    run.call(ORDER)
    run.call(ITEM, 2)
    run.call(ITEM, 1)
    run.session(sql="COMMIT")
    assert run.end() == []


def test_calls_that_were_under_way_together_may_change_places() -> None:
    mocks = record(*WHOLE)
    mocks[1].timing.end_ns = mocks[2].timing.start_ns + 1
    assert play(Run(*mocks), "BEGIN", ORDER, STOCK, ITEM, "COMMIT") == []


def test_an_order_that_another_case_had_is_no_finding() -> None:
    other = record("BEGIN", ORDER, STOCK, ITEM, "COMMIT", case="b", connection=2)
    run = Run(*record(*WHOLE), *other)
    assert play(run, "BEGIN", ORDER, STOCK, ITEM, "COMMIT") == []


def test_a_transaction_that_is_not_begun_any_more() -> None:
    run = Run(*record(*WHOLE))
    (finding,) = play(run, *WHOLE[1:])
    assert (finding.kind, finding.call) == ("missing", "BEGIN")
    joined_midway = Run(*record(*WHOLE[1:]))
    assert play(joined_midway, *WHOLE[1:]) == []


def test_one_of_two_transactions_that_is_not_begun() -> None:
    calls = (*WHOLE, "BEGIN", "INSERT log", "COMMIT")
    found = play(Run(*record(*calls)), *WHOLE, "INSERT log", "COMMIT")
    assert [(finding.kind, finding.call) for finding in found] == [("missing", "BEGIN")]


@pytest.mark.parametrize(
    ("made", "found"),
    [
        (("BEGIN", *WHOLE), [("extra", "BEGIN")]),
        ((*WHOLE, "COMMIT"), [("extra", "COMMIT")]),
        ((*WHOLE, "COMMIT", "COMMIT"), [("extra", "COMMIT")] * 2),
        ((*WHOLE, "ROLLBACK"), []),  # a pool's own
    ],
)
def test_what_begins_or_ends_twice_is_extra(
    made: Sequence[str], found: list[tuple[str, str]]
) -> None:
    findings = play(Run(*record(*WHOLE)), *made)
    assert [(finding.kind, finding.call) for finding in findings] == found


@pytest.mark.parametrize("doubled", [("BEGIN", *WHOLE), (*WHOLE, "COMMIT")])
def test_what_began_or_ended_twice_when_recorded_must_again(doubled: Sequence[str]) -> None:
    mocks = record(*doubled)
    second = next(at for at, one in enumerate(doubled[:-1]) if one == doubled[at + 1]) + 1
    code = "25001" if doubled[0] == doubled[1] else "25P01"
    mocks[second].response = {"rows": [], "notices": [{"code": code}]}
    assert play(Run(*mocks), *doubled) == []
    (finding,) = play(Run(*mocks), *WHOLE)
    assert (finding.kind, finding.call) == ("missing", doubled[second])


@pytest.mark.parametrize(("recorded", "made"), [("COMMIT", CHAINED), (CHAINED, "COMMIT")])
def test_one_more_transaction_behind_the_end_is_a_change(recorded: str, made: str) -> None:
    run = Run(*record("BEGIN", ORDER, recorded))
    (finding,) = play(run, "BEGIN", ORDER, made)
    assert (finding.kind, finding.call, finding.nearest) == ("changed", made, recorded)


def test_a_chained_transaction_was_begun() -> None:
    calls = ("BEGIN", ORDER, CHAINED, ITEM, "COMMIT")
    assert play(Run(*record(*calls)), *calls) == []
    found = play(Run(*record(*calls)), "BEGIN", ORDER, "COMMIT", ITEM, "COMMIT")
    assert [(finding.kind, finding.call) for finding in found] == [
        ("changed", "COMMIT"),
        ("missing", "BEGIN"),
    ]


def test_a_call_made_behind_the_end_in_a_transaction_that_has_not_ended() -> None:
    run = Run(*record(*WHOLE))
    (finding,) = play(run, "BEGIN", STOCK, ORDER, "COMMIT", "BEGIN", ITEM)
    assert (finding.kind, finding.call) == ("reordered", "INSERT items []")
    (finding,) = play(Run(*record(*WHOLE)), "BEGIN", STOCK, ORDER, "COMMIT", ITEM)
    assert finding.kind == "reordered"


def test_a_call_that_is_made_outside_of_it_too_may_have_changed_places() -> None:
    calls = ("BEGIN", ORDER, ITEM, "COMMIT", "INSERT items")
    assert play(Run(*record(*calls)), *calls) == []
    assert play(Run(*record(*calls)), "BEGIN", ORDER, "COMMIT", ITEM, ITEM) == []
