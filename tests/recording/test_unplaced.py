"""Calls in a database that is not known: counted by server, and said."""

from __future__ import annotations

from typing import Any

from kebpf.recording.model import RecordedExchange, Role
from kebpf.recording.unplaced import UnplacedCalls, describe_unplaced
from tests.recording.builders import DATABASE, make_exchange


def call(connection: int, **options: Any) -> RecordedExchange:
    request = {"kind": "query", "sql": "SELECT 1", **options.pop("request", {})}
    values: dict[str, Any] = {"protocol": "postgres", "role": Role.CLIENT} | options
    return make_exchange(1, 2, request=request, connection=connection, **values)


def test_calls_and_connections_are_counted() -> None:
    unplaced = UnplacedCalls()
    for one in (call(1), call(1), call(2, request={"kind": "function"})):
        unplaced.note(one)
    assert unplaced.as_fields() == {str(DATABASE): {"connections": 2, "calls": 3}}


def test_not_what_is_known_or_never_answers() -> None:
    unplaced = UnplacedCalls()
    for one in (
        call(1, request={"database": "shop"}),
        call(2, is_session=True),
        call(3, problem="lost"),
        call(4, protocol="redis"),
        call(5, role=Role.SERVER),
        call(6, request={"kind": "startup"}),
    ):
        unplaced.note(one)
    assert unplaced.as_fields() == {}


def test_sentences() -> None:
    assert describe_unplaced("db:5432", 1, 1) == (
        "db:5432: the database of 1 connection that was open before the recording is not known; "
        "1 call on it will answer in any database"
    )
    assert describe_unplaced("db:5432", 4, 6104) == (
        "db:5432: the database of 4 connections that were open before the recording is not known; "
        "6,104 calls on them will answer in any database"
    )
