"""Pages for the tests of the HTML report, and what they are made of."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

from kebpf.replay.events import CallTiming, CaseFinished, Mismatch, RunEvent
from kebpf.report.html.reporter import HtmlReporter
from tests.report.builders import make_extra_call, make_failed

NOW = datetime(2026, 11, 23, 2, 30, tzinfo=UTC)
HOSTILE = (
    "</script><script>window.hit=1</script></noscript><img src=x onerror=window.hit=2>"
    "<!--case--><!--body--></details>' \" & \x00\x1b[2J\u202e\udcff"
)


def report(*events: RunEvent) -> str:
    """The whole file."""
    out = io.StringIO()
    reporter = HtmlReporter(out, lambda: NOW)
    for event in events:
        reporter.handle(event)
    reporter.close()
    return out.getvalue()


def make_rich(name: str = "post-orders-77aa", **changes: Any) -> CaseFinished:
    """A failed case with everything that a case can have."""
    view = {
        "status": 200,
        "headers": [["date", "Mon"], ["connection", "close"]],
        "body": {"id": 7, "items": list(range(20)), "note": "a"},
    }
    fields: dict[str, Any] = {
        "mismatches": [
            Mismatch("/status", "changed", 200, 500),
            Mismatch("/body/note", "changed", "a", "b"),
        ],
        "calls": [make_extra_call()],
        "expected": view,
        "actual": {**view, "status": 500, "body": {**view["body"], "note": "b"}},  # type: ignore[dict-item]
        "classes": {"/headers/0/1": "{time:rfc1123}"},
        "not_compared": 1,
        "recorded_seconds": 0.01,
        "answered_seconds": 0.02,
        "sent": {"method": "POST", "path": "/orders", "body": {"item": 7}},
        "timings": [
            CallTiming("SELECT 1", "postgres", "10.0.0.5:5432", "mock-1", 0.004, 0.002, 0.003),
            CallTiming("INSERT", "postgres", "10.0.0.5:5432", "mock-2", None, 0.006, 0.001),
            CallTiming("SELECT 2", "postgres", "10.0.0.5:5432", None, 0.008),
        ],
    }
    return make_failed(name, **{**fields, **changes})
