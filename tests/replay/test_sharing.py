"""Calls of several cases over instances: as many as recorded, whoever made which."""

from __future__ import annotations

import pytest

from kebpf.replay.events import CallFinding, MissKind
from kebpf.replay.sharing import SharedCall, judge_shared


def told(
    mock: str, ran: str, is_used: bool, key: int = 1, of: str = "ab", is_asserted: bool = True
) -> SharedCall:
    """What an instance says in which the cases ``ran`` did."""
    missing = CallFinding("missing", "postgres", "db:5432", f"SELECT {mock}", mock=mock)
    return SharedCall(mock, key, frozenset(of), frozenset(ran), is_used, is_asserted, missing)


@pytest.mark.parametrize("is_first", [True, False])
def test_made_once_by_either_is_fine(is_first: bool) -> None:
    assert not list(judge_shared([told("m", "a", is_first), told("m", "b", not is_first)]))


def test_made_by_nobody_is_missing() -> None:
    [finding] = judge_shared([told("m", "a", False), told("m", "b", False)])
    assert (finding.kind, finding.mock) == ("missing", "m")


def test_made_by_both_is_once_too_often() -> None:
    [finding] = judge_shared([told("m", "a", True), told("m", "b", True)])
    assert (finding.kind, finding.miss) == ("repeated", MissKind.USED_UP)
    assert (finding.count, finding.recorded, finding.made) == (1, 1, 2)


def test_equal_calls_stand_for_one_another() -> None:
    """Both instances used their copy of the first of two."""
    first = [told("m", "a", True), told("m", "b", True)]
    second = [told("n", "a", False), told("n", "b", False)]
    assert not list(judge_shared(first + second))


def test_of_equal_calls_the_one_that_nobody_used_is_missing() -> None:
    first = [told("m", "a", False), told("m", "b", True)]
    second = [told("n", "a", False), told("n", "b", False)]
    [finding] = judge_shared(first + second)
    assert (finding.kind, finding.mock) == ("missing", "n")


def test_who_did_not_run_may_have_been_to_make_it() -> None:
    assert not list(
        judge_shared([told("m", "a", False, of="abc"), told("m", "b", False, of="abc")])
    )


def test_a_left_out_requests_call_may_be_made_by_one_and_need_not() -> None:
    assert not list(judge_shared([told("m", w, False, is_asserted=False) for w in "ab"]))
    [finding] = judge_shared([told("m", w, True, is_asserted=False) for w in "ab"])
    assert finding.kind == "repeated"
