"""The same call to another database of a server is another call, where the database is known."""

from __future__ import annotations

from typing import Any

import pytest

from kebpf.protocols.base import Document, Miss
from kebpf.recording.model import Mock, Tier
from kebpf.replay.index import MockIndex

from .builders import CACHE, DATABASE, MemorySet, get_plain_spec, make_mock
from .matching import Run, reason, rows

SELECT = "SELECT note FROM places"


def ask(database: str | None, *answer: Any, sql: str = SELECT, **changes: Any) -> Mock:
    """A mock whose connection's start-up was seen, or not (``None``)."""
    request: Document = {"sql": sql, "args": [], "database": database}
    values: dict[str, Any] = {"case": "a", "answer": list(answer), **changes}
    return make_mock(sql, **values, request=request)


def call(run: Run, database: str, sql: str = SELECT) -> Document | Miss:
    answers = run.matcher.for_destination(DATABASE, "plain")
    return answers.answer({"sql": sql, "args": [], "database": database})


class TestDatabases:
    def test_another_database_is_another_call(self) -> None:
        run = Run(ask("app", 1))
        run.begin()
        assert reason(call(run, "other")).endswith("/database was 'app', is 'other'")
        (finding,) = run.end()
        assert finding.kind == "changed"
        [field] = finding.fields
        assert (field.path, field.expected, field.actual) == ("/database", "app", "other")

    def test_each_database_gives_its_own_answer(self) -> None:
        run = Run(ask("app", 1), ask("other", 2))
        run.begin()
        assert rows(call(run, "other")) == [2]
        assert rows(call(run, "app")) == [1]
        assert run.end() == []

    def test_an_unknown_database_is_any(self) -> None:
        run = Run(ask(None, 1), ask(None, 2))
        run.begin()
        assert rows(call(run, "app")) == [1]
        assert rows(call(run, "other")) == [2]
        assert run.end() == []

    def test_known_and_unknown_ones_keep_their_order(self) -> None:
        """A pool that was open before the recording, and grew: which asked first matters."""
        for databases in ([None, "app", None], ["app", None, None], ["app", None, "app"]):
            run = Run(*(ask(database, n) for n, database in enumerate(databases)))
            run.begin()
            assert [rows(call(run, "app")) for _ in databases] == [[0], [1], [2]]
            assert run.end() == []

    def test_a_known_one_beside_unknown_ones_is_still_asserted(self) -> None:
        for mocks in ([ask(None, sql="PING x"), ask("app")], [ask("app"), ask(None, sql="PING x")]):
            run = Run(*mocks)
            run.begin()
            call(run, "other", "PING x")
            assert isinstance(call(run, "other"), Miss)
            (finding,) = run.end()
            [field] = finding.fields
            assert (finding.kind, field.expected, field.actual) == ("changed", "app", "other")

    def test_another_destination_is_not_loosened(self) -> None:
        run = Run(ask("app"), ask(None, destination=CACHE))
        run.begin()
        assert isinstance(call(run, "other"), Miss)

    def test_session_matters_are_the_same_in_every_database(self) -> None:
        begin = ask(None, sql="BEGIN", tier=Tier.SESSION)
        for mocks in ([begin, ask("app")], [begin, ask(None)], [ask(None), begin]):
            run = Run(*mocks)
            assert run.session(sql="BEGIN", database=None) is not None
            assert run.session(sql="ROLLBACK", database=None) is None


@pytest.mark.parametrize(
    ("databases", "count"), [([None, "app"], 1), ([None, None], 2), (["app", "app"], 0)]
)
def test_calls_whose_database_was_not_compared_are_counted(
    databases: list[str | None], count: int
) -> None:
    run = Run(*(ask(database, n) for n, database in enumerate(databases)))
    run.begin()
    for _ in databases:
        rows(call(run, "app"))
    assert run.matcher.current.unplaced == count


def test_a_statement_is_described_as_in_its_own_database() -> None:
    mocks = [ask("app", 1), ask("other", 2), ask(None, 3, sql="SELECT 3")]
    index = MockIndex(MemorySet([], mocks), get_plain_spec)
    assert index.find_described(DATABASE, SELECT, "other") == mocks[1]
    assert index.find_described(DATABASE, SELECT, "third") == mocks[0]
    assert index.find_described(DATABASE, "SELECT 3", "app") == mocks[2]
    assert index.find_described(DATABASE, "SELECT 4", "app") is None


def test_columns_that_only_another_one_knows_describe_a_statement() -> None:
    """A session matter has no database; a preparation of the same SQL has, but no columns."""
    columns: Document = {"results": [{"columns": [["version", 25]]}]}
    mocks = [ask("app", response={}), ask(None, response=columns)]
    index = MockIndex(MemorySet([], mocks), get_plain_spec)
    assert index.find_described(DATABASE, SELECT, "app") == mocks[1]


def test_of_what_was_pushed_one_connection_has_all() -> None:
    """Each of its messages, and nothing twice that several connections were told."""
    request = {"sql": "listen", "args": [], "pushed": True}
    pushes = [
        make_mock("listen", tier=Tier.SESSION, request=request, answer=[text], connection=number)
        for number, text in ((1, "a"), (2, "a"), (1, "b"), (1, "b"), (2, "c"))
    ]
    run = Run(*pushes)
    told = [fact["response"]["rows"] for fact in run.matcher.facts_for(DATABASE)]
    assert told == [["a"], ["b"], ["b"]]
