"""A connection's database is known from its start-up, to the pairer and to the server session."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from kebpf.protocols.base import Mark, Sender
from kebpf.protocols.postgres import POSTGRES
from kebpf.protocols.postgres import messages as m
from kebpf.protocols.postgres.pairing import PostgresPairer
from kebpf.protocols.postgres.writer import write, write_all
from tests.fix_postgres import PostgresCluster
from tests.protocols.postgres.test_session import dsn, record
from tests.protocols.postgres.wire import Piece, RecordedAnswerer, pair

SAID = [
    ("BEGIN", "BEGIN", "T"),
    ("select 1 from t", "SELECT 1", "T"),
    ("COMMIT", "COMMIT", "I"),
]


def converse(*parameters: tuple[str, str]) -> list[Piece]:
    """A connection's bytes; without parameters, from behind its start-up."""
    found: list[Piece] = []
    if parameters:
        opened = write_all([m.Authentication(0), m.ReadyForQuery("I")])
        found += [
            (Sender.CLIENT, write(m.StartupMessage(list(parameters))), 1),
            (Sender.SERVER, opened, 2),
        ]
    for number, (sql, tag, status) in enumerate(SAID * 3):
        answer = write_all([m.CommandComplete(tag), m.ReadyForQuery(status)])
        at = 2 * number + 3
        found += [(Sender.CLIENT, write(m.Query(sql)), at), (Sender.SERVER, answer, at + 1)]
    return found


def databases(pieces: list[Piece], joined: bool = False) -> dict[str, Any]:
    found = [e.request for e in pair(pieces, joined) if e.request["kind"] == "query"]
    return {request["sql"]: request.get("database") for request in found}


def test_the_database_is_the_users_unless_named() -> None:
    """Section 55.7, StartupMessage: "defaults to the user name"."""
    pieces = converse(("user", "u"), ("database", "d"))
    assert databases(pieces) == {"BEGIN": None, "select 1 from t": "d", "COMMIT": None}
    assert databases(converse(("user", "u")))["select 1 from t"] == "u"


def test_it_is_not_known_of_a_connection_joined_midway() -> None:
    assert databases(converse(), joined=True)["select 1 from t"] is None


def test_a_served_call_is_asked_for_with_it() -> None:
    answerer = RecordedAnswerer([])
    session = POSTGRES.make_server(answerer, [])
    session.receive_data(write(m.StartupMessage([("user", "u"), ("database", "d")])))
    function = m.FunctionCall(1, [], [], 0)
    for message in (m.Query("BEGIN"), m.Query("COMMIT"), m.Query("select 1 from t"), function):
        session.receive_data(write(message))
    assert [request["database"] for request in answerer.misses] == ["d", "d"]
    assert all(POSTGRES.identity(call)["database"] == "d" for call in answerer.misses)
    asked = [request for request in answerer.told if request["kind"] == "query"]
    assert [POSTGRES.identity(request)["database"] for request in asked] == [None, None]


@pytest.mark.postgres
def test_it_is_what_the_server_says(postgres: PostgresCluster) -> None:
    def program(port: int) -> Any:
        found = []
        for name in ("postgres", "template1"):
            with psycopg.connect(f"{dsn(port)} dbname={name}", autocommit=True) as conn:
                found += conn.execute("select current_database()::text").fetchall()
        return found

    names, exchanges = record(program, postgres)
    calls = [e for e in exchanges if e.request.get("sql", "").startswith("select")]
    assert [(call.request["database"],) for call in calls if not call.is_session] == names


def test_encryption_begins_when_both_have_said_so() -> None:
    """What comes then is the plaintext, and the start-up as if nothing had been before."""
    pairer = PostgresPairer()
    assert pairer.receive_data(Sender.CLIENT, write(m.SSLRequest()), Mark(1)) == []
    assert not pairer.awaits_tls
    assert pairer.receive_data(Sender.SERVER, b"S", Mark(2)) == []
    assert (pairer.broken, pairer.awaits_tls) == (None, True)
    answer = write_all([m.Authentication(0), m.ReadyForQuery("I")])
    start_up = [
        (Sender.CLIENT, write(m.StartupMessage([("user", "u")])), 3),
        (Sender.SERVER, answer, 4),
    ]
    given = [pairer.receive_data(*piece[:2], Mark(piece[2])) for piece in start_up]
    (start,) = [exchange for exchanges in given for exchange in exchanges]
    assert start.request["user"] == "u" and start.problem is None
    assert not pairer.awaits_tls


def test_encryption_of_another_kind_ends_the_story() -> None:
    pairer = POSTGRES.make_pairer()
    assert pairer.receive_data(Sender.CLIENT, write(m.GSSENCRequest()), Mark(1)) == []
    assert pairer.receive_data(Sender.SERVER, b"G", Mark(2)) == []
    assert pairer.broken == "encrypted (GSSAPI)"


def test_what_is_parsed_again_is_known_by_what_was_said_of_it() -> None:
    """As asyncpg and pgx do it: parsed and described, then parsed anew to be executed."""
    pairer = PostgresPairer()
    int8 = (42).to_bytes(8, "big")
    ready = m.ReadyForQuery("I")
    pieces = [
        (Sender.CLIENT, write(m.StartupMessage([("user", "u")]))),
        (Sender.SERVER, write_all([m.Authentication(0), ready])),
        (Sender.CLIENT, write_all([m.Parse("", "select $1", []), m.Describe("S", ""), m.Sync()])),
        (
            Sender.SERVER,
            write_all([m.ParseComplete(), m.ParameterDescription([20]), m.NoData(), ready]),
        ),
        (
            Sender.CLIENT,
            write_all(
                [
                    m.Parse("", "select $1", []),
                    m.Bind("", "", [1], [int8], [1]),
                    m.Execute(""),
                    m.Sync(),
                ]
            ),
        ),
        (
            Sender.SERVER,
            write_all([m.ParseComplete(), m.BindComplete(), m.CommandComplete("SELECT 0"), ready]),
        ),
    ]
    found = [
        exchange
        for number, (sender, data) in enumerate(pieces)
        for exchange in pairer.receive_data(sender, data, Mark(number + 1))
    ]
    request = found[-1].request
    assert (request["parameters"], request["parameter_types"]) == (["42"], [20])
