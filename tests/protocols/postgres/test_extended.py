"""A call recorded in one form answers all others: cold, warm, pipelined, simple, binary, text."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import asyncpg
import psycopg
import psycopg2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kebpf.protocols.base import CandidSession, Document, Exchange, Mark
from kebpf.protocols.postgres import POSTGRES
from kebpf.protocols.postgres import messages as m
from kebpf.protocols.postgres.documents import column_document, make_request, new_response
from kebpf.protocols.postgres.framing import BACKEND_KINDS, FrameReader
from kebpf.protocols.postgres.parser import parse_backend
from kebpf.protocols.postgres.synthesis import FAILED_BLOCK
from kebpf.protocols.postgres.writer import write, write_all
from tests.fix_postgres import PostgresCluster
from tests.protocols.postgres.test_session import dsn, record
from tests.protocols.postgres.wire import RecordedAnswerer, key_of, replay

SQL = (
    "select g, g::text as t, g * 1.25 as n, '2024-01-01 12:00+02'::timestamptz as z, "
    "g > 1 as b, null::uuid as u from generate_series(1, 3) g"
)
WITH_PARAMETER = SQL + " where g <> $1"


def _rows(rows: Any) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in rows]


def raw_cursor(port: int, **options: Any) -> Any:
    binary = options.pop("binary", False)
    with psycopg.connect(dsn(port), autocommit=True) as conn, psycopg.RawCursor(conn) as cur:
        cur.format = psycopg.pq.Format(int(binary))
        first = _rows(cur.execute(WITH_PARAMETER, (2,), **options).fetchall())
        return first, _rows(cur.execute(SQL, **options).fetchall())


def cold_text(port: int) -> Any:
    return raw_cursor(port)


def cold_binary(port: int) -> Any:
    return raw_cursor(port, binary=True)


def prepared(port: int) -> Any:
    return raw_cursor(port, prepare=True)


def pipelined(port: int) -> Any:
    with psycopg.connect(dsn(port), autocommit=True) as conn, conn.pipeline():
        one, two = psycopg.RawCursor(conn), psycopg.RawCursor(conn)
        one.execute(WITH_PARAMETER, (2,))
        two.execute(SQL)
        return _rows(one.fetchall()), _rows(two.fetchall())


def by_asyncpg(port: int) -> Any:
    async def run() -> Any:
        conn = await asyncpg.connect(
            host="127.0.0.1", port=port, user="postgres", database="postgres", ssl=False
        )
        try:
            return _rows(await conn.fetch(WITH_PARAMETER, 2)), _rows(await conn.fetch(SQL))
        finally:
            await conn.close()

    return asyncio.run(run())


FORMS: list[Callable[[int], Any]] = [cold_text, cold_binary, prepared, pipelined, by_asyncpg]


@pytest.mark.postgres
@pytest.mark.parametrize("recorded", FORMS, ids=lambda f: f.__name__)
def test_every_form_answers_every_other(
    recorded: Callable[[int], Any], postgres: PostgresCluster
) -> None:
    seen, exchanges = record(recorded, postgres)
    for replayed in FORMS:
        again, answerer = replay(replayed, exchanges)
        assert again == seen, replayed.__name__
        assert (answerer.misses, answerer.unused) == ([], [])


@pytest.mark.postgres
def test_a_simple_query_answers_the_extended_forms(postgres: PostgresCluster) -> None:
    def simple(port: int) -> Any:
        conn = psycopg2.connect(dsn(port))
        conn.autocommit = True
        with conn.cursor() as cur:
            cur.execute(SQL)
            found = cur.fetchall()
        conn.close()
        return [row[:3] for row in found]

    def extended(port: int) -> Any:
        with psycopg.connect(dsn(port), autocommit=True) as conn:
            return [tuple(r[:3]) for r in conn.execute(SQL, prepare=True, binary=True).fetchall()]

    seen, exchanges = record(simple, postgres)
    for program in (simple, extended):
        assert replay(program, exchanges)[0] == seen
    seen, exchanges = record(extended, postgres)
    assert replay(simple, exchanges)[0] == seen


@pytest.mark.postgres
@pytest.mark.parametrize(("recorded_size", "size"), [(3, 3), (3, 2), (2, 5), (4, 1)])
def test_rows_may_be_fetched_in_other_pieces(
    recorded_size: int, size: int, postgres: PostgresCluster
) -> None:
    def program(limit: int) -> Callable[[int], Any]:
        async def run(port: int) -> Any:
            conn = await asyncpg.connect(
                host="127.0.0.1", port=port, user="postgres", database="postgres", ssl=False
            )
            async with conn.transaction():
                cursor = conn.cursor("select generate_series(1, 8)", prefetch=limit)
                found = [row[0] async for row in cursor]
            await conn.close()
            return found

        return lambda port: asyncio.run(run(port))

    seen, exchanges = record(program(recorded_size), postgres)
    assert seen == list(range(1, 9))
    assert replay(program(size), exchanges)[0] == seen


# --- without a server: what must be said when the recording does not know --------------------


def make_exchange(request: Document, response: Document, is_session: bool = False) -> Exchange:
    mark = Mark(0)
    return Exchange("postgres", request, response, mark, mark, is_session=is_session)


def make_rows(type_oid: int, value: Any, value_format: int = 0) -> Document:
    column = column_document(m.Column("x", 0, 0, type_oid, -1, -1, value_format))
    result = {
        "columns": [column],
        "rows": [[value]],
        "tag": "SELECT 1",
        "suspended": False,
        "copy": None,
    }
    return {**new_response(), "results": [result]}


class Client:
    """Talks to a server session and reads its messages."""

    def __init__(self, exchanges: list[Exchange], facts: Sequence[Document] = ()) -> None:
        self.answerer = RecordedAnswerer(exchanges)
        self._session = POSTGRES.make_server(self.answerer, facts)
        assert isinstance(self._session, CandidSession)
        self.take_problems = self._session.take_problems
        self.greeting = self.say(m.StartupMessage([("user", "u")]))

    def say(self, *messages: Any) -> list[Any]:
        reader = FrameReader(BACKEND_KINDS)
        reader.feed(self._session.receive_data(write_all(messages)))
        found = []
        while frame := reader.next_frame():
            found.append(parse_backend(frame.kind, frame.payload))
        return found

    def names(self, *messages: Any) -> str:
        return " ".join(type(message).__name__ for message in self.say(*messages))


def run(sql: str, *formats: int) -> list[Any]:
    return [m.Parse("", sql), m.Bind("", "", [], [], list(formats)), m.Execute(""), m.Sync()]


def test_a_miss_is_an_error_and_skips_to_sync() -> None:
    client = Client([])
    *_, error, ready = client.say(*run("select x from y")[:-1], *run("select other"))
    assert (error.fields["C"], ready.status) == ("KB001", "I")
    assert "never recorded: select x from y" in error.fields["M"]
    assert len(client.answerer.misses) == 1


def test_statements_recorded_one_by_one_are_answered_in_one_query() -> None:
    def make_exchanges() -> list[Exchange]:
        texts = ("select a from x", "select b from x", "select c from x")
        return [
            make_exchange(make_request(sql, "extended", database="u"), make_rows(25, sql[7]))
            for sql in texts
        ]

    client = Client(make_exchanges())
    answered = client.say(m.Query("select a from x; set timezone = 'UTC'; select b from x;"))
    assert [one.values for one in answered if isinstance(one, m.DataRow)] == [[b"a"], [b"b"]]
    assert client.answerer.unused == [key_of(make_request("select c from x", database="u"))]
    client = Client(make_exchanges())
    error, _ = client.say(m.Query("select a from x; select other from x"))
    assert error.fields["C"] == "KB001"
    assert len(client.answerer.misses) == 1 and len(client.answerer.unused) == 3


def test_a_refusal_is_worded_as_recorded() -> None:
    recorded = {**FAILED_BLOCK.document(), "file": "postgres.c", "routine": "exec_parse_message"}
    fact = {"request": make_request("select 1"), "response": {"error": recorded}}
    client = Client([], [fact])
    client.say(m.Query("begin"), m.Query("select nothing"))
    error, _ = client.say(m.Parse("s", "select 2"), m.Describe("S", "s"), m.Sync())
    assert (error.fields["C"], error.fields["R"]) == ("25P02", "exec_parse_message")


def test_a_failed_block_refuses_until_rollback() -> None:
    client = Client([])
    assert client.say(m.Query("begin"))[-1].status == "T"
    assert client.say(m.Query("select nothing"))[-1].status == "E"
    error, ready = client.say(m.Query("select more"))
    assert (error.fields["C"], ready.status) == ("25P02", "E")
    assert len(client.answerer.misses) == 1
    complete, ready = client.say(m.Query("commit"))
    assert (complete.tag, ready.status) == ("ROLLBACK", "I")


def test_a_value_known_only_in_binary_is_refused_as_text() -> None:
    response = make_rows(99_999, b"\x01", 1)
    for wanted, expected in ((1, "DataRow"), (0, "ErrorResponse")):
        client = Client(
            [make_exchange(make_request("select x from y", "extended", database="u"), response)]
        )
        assert expected in client.names(*run("select x from y", wanted))
    error = next(r for r in _reply_to(response) if isinstance(r, m.ErrorResponse))
    assert error.fields["C"] == "KB002"


def _reply_to(response: Document) -> list[Any]:
    client = Client([make_exchange(make_request("select x from y", database="u"), response)])
    return client.say(m.Query("select x from y"))


def test_a_describe_of_unknown_sql_has_no_data() -> None:
    client = Client([])
    asked = [m.Parse("s", "select $1, $2", [23]), m.Describe("S", "s"), m.Sync()]
    _, parameters, columns, _ = client.say(*asked)
    assert parameters.type_oids == [23, 25]
    assert isinstance(columns, m.NoData)


def test_a_describe_comes_from_any_recording_of_the_sql() -> None:
    response = {**make_rows(23, "7"), "parameter_types": [20]}
    request = make_request("select x where y = $1", "extended", parameters=["1"], database="u")
    client = Client([make_exchange(request, response)])
    sql = str(request["sql"])
    _, parameters, columns, _ = client.say(m.Parse("s", sql), m.Describe("S", "s"), m.Sync())
    assert parameters.type_oids == [20]
    assert columns.columns[0].type_oid == 23
    bind = m.Bind("", "s", [1], [(1).to_bytes(8, "big")], [1])
    assert client.say(bind, m.Execute(""), m.Sync())[1].values == [b"\0\0\0\7"]


def test_a_type_nobody_declared_is_described_as_text() -> None:
    response = {**make_rows(23, "7"), "parameter_types": [0, 20]}
    request = make_request("select x where y = $1", "extended", parameters=["1", "2"], database="u")
    client = Client([make_exchange(request, response)])
    sql = str(request["sql"])
    _, parameters, *_ = client.say(m.Parse("s", sql), m.Describe("S", "s"), m.Sync())
    assert parameters.type_oids == [25, 20]


def test_a_type_this_client_declares_goes_before_the_recorded_one() -> None:
    """The recording had NULL in the second place, for which psycopg declares no type."""
    sql = "insert into t values ($1, $2, $3)"
    response = {**make_rows(23, "7"), "parameter_types": [23, 0, 25]}
    request = make_request(sql, "extended", parameters=["1", "2", "a"], database="u")
    client = Client([make_exchange(request, response)])
    bind = m.Bind("", "s", [1, 1, 0], [(1).to_bytes(4, "big"), (2).to_bytes(4, "big"), b"a"], [])
    assert client.names(m.Parse("s", sql, [0, 23, 0]), bind, m.Execute(""), m.Sync()) == (
        "ParseComplete BindComplete DataRow CommandComplete ReadyForQuery"
    )


def test_encryption_is_declined_and_cancel_closes() -> None:
    session = POSTGRES.make_server(RecordedAnswerer([]), [])
    assert session.receive_data(write(m.SSLRequest())) == b"N"
    assert session.receive_data(write(m.GSSENCRequest())) == b"N"
    assert session.receive_data(write(m.CancelRequest(1, b"\0\0\0\1"))) == b""
    assert session.is_closed


def test_a_newer_minor_version_is_negotiated_down() -> None:
    session = POSTGRES.make_server(RecordedAnswerer([]), [])
    hello = m.StartupMessage([("user", "u"), ("_pq_.x", "1")], (3 << 16) | 2)
    assert session.receive_data(write(hello)).startswith(b"v\0\0\0\x13\0\0\0\0\0\0\0\1_pq_.x\0")


def test_names_that_do_not_exist() -> None:
    client = Client([])
    for message, code in (
        (m.Bind("", "nope"), "26000"),
        (m.Execute("nope"), "34000"),
        (m.Describe("P", "nope"), "34000"),
    ):
        error, _ = client.say(message, m.Sync())
        assert error.fields["C"] == code


def test_an_unrecorded_type_lookup_is_not_empty() -> None:
    client = Client([])
    error, _ = client.say(m.Query("select oid from pg_type where typname = 'hstore'"))
    assert error.fields["C"] == "KB001" and "pg_type" in error.fields["M"]
    assert client.answerer.misses == []
    asked = [m.Parse("", "select oid from pg_type"), m.Describe("S", ""), m.Sync()]
    error, _ = client.say(*asked)
    assert error.fields["C"] == "KB001"
    assert [text for text in client.take_problems() if "pg_type" not in text] == []


def test_who_asks_is_told_of_what_no_matcher_knows() -> None:
    """Neither a miss, of which the matcher knows, nor what was recorded."""
    client = Client([make_exchange(make_request("s", database="u"), make_rows(99_999, b"1", 1))])
    client.say(*run("select never"))
    client.say(m.Query("rollback to nothing"))
    assert list(client.take_problems()) == []
    client.say(*run("s"))
    [problem] = client.take_problems()
    assert "type 99999 is only known" in problem
    assert list(client.take_problems()) == []


def test_several_statements_cannot_be_prepared() -> None:
    error, _ = Client([]).say(m.Parse("", "select 1; select 2"), m.Sync())
    assert (error.fields["C"], error.fields["M"]) == (
        "42601",
        "cannot insert multiple commands into a prepared statement",
    )


class FailedParse(RecordedAnswerer):
    """Knows of each call that its statement could not be parsed."""

    def session(self, request: Document) -> Document | None:
        if request["kind"] != "describe":
            return super().session(request)
        report = {"severity": "ERROR", "code": "42P01", "message": "no", "position": "15"}
        return {"columns": None, "error": report, "call": make_request(request["sql"])}


def test_what_could_not_be_parsed_fails_at_its_parse_and_is_used_up() -> None:
    call = make_request("select * from nowhere", database="u")
    answerer = FailedParse([make_exchange(call, new_response())])
    session = POSTGRES.make_server(answerer, [])
    session.receive_data(write(m.StartupMessage([("user", "u")])))
    answer = session.receive_data(write_all([m.Parse("p", "select * from nowhere"), m.Sync()]))
    assert answer[:1] == b"E" and b"42P01" in answer
    assert (answerer.unused, answerer.misses) == ([], [])


@given(st.lists(st.binary(max_size=80), max_size=8))
@settings(max_examples=300, deadline=None)
def test_garbage_is_answered_or_ends_the_connection(pieces: list[bytes]) -> None:
    for head in (b"", write(m.StartupMessage([("user", "u")]))):
        session = POSTGRES.make_server(RecordedAnswerer([]), [])
        session.receive_data(head)
        for piece in pieces:
            assert isinstance(session.receive_data(piece), bytes)
