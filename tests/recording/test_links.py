"""Open calls find the one request that shares what was seen only after they began."""

from __future__ import annotations

from typing import Any, cast

from kebpf.protocols.base import Document, ProtocolSpec
from kebpf.recording.activity import Inbound, Outbound, Viewer
from kebpf.recording.links import Links, collect_tokens
from kebpf.recording.model import Endpoint, Role
from tests.recording.builders import DATABASE, make_exchange, make_request

FIRST_ID = "0b7c1f52-8f2b-4c43-9a53-2a4c1d1de001"
SECOND_ID = "5d3a6c1e-1b4f-4f7d-8a53-9e4c1d1de002"


def make_inbound(target: str = "/orders", answer: Any = None, body: Any = b"") -> Inbound:
    request = {**make_request(target), "body": body}
    recorded = make_exchange(10, 90, request=request, response={"status": 201, "body": answer})
    return Inbound(10, 90, 1, 100, recorded)


def make_call(
    *candidates: Inbound, asks: Any, gets: Any = None, to: Endpoint = DATABASE, **more: Any
) -> Outbound:
    recorded = make_exchange(
        20,
        30,
        request={"sql": "INSERT", "parameters": asks},
        response={"rows": gets},
        role=Role.CLIENT,
        remote=to,
        **more,
    )
    return Outbound(recorded, 20, 30, 7, list(candidates))


class Plain:
    """A protocol of which everything is as it is sent."""

    def view(self, document: Document) -> Document:
        return document

    identity = view


def owner_of(call: Outbound, *others: Outbound) -> Inbound | None:
    viewer = Viewer(lambda name: cast(ProtocolSpec, Plain()))
    return Links(viewer).find_owner(call, [call, *others])


def test_words_of_a_tree() -> None:
    assert {"alpha", "beta", "gamma"} <= collect_tokens({"alpha": ["beta", {"x": "gamma"}]})


def test_an_id_made_by_the_program_shows_in_one_answer() -> None:
    one, other = make_inbound(answer={"id": FIRST_ID}), make_inbound(answer={"id": SECOND_ID})
    assert owner_of(make_call(one, other, asks=[FIRST_ID])) is one
    assert owner_of(make_call(one, other, asks=[SECOND_ID])) is other


def test_an_id_made_by_the_database_shows_in_one_answer() -> None:
    one, other = make_inbound(answer={"id": FIRST_ID}), make_inbound(answer={"id": SECOND_ID})
    assert owner_of(make_call(one, other, asks=["tea"], gets=[[SECOND_ID]])) is other


def test_an_id_that_both_answers_hold_tells_nothing() -> None:
    one, other = make_inbound(answer={"id": FIRST_ID}), make_inbound(answer={"seen": FIRST_ID})
    assert owner_of(make_call(one, other, asks=[FIRST_ID])) is None


def test_a_call_with_values_of_two_requests_tells_nothing() -> None:
    one, other = make_inbound(answer={"id": FIRST_ID}), make_inbound(answer={"id": SECOND_ID})
    assert owner_of(make_call(one, other, asks=[FIRST_ID, SECOND_ID])) is None


def test_short_words_tell_nothing() -> None:
    one, other = make_inbound(answer={"name": "tea"}), make_inbound(answer={"name": "milk"})
    assert owner_of(make_call(one, other, asks=["tea"])) is None


def test_a_request_is_known_by_its_other_calls_too() -> None:
    one, other = make_inbound(answer={}), make_inbound(answer={})
    one.answers = [make_call(asks=["x"], gets=[[FIRST_ID]])]
    assert owner_of(make_call(one, other, asks=[FIRST_ID])) is one


def test_what_came_with_the_answer_of_another_open_call_tells_nothing() -> None:
    """That other call may be anybody's, and so may be what it brought."""
    one, other = make_inbound(answer={"id": FIRST_ID}), make_inbound(answer={})
    lookup = make_call(one, other, asks=["by-name"], gets=[[FIRST_ID]])
    assert owner_of(make_call(one, other, asks=[FIRST_ID]), lookup) is None
    lookup.case = one  # placed since: no longer doubtful
    assert owner_of(make_call(one, other, asks=[FIRST_ID]), lookup) is one


def test_nothing_is_said_of_one_candidate_session_matters_and_open_requests() -> None:
    one, other = make_inbound(answer={"id": FIRST_ID}), make_inbound(answer={})
    unfinished = Inbound(10, 90, 1, 100, None)
    assert owner_of(make_call(one, asks=[FIRST_ID])) is None
    assert owner_of(make_call(one, other, unfinished, asks=[FIRST_ID])) is None
    assert owner_of(make_call(one, other, asks=[FIRST_ID], is_session=True)) is None


class TestEqualCalls:
    """The same question asked for equal requests: each answer shows in one response."""

    def test_each_call_gets_the_response_that_shows_its_answer(self) -> None:
        one, other = make_inbound(answer={"n": "first"}), make_inbound(answer={"n": "second"})
        first = make_call(one, other, asks=["next"], gets=[["first"]])
        second = make_call(one, other, asks=["next"], gets=[["second"]])
        assert owner_of(first, second) is one
        assert owner_of(second, first) is other

    def test_equal_answers_tell_nothing(self) -> None:
        one, other = make_inbound(answer={"n": "same"}), make_inbound(answer={"n": "same"})
        first = make_call(one, other, asks=["next"], gets=[["same"]])
        second = make_call(one, other, asks=["next"], gets=[["same"]])
        assert owner_of(first, second) is None

    def test_one_response_for_two_calls_tells_nothing(self) -> None:
        one, other = make_inbound(answer={"n": ["first", "second"]}), make_inbound(answer={})
        first = make_call(one, other, asks=["next"], gets=[["first"]])
        second = make_call(one, other, asks=["next"], gets=[["second"]])
        assert owner_of(first, second) is None

    def test_different_requests_are_not_compared(self) -> None:
        one = make_inbound("/a", answer={"n": "first"})
        other = make_inbound("/b", answer={"n": "second"})
        first = make_call(one, other, asks=["next"], gets=[["first"]])
        second = make_call(one, other, asks=["next"], gets=[["second"]])
        assert owner_of(first, second) is None

    def test_another_question_or_destination_is_not_equal(self) -> None:
        one, other = make_inbound(answer={"n": "first"}), make_inbound(answer={"n": "second"})
        first = make_call(one, other, asks=["next"], gets=[["first"]])
        elsewhere = Endpoint("tcp", "127.0.0.1", 6379)
        assert owner_of(first, make_call(one, other, asks=["last"], gets=[["second"]])) is None
        twin = make_call(one, other, asks=["next"], gets=[["second"]], to=elsewhere)
        assert owner_of(first, twin) is None


def test_that_one_asked_the_same_before_does_not_tell() -> None:
    """Two equal requests look up the digest of the same key; whose the first was is known."""
    digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    one, other = make_inbound(), make_inbound()
    one.answers.append(make_call(one, asks=[digest]))
    assert owner_of(make_call(one, other, asks=[digest])) is None
    one.answers.append(make_call(one, asks=[digest, "audit"]))
    assert owner_of(make_call(one, other, asks=[digest])) is one
