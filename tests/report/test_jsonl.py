"""Run events as JSON lines."""

from __future__ import annotations

import io
import json

from kebpf.replay.events import ApplicationReady, Ledger, Mismatch, RunEvent, RunFailed, RunStarted
from kebpf.report.jsonl import JsonLinesReporter
from tests.report.builders import ORDERS, make_case, make_extra_call, make_failed, make_finished


class FlushCounter(io.StringIO):
    """Remembers what was flushed, as a file that a killed process leaves."""

    flushed = ""

    def flush(self) -> None:
        self.flushed = self.getvalue()


def write(event: RunEvent) -> str:
    out = FlushCounter()
    JsonLinesReporter(out).handle(event)
    return out.flushed


def test_every_event_is_a_flushed_line() -> None:
    started = RunStarted(["shop-1"], 2, ["python", "-m", "shop"])
    assert write(started) == (
        '{"event": "run_started", "test_sets": ["shop-1"], "cases": 2, '
        '"command": ["python", "-m", "shop"], "shuffle": null, "is_alone": false, "jobs": 1}\n'
    )
    assert write(ApplicationReady("shop-1", 9, [8000], 0.5)) == (
        '{"event": "application_ready", "test_set": "shop-1", "pid": 9, '
        '"ports": [8000], "seconds": 0.5, "paths": []}\n'
    )
    assert write(RunFailed("it ended", ["last\x1b"])) == (
        '{"event": "run_failed", "reason": "it ended", "output": ["last\\u001b"]}\n'
    )


def test_the_last_line_has_the_counts() -> None:
    finished = make_finished(
        passed=28,
        failed=2,
        skipped=1,
        misses=3,
        unused_mocks=3,
        ledger=Ledger(74, ["mock-9"], 3, 2, 12),
    )
    assert json.loads(write(finished)) == {
        "event": "run_finished",
        "passed": 28,
        "failed": 2,
        "errored": 0,
        "skipped": 1,
        "misses": 3,
        "unused_mocks": 3,
        "seconds": 3.14,
        "findings": [],
        "failed_cases": [],
        "ledger": {
            "used": 74,
            "unused": ["mock-9"],
            "misses": 3,
            "more_unused": 2,
            "unasserted": 12,
            "cached": [],
        },
        "causes": [],
        "noise": [],
        "set_apart": {},
    }


def test_a_case_carries_its_differences() -> None:
    case = make_failed(
        mismatches=[Mismatch("/body", "changed", b"\xff", float("nan"))],
        calls=[make_extra_call(fields=[])],
        actual={"body": b"text"},
    )
    line = json.loads(write(case))
    assert line["event"] == "case_finished"
    assert line["verdict"] == "failed"
    difference = {"expected": {"base64": "/w=="}, "actual": "nan"}
    assert line["mismatches"] == [{"path": "/body", "kind": "changed", "place": None, **difference}]
    assert line["calls"][0]["miss"] == "never recorded"
    assert line["actual"] == {"body": "text"}


def test_failures_have_a_cause_and_the_last_line_has_their_groups() -> None:
    out = FlushCounter()
    reporter = JsonLinesReporter(out)
    for event in (
        make_failed("a", request="GET /orders/1"),
        make_failed("b", request="GET /orders/2"),
        make_case("c"),
        make_failed("d", calls=[make_extra_call()]),
        make_finished(),
    ):
        reporter.handle(event)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    called = f"extra call: {ORDERS} AND open (nearest: {ORDERS}), and so: 500 instead of 200"
    status = "500 instead of 200"
    assert [line.get("cause") for line in lines[:4]] == [status, status, None, called]
    assert lines[4]["causes"] == [
        {"cause": called, "cases": ["d"]},
        {"cause": status, "cases": ["a", "b"]},
    ]
