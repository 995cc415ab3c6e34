"""Documents written as bytes: a real server takes the requests, a real client the responses."""

from __future__ import annotations

import socket
from typing import Any

import psycopg
import pytest

from kebpf.protocols.base import Document, Sender
from kebpf.protocols.postgres import POSTGRES
from kebpf.protocols.postgres.documents import make_request, new_response
from tests.fix_postgres import PostgresCluster
from tests.protocols.postgres.test_session import dsn, record
from tests.protocols.postgres.wire import Piece, pair

READY = b"Z\0\0\0\x05"
STARTUP = {"kind": "startup", "user": "postgres", "database": "postgres", "options": {}}
COPIED = b"1\tone\n2\ttwo\n"


def send(port: int, requests: list[Document]) -> list[Document | None]:
    """Sends requests as they are written, one after another; the responses as they are paired."""
    pieces: list[Piece] = []
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        for number, request in enumerate([STARTUP, *requests]):
            data = POSTGRES.write_request(request)
            connection.sendall(data)
            answer = b""
            while READY not in answer[-6:]:
                answer += connection.recv(65536)
            pieces += [(Sender.CLIENT, data, 2 * number), (Sender.SERVER, answer, 2 * number + 1)]
    return [e.response for e in pair(pieces) if e.request["kind"] == "query"]


def rows_of(response: Document | None) -> Any:
    assert response is not None and not response.get("error")
    return [result["rows"] for result in response["results"]]


@pytest.mark.postgres
def test_a_real_server_takes_what_is_written(postgres: PostgresCluster) -> None:
    found = send(
        postgres.port,
        [
            make_request("select 1 as a; select 'x'"),
            make_request("create temp table t (a int, b text)"),
            make_request("copy t from stdin", copy_data=COPIED),
            make_request("select b from t where a = $1", parameters=["2"]),
            make_request(
                "select $1::bytea, $2::int", parameters=[b"\0\xff", None], parameter_types=[17, 23]
            ),
        ],
    )
    assert rows_of(found[0]) == [[["1"]], [["x"]]]
    assert rows_of(found[3]) == [[["two"]]]
    assert rows_of(found[4]) == [[["\\x00ff", None]]]


@pytest.mark.postgres
def test_a_written_response_is_the_one_that_was_read(postgres: PostgresCluster) -> None:
    def ask(port: int) -> None:
        with psycopg.connect(dsn(port), autocommit=True) as conn:
            conn.execute("select g, null, 'x' || g from generate_series(1, 3) g")

    _, exchanges = record(ask, postgres)
    (call,) = [exchange for exchange in exchanges if exchange.request["kind"] == "query"]
    assert call.response is not None
    request = POSTGRES.write_request(make_request(call.request["sql"]))
    start = [e for e in exchanges if e.request["kind"] == "startup"]
    opening = POSTGRES.write_request(start[0].request)
    ready = bytes.fromhex("52 00000008 00000000 5a 00000005 49")  # AuthenticationOk, idle
    pieces: list[Piece] = [
        (Sender.CLIENT, opening, 1),
        (Sender.SERVER, ready, 2),
        (Sender.CLIENT, request, 3),
        (Sender.SERVER, POSTGRES.write_response(call.response), 4),
    ]
    again = pair(pieces)[-1].response
    assert again is not None
    assert POSTGRES.view(again) == POSTGRES.view(call.response)


def test_what_is_no_query_has_no_bytes() -> None:
    assert POSTGRES.write_request({"kind": "cancel"}) == b""
    assert POSTGRES.write_response({"answer": "S"}) == b""
    failed = {**new_response(), "status": "E"}
    assert POSTGRES.write_response(failed)[-6:] == READY + b"E"
