"""What was accepted passes with other ids and times; what was recorded before fails; so do lies.

The oracle is the comparison of a later run, with values of its own.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from kebpf.recording.model import TestCase
from kebpf.replay.accepting import CannotAcceptError
from tests.replay.reviews import (
    LATER_NS,
    MemorySet,
    accept_all,
    find_differences,
    make_http,
    make_json,
    make_review,
    play,
    record,
)
from tests.replay.sets import WHEN


def make_id(number: int) -> str:
    return str(uuid.UUID(int=0x3F2B8C1E9D4A4F6B8A7C1E2D3C4B5A69 + (number << 96), version=4))


def make_time(days: int, ms: int = 20) -> str:
    """As an application prints the time at which it answers."""
    at = datetime.fromtimestamp((WHEN.start_ns + days * LATER_NS) // 10**9, UTC)
    return at.replace(microsecond=ms * 1000 + 123).isoformat()


ID, TIME = "{uuid4}", "{time:%Y-%m-%dT%H:%M:%S.%f%:z}"


def make_old(days: int) -> dict[str, Any]:
    """A recorded body, as it comes ``days`` later."""
    return {"id": make_id(days), "created": make_time(days), "n": 1, "tags": ["a", "b", "c"]}


def make_recorded() -> TestCase:
    generated = {"/body/id": ID, "/body/created": TIME}
    return record("one", make_json(make_old(0), X_Served="yes"), generated=generated)


Change = Callable[[int], bytes]  # the new version's response, so many days later


def changed(**fields: Any) -> Change:
    """Fields set, or removed with ``None``; a function gets the day."""

    def make(days: int) -> bytes:
        body = make_old(days)
        for name, value in fields.items():
            if value is None:
                del body[name]
            else:
                body[name] = value(days) if callable(value) else value
        return make_json(body, X_Served="yes")

    return make


def renamed(days: int) -> bytes:
    body = make_old(days)
    body["order_id"] = body.pop("id")
    return make_json(body, X_Served="yes")


def nested(days: int) -> bytes:
    body = make_old(days)
    return make_json({"order": body, "at": make_time(days, 30)}, X_Served="yes")


CHANGES: dict[str, Change] = {
    "a value": changed(n=2),
    "a type": changed(n="1"),
    "null for a number": changed(n=[None]),
    "a new field": changed(total=9.5),
    "a new object": changed(total={"net": 9.5, "tax": [1, 2]}),
    "a removed field": changed(n=None),
    "a shorter array": changed(tags=["a"]),
    "a longer array": changed(tags=["a", "b", "c", "d", "e"]),
    "another order": changed(tags=["c", "b", "a"]),
    "a new id": changed(trace=lambda days: make_id(days + 50)),
    "a new time": changed(updated=lambda days: make_time(days, 60)),
    "a time before the other": changed(started=lambda days: make_time(days, 10)),
    "an id within text": changed(link=lambda days: f"/orders/{make_id(days)}?by={make_id(days+9)}"),
    "a known id and a known time": changed(
        both=lambda days: f"{make_id(days)} at {make_time(days)}"
    ),
    "a renamed id": renamed,
    "a removed id": changed(id=None),
    "an id that is a number now": changed(id=7),
    "everything one level deeper": nested,
    "a status": lambda days: make_json(make_old(days), 201, X_Served="yes"),
    "a header": lambda days: make_json(make_old(days), X_Served="no"),
    "a removed header": lambda days: make_json(make_old(days)),
    "a new header": lambda days: make_json(
        make_old(days), X_First="1", X_Served="yes", X_Id=make_id(days + 7)
    ),
    "a repeated header": lambda days: make_http(
        b"", 204, [("X-Served", "yes"), ("X-Served", "again")]
    ),
    "a text for an object": lambda days: make_http(
        f"order {make_id(days)}\nfor you\n".encode(), 200, [("Content-Type", "text/plain")]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_what_was_accepted_passes_and_what_was_recorded_fails(name: str) -> None:
    make = CHANGES[name]
    case = make_recorded()
    assert not find_differences(case, make_json(make_old(1), X_Served="yes"), 1)
    run = play(case, make(1))
    assert run.mismatches
    amended = accept_all(MemorySet([case]), run)
    new = amended.case("one")
    assert amended.changed == {"one"}
    for days in (1, 2, 3):
        assert find_differences(new, make(days), days) == []
    assert find_differences(new, make_json(make_old(2), X_Served="yes"))


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("a new id", changed(trace="none")),
        ("a new time", changed(updated=lambda days: make_time(days - 1))),
        ("a renamed id", changed(order_id="7", id=None)),
        ("an id within text", changed(link=lambda days: f"/orders/{make_id(5)}?by={make_id(9)}")),
        ("a known id and a known time", changed(both=lambda n: f"{make_id(8)} at {make_time(n)}")),
        ("everything one level deeper", changed()),
    ],
)  # fmt: skip
def test_what_was_accepted_still_asserts(name: str, wrong: Change) -> None:
    case = make_recorded()
    new = accept_all(MemorySet([case]), play(case, CHANGES[name](1))).case("one")
    assert find_differences(new, wrong(2))


def test_the_counts_of_what_is_compared_are_right() -> None:
    case = make_recorded()
    case.strength.exact, case.strength.by_class = 20, 2
    new = accept_all(MemorySet([case]), play(case, CHANGES["a new id"](1))).case("one")
    assert (new.strength.exact, new.strength.by_class) == (20, 3)
    assert new.generated["/body/trace"] == ID
    assert case.strength.by_class == 2, "the recorded case is untouched"


def test_one_of_two_differences() -> None:
    case = make_recorded()
    run = play(case, changed(n=2, total=5)(1))
    review = make_review(MemorySet([case]), run)
    [item] = [one for one in review.items if one.mismatches[0].path == "/body/n"]
    review.check(item, [])
    new = review.amend([item]).case("one")
    assert find_differences(new, changed(n=2)(2)) == []
    assert [one.path for one in find_differences(new, changed(n=2, total=5)(2))] == ["/body/total"]


def test_the_lines_of_a_text_are_one_thing_to_decide() -> None:
    head = [("Content-Type", "text/plain")]
    case = record("one", make_http(b"a\nb\nc\n", 200, head))
    review = make_review(MemorySet([case]), play(case, make_http(b"A\nb\nC\n", 200, head)))
    [item] = review.items
    review.check(item, [])
    new = review.amend([item]).case("one")
    assert new.response["body"] == b"A\nb\nC\n"


def test_a_case_that_was_changed_since_the_run_is_not_touched() -> None:
    case = make_recorded()
    run = play(case, CHANGES["a value"](1))
    case.generated = {}
    [item] = make_review(MemorySet([case]), run).items
    assert item.problem == "the case was changed since that run: run it again"


def test_what_would_still_differ_is_refused() -> None:
    """The run says one thing, its kept response another."""
    case = make_recorded()
    run = play(case, changed(n=2)(1))
    other = play(case, changed(n=2, total=5)(1))
    review = make_review(MemorySet([case]), run)
    review.items[0].revision = other.revision
    with pytest.raises(CannotAcceptError, match="/body/total would still differ"):
        review.check(review.items[0], [])


def test_a_length_follows_its_body() -> None:
    case = make_recorded()
    new = accept_all(MemorySet([case]), play(case, CHANGES["a new object"](1))).case("one")
    lengths = [value for name, value in new.response["headers"] if name == "Content-Length"]
    assert lengths == [str(len(new.response["body"]))]
