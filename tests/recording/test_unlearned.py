"""Calls by statements prepared before, as the recording's summary tells them."""

from __future__ import annotations

from kebpf.protocols.base import Exchange, Mark
from kebpf.recording.model import Endpoint, RecordedExchange, Role
from kebpf.recording.unlearned import (
    MOST_NAMES,
    MOST_SERVERS,
    MOST_TOLD,
    UnlearnedStatements,
    describe_unlearned,
)


def make_call(
    statement: str | None,
    connection: int = 1,
    port: int = 5432,
    problem: str | None = "not known",
    role: Role = Role.CLIENT,
) -> RecordedExchange:
    request = {"sql": "SELECT 1"} if statement is None else {"statement": statement}
    exchange = Exchange("postgres", request, None, Mark(1), Mark(2), problem=problem)
    ends = (Endpoint("tcp", "10.0.0.1", 40000), Endpoint("tcp", "10.0.0.2", port))
    return RecordedExchange(exchange, role, connection, *ends)


def note_all(*calls: RecordedExchange) -> dict[str, dict[str, object]]:
    unlearned = UnlearnedStatements()
    for call in calls:
        unlearned.note(call)
    return unlearned.as_fields()


def test_counts_are_by_server() -> None:
    found = note_all(
        make_call("S_1", connection=1),
        make_call("S_2", connection=1),
        make_call("S_1", connection=2),
        make_call("S_1", connection=3, port=5433),
    )
    assert found == {
        "10.0.0.2:5432": {
            "statements": 2,
            "names": ["S_1", "S_2"],
            "connections": 2,
            "calls": 3,
        },
        "10.0.0.2:5433": {"statements": 1, "names": ["S_1"], "connections": 1, "calls": 1},
    }


def test_only_calls_that_are_not_known_count() -> None:
    assert note_all(make_call(None), make_call("S_1", problem=None)) == {}
    assert note_all(make_call("S_1", role=Role.SERVER)) == {}


def test_names_and_servers_are_bounded() -> None:
    [one] = note_all(*(make_call(f"S_{n}") for n in range(MOST_NAMES + 5))).values()
    assert one["statements"] == MOST_NAMES
    assert one["calls"] == MOST_NAMES + 5
    assert one["names"] == [f"S_{n}" for n in range(MOST_TOLD)]
    servers = note_all(*(make_call("S_1", port=1 + n) for n in range(MOST_SERVERS + 5)))
    assert len(servers) == MOST_SERVERS


def test_sentences() -> None:
    assert describe_unlearned("db:5432", 7, ["P_0", "P_1", "P_2", "P_3"], 4, 6104) == (
        'db:5432: 7 statements prepared before the recording ("P_0", "P_1", "P_2" and 4 more) '
        "on 4 connections; 6,104 calls by them left out"
    )
    assert describe_unlearned("db:5432", 1, ["S_1"], 1, 1) == (
        'db:5432: 1 statement prepared before the recording ("S_1") on 1 connection; '
        "1 call by it left out"
    )
