"""Reads that a cache of the program saves it, in another state than when they were recorded."""

from __future__ import annotations

from typing import Any

import pytest

from kebpf.recording.model import Mock
from kebpf.replay.caches import is_pure_read, route_of
from kebpf.replay.events import CallFinding

from .builders import make_case, make_mock
from .matching import Run, rows

COLD, WARM, LATER = "get-jam-00000a", "get-jam-00000a-2", "get-jam-00000b"
OTHER = "get-tea-00000a"
CASES = (COLD, WARM, LATER, OTHER)


def record(*cases: str, sql: str = "SELECT jam", **changes: Any) -> list[Mock]:
    return [make_mock(sql, 1, answer=[5], case=case, **changes) for case in cases]


def play(run: Run, case: str, *calls: str) -> list[CallFinding]:
    run.begin(case)
    for sql in calls:
        assert rows(run.call(sql, 1)) == [5]
    return run.end()


def test_in_another_order_another_case_finds_the_cache_cold() -> None:
    run = Run(*record(COLD), cases=CASES)
    assert play(run, WARM, "SELECT jam") == []
    assert play(run, COLD) == []
    findings, ledger = run.matcher.finish()
    assert (findings, ledger.cached) == ([], ["SELECT jam [1]"] * 2)


def test_alone_a_case_finds_the_cache_cold() -> None:
    run = Run(*record(COLD), cases=CASES)
    assert play(run, LATER, "SELECT jam") == []
    assert run.matcher.finish()[1].cached == ["SELECT jam [1]"]


def test_of_several_cold_cases_only_the_first_asks() -> None:
    run = Run(*record(COLD, WARM), cases=CASES)
    assert play(run, COLD, "SELECT jam") == []
    assert play(run, WARM) == []
    assert play(run, LATER) == []


def test_a_read_that_nobody_made_before_is_missing() -> None:
    run = Run(*record(COLD), cases=CASES)
    assert [finding.kind for finding in play(run, COLD)] == ["missing"]


def test_a_cache_that_is_gone_is_found() -> None:
    run = Run(*record(COLD), cases=CASES)
    assert play(run, COLD, "SELECT jam") == []
    assert [finding.kind for finding in play(run, WARM, "SELECT jam")] == ["extra"]
    run = Run(*record(COLD), cases=CASES)
    assert play(run, WARM, "SELECT jam") == []
    assert play(run, COLD, "SELECT jam") == []
    ((finding,), _) = run.matcher.finish()
    assert (finding.kind, finding.recorded, finding.made) == ("repeated", 1, 2)
    assert finding.note == f"made by {WARM} too, unlike when recorded"


def test_other_findings_of_the_case_are_not_explained_by_a_cache() -> None:
    run = Run(*record(COLD), cases=CASES)
    run.begin(WARM)
    run.call("SELECT jam", 1)
    run.call("DELETE jam")
    assert sorted(finding.call for finding in run.end()) == ["DELETE jam []", "SELECT jam [1]"]


@pytest.mark.parametrize(
    "mocks",
    [
        record(COLD, WARM, LATER),  # every case of the route makes it
        record(COLD, sql="UPDATE jam"),
        record(COLD, sql="SELECT jam FOR UPDATE"),
        [*record(COLD), make_mock("SELECT jam", 1, answer=[6], case=OTHER)],
        [*record(COLD), *(make_mock("SELECT jam", 2, case=case) for case in (WARM, LATER))],
        record(OTHER),  # and no other case of its route
    ],
)
def test_without_evidence_a_lost_read_is_missing(mocks: list[Mock]) -> None:
    sql = mocks[0].request["sql"]
    run = Run(*mocks, cases=CASES)
    makers = [str(mock.case) for mock in mocks if mock.request["args"] == [1]]
    assert play(run, makers[0], sql) == []
    run.begin(makers[0])
    assert "missing" in [finding.kind for finding in run.end()]


def test_a_route_without_evidence_may_not_leave_a_read_out() -> None:
    run = Run(*record(COLD, OTHER), cases=CASES)
    assert play(run, COLD, "SELECT jam") == []
    assert [finding.kind for finding in play(run, OTHER)] == ["missing"]


def test_a_case_with_another_status_is_no_peer() -> None:
    found = make_case(COLD, response={"status": 200})
    refused = make_case(WARM, response={"status": 401})
    assert route_of(found) != route_of(refused)
    assert route_of(found) == route_of(make_case(LATER, response={"status": 200}))


@pytest.mark.parametrize(
    ("operation", "is_pure"),
    [
        ("SELECT a FROM t", True),
        ("GET /catalogue/jam", True),
        ("GET", True),
        ("SELECT a FROM t FOR NO KEY UPDATE", False),
        ("SELECT nextval('s')", False),
        ("SELECT pg_advisory_lock(1)", False),
        ("SELECT a INTO t", False),
        ("POST /catalogue/jam", False),
        ("INCR", False),
    ],
)
def test_reads_with_effects_are_none(operation: str, is_pure: bool) -> None:
    assert is_pure_read("plain", operation) is is_pure


def test_a_key_made_anew_is_another_to_ask_for() -> None:
    """It was asked for by its recorded value before the case that makes it ran."""
    old, new = "5d41402abc4b2a76b9719d911017c592", "7d793037a0760186574b0282f2f435e7"
    mock = make_mock("SELECT jam", old, answer=[5], case=COLD)
    run = Run(mock, cases=CASES)
    for value in (old, new):
        run.begin(LATER)
        assert rows(run.call("SELECT jam", value)) == [5]
        assert run.end() == []
        run.matcher.bindings.bind(old, new, "hex:32")
    run.begin(WARM)
    run.call("SELECT jam", new)
    assert [finding.kind for finding in run.end()] == ["extra"]
    findings, ledger = run.matcher.finish()
    assert (findings, len(ledger.cached)) == ([], 2)
