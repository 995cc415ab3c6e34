"""Mocks without cases: each served once, in recorded order, and never a guess."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from kebpf.protocols.base import Document, Miss
from kebpf.recording.model import Mock, Tier
from kebpf.replay.index import MOST_VERIFIED
from kebpf.replay.mockset import FreeMocks, MockMatcher

from .builders import CACHE, DATABASE, REPLAYED_NS, MemorySet, get_plain_spec, make_mock

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
