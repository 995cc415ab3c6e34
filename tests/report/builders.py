"""Run events for the tests of the reporters, each with the parts a test is not about filled in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from kebpf.replay.events import (
    CallFinding,
    CaseFinished,
    Ledger,
    Mismatch,
    MissKind,
    RunFinished,
    Verdict,
)
from kebpf.report.recorded import RecordingStatus

RECORDED_PATH = Path("kebpf/shop-1")
ORDERS = "SELECT id, total FROM orders WHERE customer = $1"


def make_case(name: str = "get-orders-1a2b", **changes: Any) -> CaseFinished:
    case = CaseFinished(
        test_set="shop-1",
        case=name,
        request="GET /orders",
        verdict=Verdict.PASSED,
        seconds=0.0124,
        exact=10,
        by_class=2,
    )
    return replace(case, **changes)


def make_failed(name: str = "post-orders-77aa", **changes: Any) -> CaseFinished:
    fields: dict[str, Any] = {
        "verdict": Verdict.FAILED,
        "request": "POST /orders",
        "mismatches": [Mismatch("/status", "changed", 200, 500)],
        "curl": "curl -X POST http://127.0.0.1:8000/orders --data-binary '{\"item\": 7}'",
        "repeat": f"kebpf test shop-1 --case {name} -- python -m shop",
    }
    return make_case(name, **{**fields, **changes})


def make_extra_call(**changes: Any) -> CallFinding:
    call = CallFinding(
        kind="extra",
        protocol="postgres",
        destination="10.0.0.5:5432",
        call=f"{ORDERS} AND open",
        miss=MissKind.NEVER_RECORDED,
        nearest=ORDERS,
        fields=[Mismatch("/operation", "changed", ORDERS, f"{ORDERS} AND open")],
    )
    return replace(call, **changes)


def make_finished(**changes: Any) -> RunFinished:
    finished = RunFinished(
        passed=1,
        failed=0,
        errored=0,
        skipped=0,
        misses=0,
        unused_mocks=0,
        seconds=3.14,
        ledger=Ledger(used=75),
    )
    return replace(finished, **changes)


def make_recorded(**changes: object) -> RecordingStatus:
    status = RecordingStatus(
        requests=31,
        test_cases=28,
        mocks=112,
        events=900,
        captured_bytes=482_113,
        connections=12,
        seconds=12.4,
    )
    for name, value in changes.items():
        setattr(status, name, value)
    return status
