"""Mocks without cases: each served once, in recorded order, and never a guess."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebpf.protocols.base import Document, Miss
from kebpf.recording.model import Mock, Tier
from kebpf.replay.index import MOST_VERIFIED
from kebpf.replay.mockset import FreeMocks, MockMatcher
from kebpf.replay.noise import Noise, NoiseRule

from .builders import (
    CACHE,
    DATABASE,
    REPLAYED_NS,
    MemorySet,
    PackedSet,
    get_plain_spec,
    make_mock,
)

READ = "SELECT balance FROM accounts"
WRITE = "INSERT INTO accounts"


class Stand:
    """A matcher over sets, each given by its mocks."""

    def __init__(self, *sets: Iterable[Mock]) -> None:
        self.matcher = MockMatcher(FreeMocks([MemorySet([], one) for one in sets]), get_plain_spec)
        self.matcher.begin_case(None, REPLAYED_NS)

    def call(self, sql: str, *args: object) -> Document | Miss:
        answers = self.matcher.for_destination(DATABASE, "plain")
        return answers.answer({"sql": sql, "args": list(args)})

    def rows(self, sql: str, *args: object) -> object:
        answer = self.call(sql, *args)
        assert isinstance(answer, dict), answer
        return answer["rows"]

    def miss(self, sql: str, *args: object) -> str:
        answer = self.call(sql, *args)
        assert isinstance(answer, Miss), answer
        return answer.reason


@pytest.mark.parametrize(
    "belongs",
    [
        {"tier": Tier.STARTUP},
        {"tier": Tier.BACKGROUND},
        {"case": "a"},
        {"candidates": ["a", "b"]},
    ],
)
def test_equal_calls_are_answered_in_recorded_order_whosever_they_were(
    belongs: dict[str, Any],
) -> None:
    stand = Stand([make_mock(READ, answer=[number], **belongs) for number in (1, 2, 3)])
    assert [stand.rows(READ) for _ in range(3)] == [[1], [2], [3]]
    assert (stand.matcher.answered, stand.matcher.used, stand.matcher.total) == (3, 3, 3)


def test_sets_follow_one_another() -> None:
    stand = Stand([make_mock(READ, answer=[1])], [make_mock(READ, answer=[2])])
    assert [stand.rows(READ), stand.rows(READ)] == [[1], [2]]


def test_a_read_beyond_the_recorded_ones_needs_equal_answers() -> None:
    stand = Stand([make_mock(READ, "ann", answer=[1])] * 2 + [make_mock(READ, "bob", answer=[2])])
    assert [stand.rows(READ, "ann") for _ in range(5)] == [[1]] * 5
    stand = Stand([make_mock(READ, answer=[number]) for number in (1, 2)])
    assert [stand.rows(READ), stand.rows(READ)] == [[1], [2]]
    assert stand.miss(READ) == "recorded and used up: " + READ + " [] (recorded 2 times in all)"
    assert (stand.matcher.answered, stand.matcher.missed) == (2, 1)


def test_one_other_answer_among_very_many_is_enough() -> None:
    many = 3 * MOST_VERIFIED
    stand = Stand([make_mock(READ, answer=[int(number == 0)]) for number in range(many)])
    for _ in range(many):
        stand.rows(READ)
    assert f"recorded {MOST_VERIFIED} times or more" in stand.miss(READ)


def test_a_write_is_never_answered_twice() -> None:
    stand = Stand([make_mock(WRITE, 1)])
    assert stand.rows(WRITE, 1) == []
    assert stand.miss(WRITE, 1).startswith("recorded and used up")


def test_another_value_or_destination_is_a_miss() -> None:
    stand = Stand([make_mock(READ, "ann"), make_mock(READ, "cid", destination=CACHE)])
    assert "/args/0 was 'ann', is 'bob'" in stand.miss(READ, "bob")
    assert stand.miss(READ, "cid").startswith("recorded but different")
    assert stand.miss("DELETE").startswith("never recorded")
    assert [one.destination for one in stand.matcher.misses] == [str(DATABASE)] * 3
    assert stand.matcher.used == 0


def test_a_mock_without_a_response_is_a_miss() -> None:
    stand = Stand([make_mock(READ, response=None)])
    assert "without a response" in stand.miss(READ)
    assert stand.matcher.missed == 1


def test_sessions_are_answered_without_end_and_are_not_counted_as_mocks() -> None:
    stand = Stand([make_mock("BEGIN", tier=Tier.SESSION, response={"tag": "BEGIN"})])
    answers = stand.matcher.for_destination(DATABASE, "plain")
    assert [answers.session({"sql": "BEGIN"}) for _ in range(3)] == [{"tag": "BEGIN"}] * 3
    assert (stand.matcher.answered, stand.matcher.used, stand.matcher.total) == (3, 0, 0)


OLD, NEW = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff", "0b6e3f52-77a1-4c1b-8a45-d93e20c771aa"
calls = st.tuples(
    st.sampled_from([READ, WRITE, "GET"]),
    st.lists(st.sampled_from([1, 1.0, True, "1", None, OLD, NEW, f"row {OLD}"]), max_size=2),
    st.sampled_from([{}, {"form": "simple"}, {"database": "d"}, {"database": None}]),
)


def make_requested(call: Any, number: int, has_generated: bool) -> Mock:
    sql, args, more = call
    request = {"sql": sql, "args": args, **more}
    generated = {f"/args/{n}": "{uuid4}" for n, one in enumerate(args) if one == OLD}
    changes: dict[str, Any] = {
        "generated": generated if has_generated else {},
        "tier": Tier.BACKGROUND,
    }
    return make_mock(sql, *args, answer=[number % 3, OLD], request=request, **changes)


@given(
    st.lists(calls, max_size=8),
    st.lists(calls, max_size=12),
    st.booleans(),
    st.sampled_from([(), (NoiseRule("/args/0", call="*SELECT*"),)]),
)
def test_mocks_told_by_their_bytes_are_the_same_mocks(
    recorded: list[Any], made: list[Any], has_generated: bool, rules: tuple[NoiseRule, ...]
) -> None:
    mocks = [make_requested(one, number, has_generated) for number, one in enumerate(recorded)]
    accounts = []
    for source in (MemorySet([], mocks), PackedSet([], mocks)):
        matcher = MockMatcher(FreeMocks([source]), get_plain_spec, noise=Noise(rules))
        matcher.begin_run(REPLAYED_NS)
        answers = matcher.for_destination(DATABASE, "plain")
        given = [answers.answer({"sql": sql, "args": args, **more}) for sql, args, more in made]
        told = [(use.rule, use.count) for use in matcher.noise.uses()]
        account = matcher.answered, matcher.used, matcher.misses, matcher.list_unused(99), told
        accounts.append((repr(given), account, matcher.finish()))
    assert accounts[0] == accounts[1]


def test_a_mock_of_the_very_request_is_not_read_back() -> None:
    mocks = [make_mock(READ, answer=[1], tier=Tier.BACKGROUND) for _ in range(3)]
    source = PackedSet([], mocks)
    matcher = MockMatcher(FreeMocks([source]), get_plain_spec)
    matcher.begin_run(REPLAYED_NS)
    answers = matcher.for_destination(DATABASE, "plain")
    for _ in mocks:
        assert answers.answer({"sql": READ, "args": []}) == mocks[0].response
    assert (source.found, source.reads, matcher.used) == (3, 0, 3)
