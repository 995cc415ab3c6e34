from __future__ import annotations

from typing import Any

import pytest

from kebpf.recording.revision import Place
from kebpf.recording.times import Window
from kebpf.replay.events import CallFinding, CaseFinished, Mismatch, Verdict
from kebpf.replay.observations import History, observe_case, observe_outside, resolve

EXPECTED = {
    "status": 200,
    "headers": [["Etag", "one"], ["X-A", "first"], ["X-A", "second"]],
    "body": {"n": 1, "text": "a\nb", "ids": [1, 2]},
}
ACTUAL = {
    "status": 500,
    "headers": [["X-A", "first"], ["X-A", "other"], ["Etag", "two"]],
    "body": {"n": 2, "text": "a\nc", "ids": [2, 1]},
}


def finish(*mismatches: Mismatch, **fields: Any) -> CaseFinished:
    values: dict[str, Any] = {"expected": EXPECTED, "actual": ACTUAL} | fields
    return CaseFinished(
        "set", "one", "GET /orders/17", Verdict.FAILED, 0.1, mismatches=list(mismatches), **values
    )


def change(path: str, place: str, kind: str = "changed") -> Mismatch:
    return Mismatch(path, kind, place=place)


@pytest.mark.parametrize(
    ("mismatch", "recorded", "actual"),
    [
        (change("/body/n", "/body/n"), 1, 2),
        (change("/body/text/line/2", "/body/text"), "a\nb", "a\nc"),
        (change("/headers/etag", "/headers/0/1"), "one", "two"),
        (change("/headers/x-a/1", "/headers/2/1"), "second", "other"),
        (change("/body/ids", "/body/ids", "order"), [1, 2], [2, 1]),
    ],
)
def test_whole_values_are_read_from_both_responses(
    mismatch: Mismatch, recorded: Any, actual: Any
) -> None:
    [found] = observe_case(finish(mismatch)).differences
    assert (found.recorded, found.actual) == (recorded, actual)
    assert found.place == Place("one", mismatch.place or "")


@pytest.mark.parametrize(
    ("mismatch", "text"),
    [
        (Mismatch("/status", "changed", 200, 500, "/status"), "the status was 200 and is 500"),
        (Mismatch("/body/x", "missing", 1, place="/body/x"), "/body/x does not come every time"),
        (Mismatch("/body/y", "extra", actual=1), "/body/y comes and was not recorded"),
    ],
)
def test_what_is_no_value_stands_in_the_way(mismatch: Mismatch, text: str) -> None:
    found = observe_case(finish(mismatch))
    assert (found.differences, found.blockers) == ([], [text])


def make_call(kind: str = "changed", mock: str | None = "m1", *fields: Mismatch) -> CallFinding:
    return CallFinding(kind, "redis", "h:1", "SET k 7", None, "SET k 3", list(fields), mock=mock)


def test_arguments_that_differ_are_places_of_the_mock() -> None:
    field = Mismatch("/arguments/1", "changed", "3", "7")
    found = observe_case(finish(calls=[make_call("changed", "m1", field)]))
    [difference] = found.calls
    assert difference.place == Place("m1", "/arguments/1", is_call=True)
    assert (difference.recorded, difference.actual) == ("3", "7")
    assert found.has_wrong_calls
    assert found.blockers == []


@pytest.mark.parametrize(
    "call",
    [
        make_call("extra", "m1", Mismatch("/arguments/1", "changed", 1, 2)),
        make_call("missing"),
        make_call("repeated", None),
        make_call("changed", "m1", Mismatch("/arguments/2", "extra", actual=2)),
        make_call("changed", "m1"),
    ],
)
def test_other_findings_come_before_what_follows_from_them(call: CallFinding) -> None:
    found = observe_case(finish(change("/status", "/status"), calls=[call], error="it broke"))
    assert found.calls == []
    assert found.blockers[0] == "it broke"
    assert found.blockers[1].endswith(": SET k 7")
    assert len(found.blockers) == 3


def test_outside_a_case_an_extra_call_is_compared_too() -> None:
    field = Mismatch("/arguments/1", "changed", "3", "7")
    assert len(observe_outside([make_call("extra", "m1", field)]).calls) == 1


def test_the_pool_counts_the_recorded_value_as_often_as_it_came_again() -> None:
    history = History()
    difference = observe_case(finish(change("/body/n", "/body/n"))).differences[0]
    history.plays["one"] = 5
    history.add(difference, 1, Window(0, 1), True)
    history.add(difference, 2, Window(0, 1), False)
    place = difference.place
    assert sorted(history.pool(place, {place: "one"})) == [1] * 4 + [2] * 2
    assert history.in_recorded_order == {place}


def test_keys_that_are_no_text_are_found() -> None:
    assert resolve({1: {"a/b": [5]}}, "/1/a~1b/0") == 5
    with pytest.raises(LookupError):
        resolve({"a": 1}, "/b")
