"""Scopes of mocks: each anew, the innermost answers, on connections of before too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from kebpf.protocols.base import Document, KeepingAnswerer, Miss, ProtocolSpec
from kebpf.recording.model import Endpoint, Mock, Tier
from kebpf.replay.mockscope import MockLibrary, Scopes, SelectionError, Totals
from kebpf.replay.noise import Noise, NoiseRule
from kebpf.replay.stages import Recorded

from .builders import DATABASE, MemorySet, PlainSpec, make_case, make_mock

READ = "SELECT balance FROM accounts"
LOCAL, LOCAL6 = Endpoint("tcp", "127.0.0.1", 5432), Endpoint("tcp", "::1", 5432)


class Stand:
    """A library over sets by name, and the scopes of one lane."""

    def __init__(self, *rules: NoiseRule, **sets: list[Mock]) -> None:
        cases = [make_case("get-ann"), make_case("get-bob", order=2)]
        self.sets = {name: MemorySet(cases, mocks) for name, mocks in sets.items()}
        self.reads: list[tuple[str, ...]] = []
        protocols = {"plain": cast(ProtocolSpec, PlainSpec())}
        self.library = MockLibrary(self.open, protocols, Noise(rules))
        self.totals = Totals()
        self.scopes = Scopes(lambda: self.library.make_scope(()), self.totals)

    def open(self, names: Sequence[str]) -> list[Recorded]:
        self.reads.append(tuple(names))
        return [cast(Recorded, self.sets[name]) for name in names]

    def begin(self, *sets: str, cases: Sequence[str] = (), is_lenient: bool = False) -> None:
        self.scopes.push(self.library.make_scope(sets, cases, is_lenient))

    def connect(self, place: Endpoint = DATABASE) -> Connection:
        return Connection(self, place)


class Connection:
    def __init__(self, stand: Stand, place: Endpoint) -> None:
        self.answers = stand.scopes.for_destination(place, "plain")

    def rows(self, sql: str, *args: Any) -> Any:
        answer = self.answers.answer({"sql": sql, "args": list(args)})
        return answer.reason if isinstance(answer, Miss) else answer["rows"]


def test_each_scope_begins_anew_and_is_read_once() -> None:
    stand = Stand(bank=[make_mock(READ, answer=[n]) for n in (1, 2)])
    connection = stand.connect()
    for _ in range(3):
        stand.begin("bank")
        assert [connection.rows(READ), connection.rows(READ)] == [[1], [2]]
        stand.scopes.pop()
    assert stand.reads == [("bank",)]
    assert (stand.totals.answered, stand.totals.used, stand.totals.mocks) == (6, 6, 6)


def test_the_innermost_scope_answers_alone() -> None:
    stand = Stand(bank=[make_mock(READ, answer=[1])], till=[make_mock("GET", answer=[2])])
    connection = stand.connect()
    stand.begin("bank")
    stand.begin("till")
    assert connection.rows(READ).startswith("never recorded")
    assert connection.rows("GET") == [2]
    stand.scopes.pop()
    assert connection.rows(READ) == [1]
    stand.scopes.pop()
    assert connection.rows(READ).startswith("nothing was recorded at")


def test_misses_are_told_once_and_counted_unless_they_are_meant() -> None:
    stand = Stand(bank=[make_mock(READ, "ann")])
    connection = stand.connect()
    stand.begin("bank")
    connection.rows(READ, "bob")
    [(missed, count)] = stand.scopes.current.take_misses().items()
    assert (missed.call, missed.nearest, count) == (f"{READ} ['bob']", f"{READ} ['ann']", 1)
    assert [(one.path, one.expected, one.actual) for one in missed.fields] == [
        ("/args/0", "ann", "bob")
    ]
    assert not stand.scopes.current.take_misses()
    connection.rows(READ, "bob")
    assert list(stand.scopes.current.take_misses().values()) == [1]
    stand.scopes.pop()
    stand.begin("bank", is_lenient=True)
    connection.rows(READ, "bob")
    stand.scopes.close()
    assert (stand.totals.missed, stand.totals.tolerated) == (2, 1)


def test_cases_narrow_to_their_mocks_and_what_no_case_caused() -> None:
    stand = Stand(
        bank=[
            make_mock("CONNECT", tier=Tier.STARTUP),
            make_mock(READ, "ann", answer=[1], case="get-ann"),
            make_mock(READ, "bob", answer=[2], case="get-bob"),
            make_mock(READ, "any", answer=[3], candidates=["get-ann", "get-bob"]),
        ]
    )
    stand.begin("bank", cases=["*-bob"])
    matcher, connection = stand.scopes.current.matcher, stand.connect()
    assert matcher.total == 2
    assert connection.rows(READ, "ann").startswith("recorded but different")
    assert [connection.rows("CONNECT"), connection.rows(READ, "bob")] == [[], [2]]
    assert (matcher.used, matcher.list_unused(5)) == (1, [f"{READ} ['any']"])
    with pytest.raises(SelectionError, match=r"no case is called x \(there are: get-ann, get-bob"):
        stand.begin("bank", cases=["get-ann", "x"])


def test_of_equal_calls_the_cases_own_is_served_before_what_no_case_caused() -> None:
    background = make_mock(READ, answer=[0], tier=Tier.BACKGROUND)
    stand = Stand(bank=[background, make_mock(READ, answer=[1], case="get-ann")])
    stand.begin("bank", cases=["get-ann"])
    connection = stand.connect()
    assert [connection.rows(READ), connection.rows(READ)] == [[1], [0]]
    assert stand.scopes.current.matcher.used == 1


def test_a_place_may_have_another_name_in_the_next_scope() -> None:
    first = make_mock(READ, answer=[1], destination=LOCAL)
    second = make_mock(READ, answer=[2], destination=LOCAL6)
    stand = Stand(first=[first], second=[second])
    stand.begin("first")
    route = stand.scopes.routes.find("tcp", "::1", 5432)
    connection = stand.connect(route.destination)
    assert connection.rows(READ) == [1]
    stand.scopes.pop()
    stand.begin("second")
    assert connection.rows(READ) == [2]


def test_what_is_noise_is_not_compared() -> None:
    rule = NoiseRule("/args/0", "differs", call="SELECT*")
    stand = Stand(rule, bank=[make_mock(READ, "ann", answer=[1])])
    stand.begin("bank")
    assert stand.connect().rows(READ, "bob") == [1]


def test_a_base_that_was_not_called_does_not_count_when_it_is_replaced() -> None:
    stand = Stand(bank=[make_mock(READ, answer=[1])])
    named = [cast(Recorded, stand.sets["bank"])]
    scopes = Scopes(lambda: stand.library.make_scope_of(named, 1), stand.totals)
    assert scopes.current.matcher.total == 1
    scopes.replace_base(lambda: stand.library.make_scope(()))
    scopes.close()
    assert stand.totals.mocks == 0


def test_requests_are_kept_as_long_as_their_scope() -> None:
    stand = Stand(one=[make_mock(READ)], two=[make_mock(READ)])
    stand.begin("one")
    answers = stand.connect().answers
    assert isinstance(answers, KeepingAnswerer)
    request: Document = {"sql": READ, "args": []}
    answers.keep_request(b"source", request)
    assert stand.connect().answers.find_request(b"source") is request
    stand.begin("two")
    assert answers.find_request(b"source") is None
    stand.scopes.pop()
    assert answers.find_request(b"source") is request
