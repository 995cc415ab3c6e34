"""What the pairer says of real traffic, whole, cut up, joined late and with bytes missing."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kebpf.protocols.base import Exchange, HoldingPairer, Mark, Sender
from kebpf.protocols.postgres import POSTGRES
from kebpf.protocols.postgres import messages as m
from kebpf.protocols.postgres.pairing import IDLE_NS, PostgresPairer
from kebpf.protocols.postgres.writer import write, write_all
from tests.fix_postgres import PostgresCluster
from tests.protocols.postgres.test_session import PROGRAMS, dsn, record
from tests.protocols.postgres.wire import Piece, Tape, pair, tee

SLOW = settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
READY = write(m.ReadyForQuery("I"))
STARTUP: list[Piece] = [
    (Sender.CLIENT, write(m.StartupMessage([("user", "u")])), 1),
    (Sender.SERVER, write(m.Authentication(0)) + READY, 2),
]


def talk(*pieces: tuple[str, bytes]) -> list[Exchange]:
    """The exchanges of a conversation after start-up; ``c`` and ``s`` say who spoke."""
    found: list[Piece] = list(STARTUP)
    for number, (who, data) in enumerate(pieces):
        found.append((Sender.CLIENT if who == "c" else Sender.SERVER, data, number + 3))
    return pair(found)[1:]


def complete(tag: str) -> bytes:
    return write(m.CommandComplete(tag))


def essence(exchange: Exchange) -> Any:
    """What must not depend on how the bytes came."""
    return (
        exchange.request,
        exchange.response,
        exchange.is_session,
        exchange.transaction,
        exchange.problem,
        exchange.calls,
    )


@pytest.fixture(scope="module")
def tapes(postgres: PostgresCluster) -> list[Tape]:
    """Every program's connections, recorded once."""
    found: list[Tape] = []
    for program in PROGRAMS:
        with tee(postgres.port) as (port, recorded):
            program(port)
        found += recorded
    return found


@pytest.mark.postgres
def test_documents_hold_what_the_client_got(postgres: PostgresCluster) -> None:
    sql = "select g, g::text, null, g * 1.5 as n from generate_series(1, %s) g"

    def program(port: int) -> Any:
        with psycopg.connect(dsn(port), autocommit=True) as conn:
            cur = conn.execute(sql, (3,))
            return [c.name for c in cur.description or ()], cur.fetchall(), cur.statusmessage

    (names, rows, tag), exchanges = record(program, postgres)
    (call,) = [e for e in exchanges if not e.is_session]
    assert call.request["sql"] == sql.replace("%s", "$1")
    assert call.request["parameters"] == ["3"]
    assert call.response is not None
    (result,) = call.response["results"]
    assert [c["name"] for c in result["columns"]] == names
    assert result["rows"] == [[None if v is None else str(v) for v in row] for row in rows]
    assert result["tag"] == tag
    assert (call.response["status"], call.transaction, call.problem) == ("I", None, None)


@pytest.mark.postgres
def test_start_up_keeps_parameters(postgres: PostgresCluster) -> None:
    def program(port: int) -> Any:
        with psycopg.connect(dsn(port), application_name="me") as conn:
            return conn.info.parameter_status("server_version")

    version, exchanges = record(program, postgres)
    start = exchanges[0]
    assert start.request["kind"] == "startup" and start.is_session
    assert start.request["options"]["application_name"] == "me"
    assert start.response is not None
    assert start.response["parameters"]["server_version"] == version
    assert start.response["authentication"] == "trust"


def _calls(connection: psycopg.Connection[Any]) -> int:
    row = connection.execute(
        "select coalesce(sum(calls), 0)::int from pg_stat_statements s "
        "join pg_database d on d.oid = s.dbid where datname = 'postgres'"
    ).fetchone()
    return int(row[0]) if row else 0


def _counted(port: int) -> None:
    with psycopg.connect(dsn(port)) as conn:
        conn.execute("create table if not exists counted (a int)")
        conn.execute("select 1; select 2; insert into counted values (3)")
        conn.execute("prepare p as select $1::int")
        conn.execute("execute p(1)")
        conn.execute("declare c cursor for select generate_series(1, 3)")
        conn.execute("fetch 2 from c")
        conn.execute("create table if not exists counted2 as select 1 as a")
        conn.execute("explain analyze select 1")
        conn.execute("do $$ begin perform 1; end $$")
        conn.execute("deallocate p")
        conn.execute("drop table counted2")


@pytest.mark.postgres
@pytest.mark.parametrize("program", [*PROGRAMS, _counted], ids=lambda p: p.__name__)
def test_calls_are_those_the_server_counts(
    program: Callable[[int], Any], postgres: PostgresCluster
) -> None:
    admin_dsn = postgres.dsn.replace("dbname=postgres", "dbname=template1")
    with psycopg.connect(admin_dsn, autocommit=True) as admin:
        admin.execute("create extension if not exists pg_stat_statements")
        admin.execute("select pg_stat_statements_reset()")
        _, exchanges = record(program, postgres)
        assert sum(e.calls for e in exchanges) == _calls(admin)


@pytest.mark.postgres
def test_transactions_are_numbered(postgres: PostgresCluster) -> None:
    def program(port: int) -> Any:
        with psycopg.connect(dsn(port), autocommit=True) as conn:
            conn.execute("select 10")
            for number in (11, 12):
                with conn.transaction():
                    conn.execute(f"select {number}::text")
            with conn.pipeline(), conn.transaction():
                conn.execute("select 13::text")

    _, exchanges = record(program, postgres)
    numbers = [(e.request.get("sql"), e.transaction) for e in exchanges if e.request.get("sql")]
    assert numbers == [
        ("select 10", None),
        ("BEGIN", 1),
        ("select 11::text", 1),
        ("COMMIT", 1),
        ("BEGIN", 2),
        ("select 12::text", 2),
        ("COMMIT", 2),
        ("BEGIN", 3),
        ("select 13::text", 3),
        ("COMMIT", 3),
    ]


@pytest.mark.postgres
def test_chunking_never_matters(tapes: list[Tape]) -> None:
    wholes = [[essence(e) for e in tape.exchanges()] for tape in tapes]

    @SLOW
    @given(st.integers(0, len(tapes) - 1), st.randoms(use_true_random=False))
    def check(index: int, source: random.Random) -> None:
        pieces = [part for piece in tapes[index].pieces for part in _cut(piece, source)]
        assert [essence(e) for e in pair(pieces)] == wholes[index]

    check()


def _cut(piece: Piece, source: random.Random) -> list[Piece]:
    sender, data, time_ns = piece
    cuts = sorted(source.sample(range(1, len(data)), min(len(data) - 1, source.randint(0, 4))))
    return [
        (sender, data[a:b], time_ns) for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)
    ]


@pytest.mark.postgres
def test_gaps_never_give_a_wrong_pairing(tapes: list[Tape]) -> None:
    wholes = [[(e.request, e.response) for e in tape.exchanges()] for tape in tapes]

    @settings(SLOW, max_examples=400)
    @given(st.integers(0, len(tapes) - 1), st.randoms(use_true_random=False))
    def check(index: int, source: random.Random) -> None:
        found = _pair_with_gap(tapes[index].pieces, source)
        for exchange in found:
            if exchange.problem is None and exchange.request["kind"] == "query":
                assert _is_in(exchange, wholes[index]), exchange

    check()


def _is_in(exchange: Exchange, whole: list[tuple[Any, Any]]) -> bool:
    """Recorded like this in the whole stream, whatever is only known of it there.

    What was missed may be a description, so names and types may be unknown here.
    """
    response = exchange.response
    for request, known in whole:
        if (
            request["kind"] != "query"
            or known is None
            or response is None
            or request.get("sql") != exchange.request.get("sql")
        ):
            continue
        same = known["error"] == response["error"] and len(known["results"]) == len(
            response["results"]
        )
        tags = [r["tag"] for r in known["results"]] == [r["tag"] for r in response["results"]]
        sizes = [len(r["rows"]) for r in known["results"]] == [
            len(r["rows"]) for r in response["results"]
        ]
        if same and tags and sizes and _rows_agree(known, response):
            return True
    return False


def _rows_agree(known: Any, response: Any) -> bool:
    pairs = zip(known["results"], response["results"], strict=True)
    return all(a["rows"] == b["rows"] or a["columns"] != b["columns"] for a, b in pairs)


def _pair_with_gap(pieces: list[Piece], source: random.Random) -> list[Exchange]:
    lost = source.randrange(2, max(3, len(pieces)))
    pairer = POSTGRES.make_pairer()
    found: list[Exchange] = []
    for number, (sender, data, time_ns) in enumerate(pieces):
        mark = Mark(time_ns)
        if number != lost:
            found += pairer.receive_data(sender, data, mark)
            continue
        start = source.randrange(len(data))
        size = source.randint(1, len(data) - start)
        found += pairer.receive_data(sender, data[:start], mark)
        found += pairer.receive_gap(sender, size if source.random() < 0.7 else 0, mark)
        found += pairer.receive_data(sender, data[start + size :], mark)
    return found + pairer.finish(Mark(2**62))


@pytest.mark.postgres
def test_joining_late_never_gives_a_wrong_pairing(tapes: list[Tape]) -> None:
    joined = 0
    for tape in tapes:
        whole = [(e.request, e.response) for e in tape.exchanges()]
        for start in range(3, len(tape.pieces)):
            for exchange in pair(tape.pieces[start:], joined=True):
                if exchange.problem is None and exchange.request["kind"] == "query":
                    joined += 1
                    assert _is_in(exchange, whole), (start, exchange)
    assert joined > 100


@pytest.mark.postgres
@pytest.mark.parametrize("sql", ["select {} + 1", "select %s + {}"])
def test_joining_between_requests_loses_nothing(sql: str, postgres: PostgresCluster) -> None:
    parameters = (5,) if "%s" in sql else None

    def program(port: int) -> Any:
        with psycopg.connect(dsn(port), autocommit=True) as conn:
            return [conn.execute(sql.format(n), parameters).fetchone() for n in range(5)]

    with tee(postgres.port) as (port, recorded):
        program(port)
    pieces = recorded[0].pieces
    first = next(i for i, p in enumerate(pieces) if p[1][:1] in (b"Q", b"P") and b"select" in p[1])
    found = pair(pieces[first:], joined=True)
    wanted = [sql.format(n).replace("%s", "$1") for n in range(5)]
    assert [e.request["sql"] for e in found] == wanted
    assert [e.problem for e in found] == [None] * 5


@given(st.lists(st.tuples(st.sampled_from(list(Sender)), st.binary(max_size=60)), max_size=12))
@settings(max_examples=300, deadline=None)
def test_garbage_gives_exchanges_and_nothing_else(pieces: list[tuple[Sender, bytes]]) -> None:
    for joined in (False, True):
        found = pair([(s, d, i) for i, (s, d) in enumerate(pieces)], joined)
        assert all(isinstance(e, Exchange) for e in found)


def test_a_statement_prepared_before_is_named() -> None:
    asked = write_all([m.Bind("", "x"), m.Execute(""), m.Sync()])
    (found,) = talk(("c", asked), ("s", write(m.BindComplete()) + complete("INSERT 0 1") + READY))
    assert found.problem == 'statement "x" was prepared before the recording began'
    assert found.request["sql"] is None


def test_what_is_asked_after_a_loss_is_told_at_once() -> None:
    pairer = POSTGRES.make_pairer(joined=True)
    asked = write_all([m.Bind("", "x"), m.Execute(""), m.Sync()])
    pairer.receive_data(Sender.SERVER, b"rest of an answer", Mark(0))
    pairer.receive_data(Sender.CLIENT, asked, Mark(1))
    pairer.receive_gap(Sender.SERVER, 25, Mark(2))
    for time_ns in (3, 4):
        (found,) = pairer.receive_data(Sender.CLIENT, asked, Mark(time_ns))
        assert (found.request_start.time_ns, found.problem) == (time_ns, "bytes of it were lost")
    assert pairer.receive_gap(Sender.CLIENT, 10, Mark(5))[0].problem is not None
    (found,) = pairer.receive_data(Sender.CLIENT, b"rest of it", Mark(6))
    assert (found.request_start.time_ns, found.problem) == (6, "bytes of it were lost")


def test_refused_encryption_goes_on() -> None:
    pieces = [(Sender.CLIENT, write(m.SSLRequest()), 1), (Sender.SERVER, b"N", 2), *STARTUP]
    (start,) = pair(pieces)
    assert start.request["user"] == "u" and start.problem is None


def test_secrets_are_not_kept() -> None:
    pieces = [
        STARTUP[0],
        (Sender.SERVER, write(m.Authentication(3)), 2),
        (Sender.CLIENT, write(m.PasswordMessage(b"hunter2\0")), 3),
        (Sender.SERVER, write(m.Authentication(0)), 4),
        (Sender.SERVER, write(m.BackendKeyData(7, b"KEYS")) + READY, 5),
    ]
    (start,) = pair(pieces)
    assert start.response is not None and start.response["authentication"] == "password"
    assert "hunter2" not in repr(start) and "KEYS" not in repr(start)
    assert start.response["process_id"] == 7  # a cancel request says which connection it is for


def test_a_cancel_request_is_a_session_matter() -> None:
    (found,) = pair([(Sender.CLIENT, write(m.CancelRequest(42, b"SECR")), 1)])
    assert found.request == {"kind": "cancel", "process_id": 42}
    assert found.is_session and "SECR" not in repr(found)


def test_notices_and_notifications() -> None:
    notice = write(m.NoticeResponse({"S": "NOTICE", "C": "00000", "M": "hello"}))
    notify = write(m.NotificationResponse(1, "ch", "data"))
    answer = notice + complete("DO") + notify + READY
    notification, call = talk(("c", write(m.Query("do $$$$"))), ("s", answer))
    assert call.response is not None
    assert call.response["notices"][0]["message"] == "hello"
    assert notification.request == {"kind": "notification", "channel": "ch", "payload": "data"}
    assert notification.is_session and notification.calls == 0


def test_an_error_skips_to_sync() -> None:
    error = write(m.ErrorResponse({"S": "ERROR", "C": "22012", "M": "division by zero"}))
    group: list[Any] = [
        m.Parse("", "select 1/0"),
        m.Bind("", ""),
        m.Execute(""),
        m.Parse("", "select 2"),
    ]
    asked = write_all([*group, m.Bind("", ""), m.Execute(""), m.Sync()])
    answered = write_all([m.ParseComplete(), m.BindComplete()]) + error + READY
    (found,) = talk(("c", asked), ("s", answered))
    assert found.request["sql"] == "select 1/0" and found.calls == 0
    assert found.response is not None and found.response["error"]["code"] == "22012"


def test_an_error_of_parse_belongs_to_its_execute() -> None:
    error = write(m.ErrorResponse({"S": "ERROR", "C": "42601", "M": "syntax"}))
    group: list[Any] = [
        m.Parse("", "selekt $1"),
        m.Bind("", "", [], [b"5"]),
        m.Execute(""),
        m.Sync(),
    ]
    (found,) = talk(("c", write_all(group)), ("s", error + READY))
    assert (found.request["sql"], found.request["parameters"]) == ("selekt $1", ["5"])
    assert found.response is not None and found.response["error"]["code"] == "42601"


def test_pieces_of_a_portal() -> None:
    row = write(m.DataRow([b"1"]))
    opened = write_all([m.Parse("", "select g"), m.Bind("c", ""), m.Execute("c", 1), m.Sync()])
    first = write_all([m.ParseComplete(), m.BindComplete()]) + row + write(m.PortalSuspended())
    found = talk(
        ("c", opened),
        ("s", first + write(m.ReadyForQuery("T"))),
        ("c", write_all([m.Execute("c", 1), m.Sync()])),
        ("s", complete("SELECT 0") + write(m.ReadyForQuery("T"))),
    )
    assert [e.request.get("piece") for e in found] == [None, 1]
    assert [e.calls for e in found] == [1, 0]
    assert [e.transaction for e in found] == [1, 1]


def test_a_portals_columns_are_those_of_its_statement() -> None:
    """As pgjdbc does: it describes the first portal only, and then asks for binary rows."""
    parse = write(m.Parse("S_1", "select n"))
    described = write(m.RowDescription([m.Column("n", 0, 0, 23, 4, -1, 0)]))
    ended = complete("SELECT 1") + READY
    found = talk(
        ("c", parse + write_all([m.Bind("", "S_1"), m.Describe("P", ""), m.Execute(""), m.Sync()])),
        ("s", write_all([m.ParseComplete(), m.BindComplete()]) + described),
        ("s", write(m.DataRow([b"7"])) + ended),
        ("c", write_all([m.Bind("", "S_1", [], [], [1]), m.Execute(""), m.Sync()])),
        ("s", write_all([m.BindComplete(), m.DataRow([b"\0\0\0\x08"])]) + ended),
    )
    results = [e.response["results"][0] for e in found if e.response is not None]
    assert [result["rows"] for result in results] == [[["7"]], [["8"]]]
    columns = [result["columns"][0] for result in results]
    assert [(c["name"], c["type_oid"], c["format"]) for c in columns] == [
        ("n", 23, 0),
        ("n", 23, 1),
    ]


def test_a_gap_inside_a_row_keeps_the_connection() -> None:
    query, row = write(m.Query("select big")), write(m.DataRow([b"x" * 100]))
    pairer = POSTGRES.make_pairer()
    found: list[Exchange] = []
    for sender, data, time_ns in [*STARTUP, (Sender.CLIENT, query, 3)]:
        found += pairer.receive_data(sender, data, Mark(time_ns))
    found += pairer.receive_data(Sender.SERVER, row[:20], Mark(4))
    found += pairer.receive_gap(Sender.SERVER, len(row) - 20, Mark(5))
    found += pairer.receive_data(Sender.SERVER, complete("SELECT 1") + READY, Mark(6))
    found += pairer.receive_data(Sender.CLIENT, write(m.Query("select 2")), Mark(7))
    found += pairer.receive_data(Sender.SERVER, complete("SELECT 0") + READY, Mark(8))
    assert [e.problem for e in found[1:]] == ["bytes of it were lost", None]


def test_an_answer_seen_before_its_question_is_kept() -> None:
    found = talk(("s", complete("SELECT 0") + READY), ("c", write(m.Query("select 2"))))
    assert [(e.request["sql"], e.problem) for e in found] == [("select 2", None)]


def _answered_at_5_unasked() -> tuple[PostgresPairer, list[Exchange]]:
    """A connection of which a request was lost, and its answer came at 5 s."""
    pairer = PostgresPairer()
    for sender, data, time_ns in STARTUP:
        pairer.receive_data(sender, data, Mark(time_ns))
    early = write(m.BindComplete()) + complete("DELETE 1") + READY
    return pairer, pairer.receive_data(Sender.SERVER, early, Mark(5 * IDLE_NS, offset=9))


def test_a_lost_question_is_told_at_the_time_of_its_answer() -> None:
    pairer, found = _answered_at_5_unasked()
    found += pairer.receive_gap(Sender.CLIENT, 70, Mark(5 * IDLE_NS + 9))
    assert [(e.problem, e.request_start.time_ns) for e in found] == [
        ("bytes of it were lost", 5 * IDLE_NS)
    ]


def test_a_lost_question_is_told_before_the_next_one_comes() -> None:
    pairer, found = _answered_at_5_unasked()
    assert isinstance(pairer, HoldingPairer) and pairer.held_since == Mark(5 * IDLE_NS, offset=9)
    assert pairer.release_idle(Mark(6 * IDLE_NS - 1)) == []
    found += pairer.release_idle(Mark(6 * IDLE_NS))
    assert [(e.problem, e.request_start.time_ns) for e in found] == [
        ("bytes of it were lost", 5 * IDLE_NS)
    ]
    assert pairer.held_since is None
    pairer.receive_gap(Sender.CLIENT, 70, Mark(9 * IDLE_NS))
    for number in range(3):
        ask = write(m.Query(f"select {number}"))
        found += pairer.receive_data(Sender.CLIENT, ask, Mark(9 * IDLE_NS + 2 * number))
        reply = complete("SELECT 0") + READY
        found += pairer.receive_data(Sender.SERVER, reply, Mark(9 * IDLE_NS + 2 * number + 1))
    found += pairer.release_idle(Mark(20 * IDLE_NS))
    lost = [(e.problem, e.request_start.time_ns) for e in found if e.problem]
    assert lost[1:] == [("bytes of it were lost", 9 * IDLE_NS)]  # the one behind the gap
    assert [e.request["sql"] for e in found if not e.problem] == ["select 1", "select 2"]


def test_a_last_question_not_seen_is_told_at_the_end() -> None:
    pairer, found = _answered_at_5_unasked()
    found += pairer.finish(Mark(90 * IDLE_NS))
    assert [(e.problem, e.request_start.time_ns) for e in found] == [
        ("an answer came and the recording ended before its request was seen", 5 * IDLE_NS)
    ]


def test_what_waits_for_an_answer_is_bounded() -> None:
    pairer = POSTGRES.make_pairer()
    for sender, data, time_ns in STARTUP:
        pairer.receive_data(sender, data, Mark(time_ns))
    piece = write(m.CopyData(b"x" * 10_000_000))
    pairer.receive_data(Sender.CLIENT, write(m.Query("copy t from stdin")), Mark(3))
    found = [e for _ in range(14) for e in pairer.receive_data(Sender.CLIENT, piece, Mark(4))]
    assert [e.problem for e in found] != [None] and len(found) == 1


def test_a_monstrous_length_is_a_problem_not_an_allocation() -> None:
    monster = b"D\x7f\xff\xff\xff\0\1"
    found = talk(("c", write(m.Query("select 1"))), ("s", monster))
    assert found[0].problem is not None and "bytes long" in found[0].problem
