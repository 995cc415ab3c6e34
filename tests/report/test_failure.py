"""A failed case: what is taken for its cause, and in which order failures are shown."""

from __future__ import annotations

from kebpf.replay.events import Mismatch, MissKind, Verdict
from kebpf.report.failure import (
    describe_cause,
    rank_calls,
    rank_failures,
    show_call,
    show_failure,
)
from kebpf.report.lines import join_text
from tests.report.builders import ORDERS, make_extra_call, make_failed


def test_an_error_outranks_calls_and_calls_outrank_the_response() -> None:
    calls = [make_extra_call()]
    assert describe_cause(make_failed(error="no answer\nmore", calls=calls)) == "no answer"
    assert describe_cause(make_failed(calls=calls)) == (
        f"extra call: {ORDERS} AND open (nearest: {ORDERS})"
    )
    assert describe_cause(make_failed()) == "500 instead of 200"
    assert describe_cause(make_failed(mismatches=[])) == "no reason was given"


def test_a_status_outranks_the_body() -> None:
    mismatches = [Mismatch("/body/a", "changed", 1, 2), Mismatch("/status", "changed", 200, 404)]
    assert describe_cause(make_failed(mismatches=mismatches)) == "404 instead of 200"


def test_calls_that_were_made_outrank_those_that_were_not() -> None:
    kinds = ["missing", "unheard-of", "repeated", "extra", "changed"]
    ranked = rank_calls([make_extra_call(kind=kind) for kind in kinds])
    assert [call.kind for call in ranked] == [
        "changed",
        "extra",
        "repeated",
        "missing",
        "unheard-of",
    ]


def test_failures_with_one_cause_stand_together() -> None:
    cases = [
        make_failed("a"),
        make_failed("b", calls=[make_extra_call()]),
        make_failed("c"),
        make_failed("d", mismatches=[Mismatch("/body", "missing", 1)]),
        make_failed("e", calls=[make_extra_call()]),
        make_failed("f", verdict=Verdict.ERRORED, error="no answer"),
    ]
    assert "".join(case.case for case in rank_failures(cases)) == "fbeacd"


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
changed call to 10.0.0.5:5432 (postgres)
  {ORDERS} [8]
  recorded but different: it was recorded with other values
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


def test_many_differences_are_also_shown_as_a_whole() -> None:
    recorded = {f"key-{n}": n for n in range(4)}
    came = {f"key-{n}": -n - 1 for n in range(4)}
    mismatches = [
        Mismatch(f"/body/{key}", "changed", value, came[key]) for key, value in recorded.items()
    ]
    failed = make_failed(mismatches=mismatches, expected=recorded, actual=came)
    text = join_text(show_failure(failed, 78))
    assert '-  "key-3": 3\n' in text
    assert '+  "key-3": -4\n' in text
    few = make_failed(mismatches=mismatches[:3], expected=recorded, actual=came)
    assert "as a whole:" not in join_text(show_failure(few, 78))


def test_only_verbose_shows_all_differences() -> None:
    mismatches = [Mismatch(f"/body/{n}", "changed", n, -1) for n in range(40)]
    failed = make_failed(mismatches=mismatches)
    assert "and 28 more differences" in join_text(show_failure(failed, 78))
    assert "/body/39" in join_text(show_failure(failed, 78, verbose=True))
