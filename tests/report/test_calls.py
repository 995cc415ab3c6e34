"""Calls that are not as recorded, in words."""

from __future__ import annotations

from kebpf.replay.events import Mismatch, MissKind
from kebpf.report.calls import describe_call, rank_calls, show_call, title_call
from kebpf.report.lines import join_text
from tests.report.builders import ORDERS, make_extra_call

ITEM = "SELECT name FROM items WHERE id = $1"


def test_calls_that_were_made_outrank_those_that_were_not() -> None:
    kinds = ["missing", "unheard-of", "reordered", "repeated", "extra", "changed"]
    ranked = rank_calls([make_extra_call(kind=kind) for kind in kinds])
    assert [call.kind for call in ranked] == [
        "changed",
        "extra",
        "repeated",
        "reordered",
        "missing",
        "unheard-of",
    ]


def test_one_line_says_which_call_and_in_what_it_differs() -> None:
    call = make_extra_call(
        call=f"{ORDERS} [8, 6]",
        nearest=f"{ORDERS} [7, 5]",
        fields=[Mismatch("/parameters/0", "changed", 7, 8), Mismatch("/parameters/1", "extra")],
    )
    assert describe_call(call) == (
        f"extra call: {ORDERS} [8, 6] (nearest: {ORDERS} [7, 5]; "
        "differs: /parameters/0 changed: recorded 7, came 8 and 1 more)"
    )


def test_a_repeated_read_is_counted_and_called_what_it_may_be() -> None:
    call = make_extra_call(
        kind="repeated",
        call=ITEM,
        miss=MissKind.USED_UP,
        nearest=None,
        fields=[],
        count=11,
        recorded=1,
        made=12,
        is_read=True,
        note="recorded once by case a",
    )
    assert title_call(call) == f"repeated call: {ITEM}, 12 times instead of once (N+1?)"
    assert (
        join_text(show_call(call, 78))
        == f"""\
repeated call: {ITEM}, 12 times instead of once
  (N+1?)
  to 10.0.0.5:5432 (postgres); recorded and used up: recorded once by case a"""
    )


def test_extra_calls_of_one_operation_are_one_finding() -> None:
    call = make_extra_call(
        call=ITEM,
        nearest=None,
        fields=[],
        miss=MissKind.DIFFERENT,
        count=11,
        recorded=1,
        made=12,
        is_read=True,
        examples=[f"{ITEM} [2]", f"{ITEM} [3]"],
    )
    assert (
        join_text(show_call(call, 90))
        == f"""\
extra calls: 11 × {ITEM} (N+1? recorded once, now 12 times)
  e.g. {ITEM} [2]
  e.g. {ITEM} [3]
  to 10.0.0.5:5432 (postgres); recorded but different: it was recorded with other values"""
    )


def test_a_changed_call_shows_what_differs() -> None:
    call = make_extra_call(
        kind="changed",
        miss=MissKind.DIFFERENT,
        call=f"{ORDERS} [8]",
        nearest=f"{ORDERS} [7]",
        fields=[Mismatch("/parameters/0", "changed", 7, 8)],
    )
    assert (
        join_text(show_call(call, 78))
        == f"""\
changed call: {ORDERS} [8]
  to 10.0.0.5:5432 (postgres); recorded but different: it was recorded with
    other values
  nearest: {ORDERS} [7]
  /parameters/0: recorded 7, came 8"""
    )


def test_an_operation_too_long_for_a_line_is_shown_around_its_difference() -> None:
    long = f"{ORDERS} AND note = '{'x' * 80}"
    call = make_extra_call(
        call=f"{long}1'",
        nearest=f"{long}2'",
        fields=[Mismatch("/operation", "changed", f"{long}2'", f"{long}1'")],
    )
    text = join_text(show_call(call, 78))
    assert "    recorded  …xxxxx" in text
    assert "x2'\"" in text


def test_the_end_of_a_transaction_is_no_cause_of_what_was_in_it() -> None:
    kinds = (("changed", "ROLLBACK"), ("missing", "INSERT"), ("extra", "SELECT 1"))
    calls = [make_extra_call(kind=kind, call=call) for kind, call in kinds]
    assert [call.call for call in rank_calls(calls)] == ["SELECT 1", "INSERT", "ROLLBACK"]
    assert rank_calls(calls[:1])[0].call == "ROLLBACK"
