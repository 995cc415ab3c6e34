"""What is taken for the cause of a failure, and which failures have one cause."""

from __future__ import annotations

from collections.abc import Sequence

from kebpf.replay.events import CaseFinished, Mismatch, Verdict
from kebpf.report.causes import FailureGroup, Grouping, describe_cause, title_cause
from tests.report.builders import ORDERS, make_extra_call, make_failed


def group_failures(cases: Sequence[CaseFinished]) -> list[FailureGroup[CaseFinished]]:
    grouping = Grouping[CaseFinished]()
    for case in cases:
        grouping.group_of(case).cases.append(case)
    return grouping.ranked()


def test_a_title_is_the_cause_in_few_words() -> None:
    assert title_cause(make_failed(calls=[make_extra_call()])) == f"extra call: {ORDERS} AND open"
    field = Mismatch("/body/amount", "changed", 1, 2)
    changed = make_extra_call(kind="changed", call="POST /charges", fields=[field])
    title = "changed call: POST /charges, differs in /body/amount"
    assert title_cause(make_failed(calls=[changed])) == title
    assert title_cause(make_failed()) == "500 instead of 200, in the response to POST /orders"
    assert title_cause(make_failed(error="no answer\nmore")) == "no answer"
    assert title_cause(make_failed(mismatches=[])) == "no reason was given"


def test_an_error_outranks_calls_and_calls_outrank_the_response() -> None:
    calls = [make_extra_call()]
    assert describe_cause(make_failed(error="no answer\nmore", calls=calls)) == "no answer"
    assert describe_cause(make_failed(calls=calls)) == (
        f"extra call: {ORDERS} AND open (nearest: {ORDERS}), and so: 500 instead of 200"
    )
    assert describe_cause(make_failed()) == "500 instead of 200"
    assert describe_cause(make_failed(mismatches=[])) == "no reason was given"


def test_a_status_outranks_the_body() -> None:
    mismatches = [Mismatch("/body/a", "changed", 1, 2), Mismatch("/status", "changed", 200, 404)]
    assert describe_cause(make_failed(mismatches=mismatches)) == "404 instead of 200"


def test_failures_with_one_cause_stand_together() -> None:
    cases = [
        make_failed("a"),
        make_failed("b", calls=[make_extra_call()]),
        make_failed("c"),
        make_failed("d", mismatches=[Mismatch("/body", "missing", 1)]),
        make_failed("e", calls=[make_extra_call()]),
        make_failed("f", verdict=Verdict.ERRORED, error="no answer"),
    ]
    groups = group_failures(cases)
    assert ["".join(case.case for case in group.cases) for group in groups] == [
        "f",
        "be",
        "ac",
        "d",
    ]


def test_ids_and_numbers_make_no_other_cause() -> None:
    first = Mismatch("/body/items/0/price", "changed", 1, 2)
    other = Mismatch("/body/items/7/price", "changed", 5, 6)
    cases = [
        make_failed("a", request="GET /orders/1", mismatches=[first]),
        make_failed("b", request="GET /orders/22?page=2", mismatches=[other]),
        make_failed("c", request="GET /items/1", mismatches=[first]),
        make_failed("d", calls=[make_extra_call(operation="x", call="x 1")]),
        make_failed("e", calls=[make_extra_call(operation="x", call="x 2")]),
        make_failed("f", calls=[make_extra_call(operation="x", kind="missing")]),
    ]
    groups = group_failures(cases)
    assert ["".join(case.case for case in group.cases) for group in groups] == [
        "de",
        "f",
        "ab",
        "c",
    ]


def test_one_change_of_a_call_is_one_cause_however_it_shows() -> None:
    key, other = Mismatch("/arguments/0", "changed", "a", "b"), Mismatch("/arguments/1", "changed")
    cases = [
        make_failed("a", calls=[make_extra_call(kind="changed", operation="DEL", fields=[key])]),
        make_failed("b", calls=[make_extra_call(operation="DEL", fields=[key, other])]),
        make_failed("c", calls=[make_extra_call(operation="DEL", fields=[])]),
        make_failed("d", calls=[make_extra_call(operation="GET", fields=[key])]),
    ]
    groups = group_failures(cases)
    assert ["".join(case.case for case in group.cases) for group in groups] == ["ab", "c", "d"]
