"""What a case needs runs before it; see `test_runner` for all else of a set's run."""

from __future__ import annotations

from pathlib import Path

import pytest

from kebpf.replay.events import ApplicationReady, CaseFinished
from tests.replay.test_runner import Stand, finish, pick, verdicts


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path)


def test_what_a_case_needs_runs_once_and_is_told_in_its_turn(stand: Stand) -> None:
    recorded = stand.make_set("a", "b", "c")
    for case in recorded.cases():
        case.needs = {"a": [], "b": ["a"], "c": ["b"]}[case.name]
    events = stand.run("same", recorded, shuffle=4)
    assert [case.case for case in pick(events, CaseFinished)] == ["c", "b", "a"]
    assert verdicts(events) == "ppp" and finish(events).ledger.used == 3


def test_what_a_case_needs_runs_where_it_is_alone(stand: Stand) -> None:
    recorded = stand.make_set("a", "b", "c")
    recorded.cases()[2].needs = ["b", "gone"]
    events = stand.run("same", recorded, is_alone=True)
    assert len(pick(events, ApplicationReady)) == 3
    assert verdicts(events) == "ppp" and finish(events).ledger.used == 4
    assert stand.notes == ["c needs gone before it, which is not there"]


def test_that_what_a_case_needs_failed_is_told(stand: Stand) -> None:
    recorded = stand.make_set("a", "b", "c")
    recorded.cases()[2].needs = ["b"]
    events = stand.run("drop", recorded, cases=["c"])
    assert verdicts(events) == "p"
    assert stand.notes == ["c needs b before it, which did not pass"]
