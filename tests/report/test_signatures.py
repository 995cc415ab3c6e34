"""Two runs of one failure sign alike; another failure does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kebpf.replay.events import CaseFinished, Mismatch, Verdict
from kebpf.report.jsonl import event_to_json
from kebpf.report.signatures import sign_case
from tests.report.builders import make_extra_call, make_failed


def sign(case: CaseFinished) -> frozenset[str]:
    return sign_case(event_to_json(case))


def make_text(text: Any) -> CaseFinished:
    return make_failed(mismatches=[Mismatch("/body/id", "changed", "known", text)])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("3f2b8c1e-9d4a-4f6b-8a7c-1e2d3c4b5a69", "9a8b7c6d-5e4f-4a3b-9c2d-1f0e9d8c7b6a"),
        ("at 2026-11-23T01:02:03.456Z", "at 2026-11-23T04:05:06.789Z"),
        ("number 1764000000", "number 1764009999"),
        (1764000000123, 1764000000999),
    ],
)
def test_values_made_anew_make_no_difference(one: Any, other: Any) -> None:
    assert sign(make_text(one)) == sign(make_text(other))


def test_other_failures_differ() -> None:
    call = make_extra_call()
    cases = [
        make_failed(),
        make_failed(mismatches=[Mismatch("/status", "changed", 200, 404)]),
        make_failed(mismatches=[Mismatch("/status", "missing", 200)]),
        make_text("five"),
        make_text("six"),
        make_failed(calls=[call]),
        make_failed(calls=[replace(call, kind="missing")]),
        make_failed(calls=[replace(call, call="SELECT 2", operation="SELECT 2")]),
        make_failed(calls=[replace(call, count=2)]),
        make_failed(verdict=Verdict.ERRORED, error="it hung"),
    ]
    assert len({sign(case) for case in cases}) == len(cases)


def test_the_order_of_what_differs_makes_no_difference() -> None:
    found = [Mismatch("/status", "changed", 200, 500), Mismatch("/body", "missing", "x")]
    assert sign(make_failed(mismatches=found)) == sign(make_failed(mismatches=found[::-1]))
