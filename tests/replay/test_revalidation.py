"""Reads that a cache makes conditional, made in another form than when they were recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from kebpf.protocols.base import Document
from kebpf.recording.model import Endpoint, Mock, Timing
from kebpf.replay.binding import Bindings
from kebpf.replay.caches import route_of
from kebpf.replay.events import CallFinding, Ledger
from kebpf.replay.matcher import Matcher

from .builders import RECORDED_NS, REPLAYED_NS, SECOND, MemorySet, make_case, make_mock

SUPPLIER = Endpoint("tcp", "10.0.0.9", 80)
CASES = ("get-jam-00000a", "get-jam-00000a-2", "get-jam-00000b", "get-jam-00000c")
COLD, SECOND_COLD, WARM, LAST = CASES
TAG = '"a1"'
ITEM = {"sku": "jam", "cents": 410}


def request(tag: str | None = None, path: str = "/jam") -> Document:
    headers = [["host", "supplier"], ["accept", "*/*"]]
    if tag is not None:
        headers.append(["if-none-match", tag])
    return {
        "method": "GET", "target": path, "version": "HTTP/1.1", "headers": headers, "body": b"",
        "trailers": [],
    }  # fmt: skip


def plain(case: str, **changes: Any) -> Mock:
    return record(case, None, 200, **changes)


def conditional(case: str, tag: str = TAG, status: int = 304, **changes: Any) -> Mock:
    return record(case, tag, status, **changes)


def record(case: str, tag: str | None, status: int, answer_tag: str = TAG, **changes: Any) -> Mock:
    values: dict[str, Any] = {
        "protocol": "http",
        "destination": SUPPLIER,
        "request": request(tag),
        "response": {
            "status": status,
            "headers": [["ETag", answer_tag], ["X-Request-Id", case]],
            "body": b"" if status == 304 else repr(ITEM).encode(),
        },
        "timing": read_at(CASES.index(case)),
    }
    return make_mock("GET", case=case, **(values | changes))


def read_at(place: int) -> Timing:
    return Timing(RECORDED_NS + place * SECOND, RECORDED_NS + place * SECOND + 1000)


class Supplied:
    """One start of an application that asks the supplier."""

    def __init__(self, *mocks: Mock) -> None:
        self._cases = {name: make_case(name) for name in CASES}
        routes = {name: route_of(case) for name, case in self._cases.items()}
        test_set = MemorySet(self._cases.values(), mocks)
        self._matcher = Matcher(test_set, Bindings(), case_names=CASES, routes=routes)
        self._answers = self._matcher.for_destination(SUPPLIER, "http")

    def play(self, case: str, *tags: str | None) -> list[str]:
        """The kinds of what is found when a case asks so often, with or without a tag."""
        self._matcher.begin_case(self._cases[case], REPLAYED_NS)
        for tag in tags:
            self._answers.answer(request(tag))
        findings = self._matcher.end_case(REPLAYED_NS + SECOND)
        return [finding.kind for finding in findings]

    def finish(self) -> tuple[list[CallFinding], Ledger]:
        return self._matcher.finish()


USUAL = (plain(COLD), plain(SECOND_COLD), conditional(WARM), conditional(LAST))


def test_of_cases_that_ran_at_once_only_the_first_asks_plainly_at_replay() -> None:
    supplied = Supplied(*USUAL)
    assert supplied.play(COLD, None) == []
    assert [supplied.play(one, TAG) for one in CASES[1:]] == [[], [], []]
    findings, ledger = supplied.finish()
    assert findings == []
    assert len(ledger.cached) == 2  # made conditionally, and left out plainly


@pytest.mark.parametrize("first", CASES)
def test_in_any_order_and_alone_the_first_asks_plainly(first: str) -> None:
    supplied = Supplied(*USUAL)
    assert supplied.play(first, None) == []
    rest = [name for name in reversed(CASES) if name != first]
    assert [supplied.play(one, TAG) for one in rest] == [[], [], []]
    assert supplied.finish()[0] == []


def test_a_cache_that_is_gone_is_found() -> None:
    supplied = Supplied(*USUAL)
    found = [supplied.play(one, None) for one in CASES]
    assert found == [[], [], ["changed"], ["changed"]]
    supplied = Supplied(*USUAL)
    found = [supplied.play(one, None) for one in reversed(CASES)]
    assert found == [[], [], [], []]
    ((finding,), _) = supplied.finish()
    assert (finding.kind, finding.recorded, finding.made) == ("repeated", 2, 4)


def test_nobody_asks_conditionally_before_an_answer_was_there() -> None:
    assert Supplied(*USUAL).play(COLD, TAG) == ["changed"]


def test_a_read_that_is_not_made_in_either_form_is_missing() -> None:
    supplied = Supplied(*USUAL)
    assert supplied.play(COLD, None) == []
    assert supplied.play(SECOND_COLD) == ["missing"]
    assert supplied.play(WARM) == ["missing"]


def test_both_forms_are_one_too_many() -> None:
    supplied = Supplied(*USUAL)
    assert supplied.play(WARM, None, TAG) == ["extra"]
    assert supplied.play(LAST, TAG, None) == ["extra"]


def test_another_tag_is_a_changed_call() -> None:
    supplied = Supplied(*USUAL)
    assert supplied.play(COLD, None) == []
    assert supplied.play(SECOND_COLD, '"b2"') == ["changed"]


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (plain, lambda case: conditional(case, tag='"b2"')),  # of another answer
        (plain, lambda case: conditional(case, status=200)),
        (lambda case: plain(case, answer_tag=f'"{case}"'), conditional),
        (conditional, plain),  # the other way round
    ],
)
def test_without_proof_the_form_counts(
    first: Callable[[str], Mock], then: Callable[[str], Mock]
) -> None:
    supplied = Supplied(first(COLD), first(SECOND_COLD), then(WARM), then(LAST))
    assert supplied.play(COLD, tag_of(first(COLD))) == []
    assert supplied.play(WARM, tag_of(first(COLD))) == ["changed"]
    assert supplied.play(SECOND_COLD, tag_of(then(COLD))) == ["changed"]


def test_of_requests_served_at_once_the_later_may_have_asked_first() -> None:
    mocks = conditional(COLD, timing=read_at(3)), plain(SECOND_COLD, timing=read_at(1))
    supplied = Supplied(*mocks)
    assert supplied.play(COLD, None) == []
    assert supplied.play(SECOND_COLD, TAG) == []
    assert supplied.finish()[0] == []


def test_a_read_of_one_of_several_cases_proves_it_as_well() -> None:
    either = replace(plain(SECOND_COLD), case=None, candidates=[SECOND_COLD, WARM])
    supplied = Supplied(conditional(COLD, timing=read_at(3)), either)
    assert supplied.play(COLD, None) == []


def test_a_case_that_reads_twice_is_judged_by_form() -> None:
    supplied = Supplied(plain(COLD), conditional(COLD), conditional(WARM), conditional(LAST))
    assert supplied.play(COLD, None, None) == ["repeated", "missing"]


TEA = conditional(LAST, request=request(TAG, "/tea"))  # the supplier confirms what is known


def test_a_conditional_read_that_nobody_recorded_has_the_plain_answer() -> None:
    supplied = Supplied(*map(plain, CASES[:3]), TEA)
    assert supplied.play(SECOND_COLD, None) == []
    assert supplied.play(COLD, TAG) == []
    findings, ledger = supplied.finish()
    assert (findings, len(ledger.cached), ledger.misses) == ([], 1, 0)


def test_that_needs_a_remembered_tag_and_a_server_that_confirms() -> None:
    assert Supplied(*map(plain, CASES), TEA).play(COLD, TAG) == ["changed"]
    for mocks, tag in (([], TAG), ([TEA], '"b2"')):
        supplied = Supplied(*map(plain, CASES), *mocks)
        assert supplied.play(COLD, None) == []
        assert supplied.play(WARM, tag) == ["changed"]


def tag_of(mock: Mock) -> str | None:
    return dict(mock.request["headers"]).get("if-none-match")
