"""Calls that were accepted: what is asked for afterwards, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kebpf.protocols.base import Exchange
from kebpf.recording.casefile import fingerprint_case
from kebpf.recording.model import Endpoint, Mock, Tier, Timing
from kebpf.replay.binding import Bindings
from kebpf.replay.call import make_call
from kebpf.replay.case_calls import pair_call
from kebpf.replay.events import CallFinding, CaseFinished, Exact, Revision, Verdict
from kebpf.replay.index import Recorded
from kebpf.replay.noise import Noise
from tests.replay.reviews import LATER_NS, MemorySet, make_json, make_review, play, record
from tests.replay.sets import PROTOCOLS, WHEN, make_exchange

OLD, NEW = "11111111-9d4a-4f6b-8a7c-1e2d3c4b5a69", "22222222-9d4a-4f6b-8a7c-1e2d3c4b5a69"
REDIS = Endpoint("tcp", "127.0.0.1", 6379)


def make_redis(*words: str, reply: bytes = b"+OK\r\n") -> Exchange:
    parts = [f"${len(word)}\r\n{word}\r\n" for word in words]
    return make_exchange("redis", f"*{len(words)}\r\n{''.join(parts)}".encode(), reply)


def make_request(*words: str) -> dict[str, Any]:
    return dict(make_redis(*words).request)


def make_mock(name: str, *words: str, **fields: Any) -> Mock:
    values: dict[str, Any] = {
        "name": name,
        "protocol": "redis",
        "destination": REDIS,
        "request": make_request(*words),
        "response": make_redis(*words).response,
        "timing": Timing(WHEN.start_ns + 1000, WHEN.start_ns + 2000),
        "tier": Tier.CASE,
        "connection": 1,
        "case": "one",
    }
    return Mock(**(values | fields))


def make_set(*mocks: Mock) -> MemorySet:
    case = record("one", make_json({"n": 1}), calls=[mock.name for mock in mocks])
    return MemorySet([case], list(mocks))


def make_finding(kind: str, *words: str, **fields: Any) -> CallFinding:
    request = Exact(make_request(*words)) if words else None
    return CallFinding(kind, "redis", str(REDIS), " ".join(words), request=request, **fields)


def make_run(
    test_set: MemorySet, *findings: CallFinding, came: bytes | None = None
) -> CaseFinished:
    case = test_set.recorded[0]
    run = play(case, came or make_json({"n": 1}))
    start_ns = WHEN.start_ns + LATER_NS
    return replace(
        run,
        verdict=Verdict.FAILED,
        calls=list(findings),
        recorded=fingerprint_case(case),
        revision=run.revision or Revision(None, start_ns, start_ns + 10**8, LATER_NS),
    )


def fits(mock: Mock, *words: str) -> bool:
    """Whether a call is answered by a mock: by the matcher's own judgement."""
    spec, noise = PROTOCOLS["redis"], Noise()
    call = make_call(REDIS, spec, make_request(*words), Bindings(), noise)
    leaves = make_call(REDIS, spec, mock.request, Bindings(), noise).actual
    return pair_call(Recorded(0, mock, leaves, spec.describe), call) is not None


def test_a_missing_call_goes_with_its_mock() -> None:
    test_set = make_set(make_mock("a", "SET", "k", "1"), make_mock("b", "DEL", "k"))
    review = make_review(test_set, make_run(test_set, make_finding("missing", mock="b")))
    amended = review.amend(review.items)
    assert [mock.name for mock in amended.iter_mocks()] == ["a"]
    assert amended.case("one").calls == ["a"]
    assert amended.manifest.mocks == 1 and test_set.manifest.mocks == 2


def test_a_changed_call_keeps_its_answer_and_its_generated_values() -> None:
    mock = make_mock("a", "SET", OLD, "first-value", generated={"/arguments/0": "{uuid4}"})
    test_set = make_set(mock)
    finding = make_finding("changed", "SET", NEW, "second-value", mock="a", is_unanswered=True)
    review = make_review(test_set, make_run(test_set, finding))
    [item] = review.items
    assert item.note == "its answer stays as it was recorded"
    review.check(item, [])
    [new] = review.amend([item]).iter_mocks()
    assert fits(new, "SET", NEW, "second-value") and fits(new, "SET", OLD, "second-value")
    assert not fits(new, "SET", NEW, "first-value")
    assert not fits(new, "SET", "no-id", "second-value")
    assert new.response == mock.response
    assert OLD in str(new.request) and NEW not in str(new.request)


def test_a_time_that_an_earlier_case_made_is_no_literal() -> None:
    """Its class, that it was made before, does not let it be bound to another by itself."""
    template = '{{"at": "{seen:time:%Y-%m-%dT%H:%M:%S.%f%:z}"}}'
    recorded, came = (f'{{"at": "2026-11-2{day}T02:58:59.897588+00:00"}}' for day in (3, 4))
    mock = make_mock("a", "SET", "k", recorded, generated={"/arguments/1": template})
    test_set = make_set(mock)
    finding = make_finding("changed", "SET", "other", came, mock="a", is_unanswered=True)
    review = make_review(test_set, make_run(test_set, finding))
    [new] = review.amend(review.items).iter_mocks()
    assert recorded in str(new.request) and new.generated == {"/arguments/1": template}


def test_a_fresh_id_in_a_changed_argument_is_no_literal() -> None:
    test_set = make_set(make_mock("a", "SET", "k", "7"))
    finding = make_finding("changed", "SET", "k", NEW, mock="a", is_unanswered=True)
    review = make_review(test_set, make_run(test_set, finding))
    [new] = review.amend(review.items).iter_mocks()
    assert fits(new, "SET", "k", OLD) and not fits(new, "SET", "k", "7")


def test_an_answer_that_holds_the_old_value_is_said() -> None:
    mock = make_mock(
        "a",
        "SET",
        "k",
        "old-value",
        response=make_redis("GET", "k", reply=b"$9\r\nold-value\r\n").response,
    )
    finding = make_finding("changed", "SET", "k", "new-value", mock="a", is_unanswered=True)
    test_set = make_set(mock)
    [item] = make_review(test_set, make_run(test_set, finding)).items
    assert item.note is not None and "holds 'old-value': record anew" in item.note


def test_what_follows_from_a_call_without_an_answer_is_not_accepted() -> None:
    test_set = make_set(make_mock("a", "SET", "k", "1"), make_mock("b", "DEL", "k"))
    changed = make_finding("changed", "SET", "k", "2", mock="a", is_unanswered=True)
    missing = make_finding("missing", mock="b")
    run = make_run(test_set, missing, changed, came=make_json({"n": 2}))
    items = make_review(test_set, run).items
    assert [item.problem is None for item in items] == [True, False, False]
    assert items[0].finding is not None and items[0].finding.kind == "changed"
    assert "answered without the answer to a call" in str(items[2].problem)


def test_a_call_that_was_answered_from_elsewhere_is_one_more_mock() -> None:
    test_set = make_set(make_mock("mock-000007", "GET", "k"))
    finding = make_finding("repeated", "GET", "k", answer="mock-000007", count=2)
    review = make_review(test_set, make_run(test_set, finding))
    amended = review.amend(review.items)
    assert amended.case("one").calls == ["mock-000007", "mock-000008", "mock-000009"]
    assert [fits(mock, "GET", "k") for mock in amended.added] == [True, True]
    assert amended.manifest.mocks == 3


@pytest.mark.parametrize(
    ("finding", "reason"),
    [
        (make_finding("extra", "GET", "k", is_unanswered=True), "no answer to it was recorded"),
        (make_finding("changed", "DEL", "k", mock="a"), "another operation, and no answer"),
        (make_finding("reordered", mock="a"), "the order of calls"),
        (make_finding("missing"), "no call of its own"),
        (make_finding("changed", fields=[]), "no call of its own"),
        (make_finding("repeated", "GET", "k", answer="a", count=101), "101 times"),
    ],
)
def test_what_cannot_be_accepted_is_said(finding: CallFinding, reason: str) -> None:
    test_set = make_set(make_mock("a", "SET", "k", "1"))
    [item] = make_review(test_set, make_run(test_set, finding)).items
    assert reason in str(item.problem)


def test_a_call_of_no_case_that_is_missing_can_go() -> None:
    test_set = make_set(make_mock("a", "SET", "k", "1", case=None, tier=Tier.STARTUP))
    missing, extra = make_finding("missing", mock="a"), make_finding("extra", "GET", "k")
    review = make_review(test_set, findings=[missing, extra])
    assert [item.problem is None for item in review.items] == [True, False]
    assert list(review.amend(review.items[:1]).iter_mocks()) == []
