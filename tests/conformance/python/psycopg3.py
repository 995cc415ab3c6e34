"""psycopg 3, blocking: types, binary, cursors, COPY, pipeline, pool, notices, cancel.

Forms: ``warm`` prepares at once, ``cold`` never; ``binary`` asks for binary results; ``simple``
is the client-side cursor, whose values are in the SQL, for the statements without values;
``pooled`` takes each part's connection from a pool.
"""

import datetime as dt
import decimal
import ipaddress
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psycopg
from psycopg import sql
from psycopg.rows import dict_row, namedtuple_row
from psycopg.types.composite import CompositeInfo, register_composite
from psycopg.types.enum import EnumInfo, register_enum
from psycopg.types.json import Jsonb
from psycopg.types.multirange import Multirange
from psycopg.types.range import Range
from psycopg_pool import ConnectionPool
from seen import show, show_changed

Connection = psycopg.Connection

VALUES = [
    ("bool", True),
    ("int2", 7),
    ("int4", -70_000),
    ("int8", 2**62),
    ("float4", 0.5),
    ("float8", 1e-300),
    ("numeric", decimal.Decimal("-12345678901234567890.000123400")),
    ("numeric", decimal.Decimal("NaN")),
    ("text", "naïve ☃ 𝄞 'quoted' \\ \"double\""),
    ("text", ""),
    ("varchar", "line\nbreak\ttab"),
    ("bytea", bytes(range(256))),
    ("uuid", uuid.UUID("12345678-1234-5678-1234-567812345678")),
    ("date", dt.date(2024, 2, 29)),
    ("time", dt.time(23, 59, 59, 999_999)),
    ("timestamp", dt.datetime(1999, 12, 31, 1, 2, 3, 4)),
    ("timestamptz", dt.datetime(2024, 3, 31, 2, 30, tzinfo=dt.UTC)),
    ("interval", dt.timedelta(days=-3, seconds=5, microseconds=70)),
    ("inet", ipaddress.ip_address("2001:db8::1")),
    ("cidr", ipaddress.ip_network("10.1.0.0/16")),
    ("jsonb", Jsonb({"b": [1, 2.5, None, "ü"], "a": {}})),
    ("int4[]", [1, None, 3]),
    ("text[]", ["a,b", '"', "", None, "NULL"]),
    ("int4[]", [[1, 2], [3, 4]]),
    ("int4range", Range(1, 5)),
    ("tstzrange", Range(dt.datetime(2024, 1, 1, tzinfo=dt.UTC), None)),
    ("int4multirange", Multirange([Range(1, 3), Range(7, None)])),
    ("text", None),
]
LITERALS = [
    "1.50::numeric(6,2)",
    "'1 year 2 mons 3 days 04:05:06.7'::interval",
    "'happy'::mood",
    "(5, 'five')::pair",
    "'[1,2.0]'::json",
    "'infinity'::float8",
    "'{\"a\": 1}'::jsonb",
    "'epoch'::timestamptz",
    "'08:00:2b:01:02:03'::macaddr",
    "'a=>1'::text::bytea",
    "'(1,2)'::point",
    "B'101'",
    "'$12.50'::money",
    "'x'::\"char\"",
    "NULL::int",
    "ARRAY[1.5, NULL]::numeric[]",
]

AS_RECORDED = ("mood", "pair", "money")  # types that are only known in the form they came in


def run(form: str) -> None:
    """All parts, each on a connection of its own unless the form says otherwise."""
    parts = [
        types,
        literals,
        statements,
        errors,
        transactions,
        cursors,
        copies,
        pipelines,
        notices,
        notifications,
        large,
        adapters,
    ]
    with connecting(form) as connect:
        for part in parts:
            with connect() as connection:
                part(connection)
        several(connect)
    cancelled(form)
    if form == "changed":
        with connecting(form) as connect, connect() as connection:
            changed(connection)


@contextmanager
def connecting(form: str) -> Iterator[Callable[[], object]]:
    """How a part gets its connection."""
    if form != "pooled":
        yield lambda: open_one(form)
        return
    with ConnectionPool(min_size=2, max_size=4, configure=configure, open=True) as pool:
        pool.wait()
        yield pool.connection


def open_one(form: str) -> Connection:
    connection = psycopg.connect()
    if form == "binary":
        connection.cursor_factory = BinaryCursor
    if form in ("warm", "cold"):
        connection.prepare_threshold = 0 if form == "warm" else None
    return connection


def configure(connection: Connection) -> None:
    """Nothing to set: every part sets what it needs itself."""


class BinaryCursor(psycopg.Cursor):
    """Asks for binary results."""

    def execute(self, query, params=None, *, prepare=None, binary=None):
        return super().execute(query, params, prepare=prepare, binary=True)


def types(connection: Connection) -> None:
    """Values there and back."""
    for name, value in VALUES:
        cursor = connection.execute(f"SELECT %s::{name} AS value", [value])
        [row] = cursor.fetchall()
        column = cursor.description[0]
        show(name, *row, column=column.name, oid=column.type_code, size=column.internal_size)
        show(name, status=cursor.statusmessage, count=cursor.rowcount)


def literals(connection: Connection) -> None:
    for literal in LITERALS:
        if connection.cursor_factory is BinaryCursor and literal.endswith(AS_RECORDED):
            continue
        cursor = connection.execute(f"SELECT {literal} AS one, 2 AS two")
        show(literal, *cursor.fetchone(), columns=[tuple(one)[:1] for one in cursor.description])


def statements(connection: Connection) -> None:
    """DDL, DML with RETURNING, the same statement often enough to be prepared, empty ones."""
    info = connection.info
    names = ("server_version", "server_encoding", "client_encoding", "DateStyle", "TimeZone")
    names += ("integer_datetimes", "standard_conforming_strings", "is_superuser")
    show("parameters", **{name: info.parameter_status(name) for name in names})
    show("info", info.user, info.dbname == info.dsn and None, int(info.transaction_status))
    connection.execute(
        "CREATE TABLE notes (id int PRIMARY KEY, title text NOT NULL, at timestamptz DEFAULT now())"
    )
    for number in range(8):
        cursor = connection.execute(
            "INSERT INTO notes (id, title) VALUES (%s, %s) RETURNING id, at > '2020-01-01'",
            [number, f"note {number}"],
        )
        show("insert", cursor.fetchone(), status=cursor.statusmessage)
    with connection.cursor() as cursor:
        cursor.executemany(
            "UPDATE notes SET title = %s WHERE id = %s", [("a", 1), ("b", 2), ("c", 99)]
        )
        show("many", cursor.rowcount)
        cursor.executemany(
            "INSERT INTO notes VALUES (%s, %s) RETURNING id", [(50, "x"), (51, "y")], returning=True
        )
        while True:
            show("returning", cursor.fetchall())
            if not cursor.nextset():
                break
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute("SELECT id, title FROM notes WHERE id < %(most)s ORDER BY id", {"most": 4})
        show("dicts", cursor.fetchall())
    with connection.cursor(row_factory=namedtuple_row) as cursor:
        show(
            "named",
            [tuple(one) for one in cursor.execute("SELECT count(*) AS n, max(title) FROM notes")],
        )
    cursor = connection.execute("DELETE FROM notes WHERE id > %s", [4])
    show("delete", cursor.statusmessage, cursor.rowcount, cursor.description)
    for text in ("", ";", "-- nothing"):
        cursor = connection.execute(text)
        show("empty", cursor.statusmessage, cursor.description, cursor.rowcount)
    cursor = psycopg.ClientCursor(connection)  # several statements cannot be prepared
    cursor.execute("SELECT 1; SELECT 'two', 2; UPDATE notes SET title = 'z' WHERE false")
    while True:
        show("multi", cursor.statusmessage, cursor.fetchall() if cursor.description else None)
        if not cursor.nextset():
            break
    connection.commit()
    connection.execute("DROP TABLE notes")


def errors(connection: Connection) -> None:
    """Each ends its transaction, and the next statement works."""
    connection.autocommit = True
    connection.execute("CREATE TABLE once (id int PRIMARY KEY, n int CONSTRAINT few CHECK (n < 9))")
    connection.execute("INSERT INTO once VALUES (1, 1)")
    for query, values in [
        ("SELECT * FROM nowhere", None),
        ("SELEC 1", None),
        ("SELECT 1/%s", [0]),
        ("INSERT INTO once VALUES (%s, %s)", [1, 2]),
        ("INSERT INTO once VALUES (%s, %s)", [2, 20]),
        ("INSERT INTO once VALUES (%s, %s)", [None, 1]),
        ("SELECT %s::int", ["x"]),
        (
            "DO $$ BEGIN RAISE EXCEPTION 'own' USING ERRCODE = 'KB001', HINT = 'a hint', DETAIL = 'more'; END $$",
            None,
        ),
    ]:
        try:
            connection.execute(query, values)
        except psycopg.Error as error:
            about = error.diag
            show(
                "error",
                type(error).__name__,
                error.sqlstate,
                str(error),
                about.severity,
                about.message_primary,
                about.message_detail,
                about.message_hint,
                about.statement_position,
                about.constraint_name,
                about.table_name,
                about.column_name,
                about.context,
                about.source_function,
            )
        show("after", *connection.execute("SELECT 1").fetchone())
    connection.execute("DROP TABLE once")
    connection.autocommit = False


def transactions(connection: Connection) -> None:
    def status() -> str:
        return connection.info.transaction_status.name

    connection.execute("CREATE TABLE balance (id int, amount int)")
    connection.commit()
    show("idle", status())
    with connection.transaction():
        connection.execute("INSERT INTO balance VALUES (1, 10)")
        show("in", status())
        try:
            with connection.transaction():
                connection.execute("INSERT INTO balance VALUES (2, 20)")
                connection.execute("SELECT 1/0")
        except psycopg.errors.DivisionByZero as error:
            show("rolled back", error.sqlstate, status())
        with connection.transaction("named"):
            connection.execute("INSERT INTO balance VALUES (3, 30)")
        show("inside", connection.execute("SELECT id, amount FROM balance ORDER BY id").fetchall())
    show("done", status())
    try:
        connection.execute("SELECT nothing")
    except psycopg.Error as error:
        show("failed", type(error).__name__, status())
    try:
        connection.execute("SELECT 5")
    except psycopg.Error as error:
        show("refused", type(error).__name__, error.sqlstate, str(error))
    connection.rollback()
    connection.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
    connection.read_only = True
    show("level", connection.execute("SHOW transaction_isolation").fetchone(), status())
    try:
        connection.execute("DELETE FROM balance")
    except psycopg.Error as error:
        show("read only", type(error).__name__)
    connection.rollback()
    connection.isolation_level = connection.read_only = None
    connection.execute("SET LOCAL statement_timeout = '7s'")
    show("set local", connection.execute("SHOW statement_timeout").fetchone())
    connection.rollback()
    show("unset", connection.execute("SHOW statement_timeout").fetchone())
    connection.execute("DROP TABLE balance")
    connection.commit()


def cursors(connection: Connection) -> None:
    """Server-side cursors, with row limits, scrolling and holding."""
    with connection.cursor("walk") as cursor:
        cursor.itersize = 7
        cursor.execute("SELECT n, n * n FROM generate_series(1, %s) AS n", [20])
        show("fetch", cursor.fetchone(), cursor.fetchmany(3))
        show("rest", list(cursor))
    with connection.cursor("jump", scrollable=True, withhold=True) as cursor:
        cursor.execute("SELECT n FROM generate_series(1, 10) AS n")
        cursor.scroll(5)
        show("at", cursor.fetchone())
        cursor.scroll(-2)
        show("back", cursor.fetchone())
        connection.commit()
        show("held", cursor.fetchmany(2))
    connection.commit()
    with connection.cursor() as cursor:
        rows = cursor.stream("SELECT n, repeat('x', n) FROM generate_series(1, 5) AS n")
        show("stream", list(rows))


def copies(connection: Connection) -> None:
    """Both ways, as text, CSV, binary and in rows."""
    connection.execute("CREATE TABLE copied (id int, label text, data bytea)")
    with connection.cursor() as cursor:
        with cursor.copy("COPY copied FROM STDIN") as copy:
            for number in range(50):
                copy.write_row(
                    (number, f"label\t{number}" if number % 7 else None, bytes([number]))
                )
        show("in", cursor.rowcount, cursor.statusmessage)
        with cursor.copy("COPY copied (id, label) FROM STDIN (FORMAT csv)") as copy:
            copy.write('100,"a, b"\n101,\n')
            copy.write(b"102,c\n")
        show("csv", cursor.rowcount)
        with cursor.copy("COPY copied FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["int4", "text", "bytea"])
            copy.write_row((200, "binary", b"\0\1"))
        show("binary", cursor.rowcount)
        with cursor.copy("COPY (SELECT * FROM copied ORDER BY id) TO STDOUT") as copy:
            show("out", b"".join(bytes(block) for block in copy))
        with cursor.copy(
            "COPY (SELECT id, label FROM copied WHERE id > 90 ORDER BY id) TO STDOUT"
        ) as copy:
            copy.set_types(["int4", "text"])
            show("rows", list(copy.rows()))
        with cursor.copy("COPY copied TO STDOUT (FORMAT binary)") as copy:
            copy.set_types(["int4", "text", "bytea"])
            show("binary rows", len(list(copy.rows())))
        try:
            with cursor.copy("COPY copied FROM STDIN") as copy:
                copy.write("1\tbroken\n")
        except psycopg.Error as error:
            show("broken", type(error).__name__, error.sqlstate, error.diag.context)
        connection.rollback()
        connection.execute("CREATE TABLE copied (id int)")
        try:
            with cursor.copy("COPY copied FROM STDIN") as copy:
                copy.write("1\n")
                raise KeyError("the client's own")
        except KeyError:
            show("given up", connection.info.transaction_status.name)
    connection.rollback()


def pipelines(connection: Connection) -> None:
    """Pipelined, with an error in the middle."""
    connection.autocommit = True
    with connection.pipeline() as pipeline:
        several = [connection.execute("SELECT %s::int * 2", [number]) for number in range(10)]
        pipeline.sync()
        show("pipelined", [cursor.fetchone() for cursor in several])
        try:  # whether the error comes up here or in `sync` depends on how soon it is there
            cursors = [connection.execute(f"SELECT {text}") for text in ("'a'", "1/0", "'c'")]
            pipeline.sync()
            for cursor in cursors:
                show("piped", cursor.fetchone())
        except psycopg.Error as error:
            show("error", type(error).__name__, error.sqlstate)
            with suppress(psycopg.errors.PipelineAborted):
                pipeline.sync()
    show("after", connection.execute("SELECT 'after'").fetchone())
    connection.autocommit = False


def notices(connection: Connection) -> None:
    seen = []
    connection.add_notice_handler(
        lambda one: seen.append((one.severity, one.sqlstate, one.message_primary, one.message_hint))
    )
    connection.execute(
        "DO $$ BEGIN RAISE NOTICE 'one %', 1; RAISE WARNING 'two' USING HINT = 'h'; END $$"
    )
    connection.execute("DROP TABLE IF EXISTS not_there")
    connection.commit()
    connection.execute("COMMIT")
    for one in seen:
        show("notice", *one)


def notifications(connection: Connection) -> None:
    connection.autocommit = True
    connection.execute("LISTEN news")
    connection.execute("NOTIFY news, 'first'")
    connection.execute("SELECT pg_notify('news', %s)", ["second ☃"])
    for note in connection.notifies(stop_after=2, timeout=10):
        show("told", note.channel, note.payload, note.pid == connection.info.backend_pid)
    connection.execute("UNLISTEN *")
    connection.autocommit = False


def large(connection: Connection) -> None:
    text = "0123456789abcdef" * 80_000
    show("text", *connection.execute("SELECT %s::text, length(%s::text)", [text, text]).fetchone())
    data = bytes(range(256)) * 6_000
    show("bytea", *connection.execute("SELECT %s::bytea", [data]).fetchone())
    rows = connection.execute(
        "SELECT n, md5(n::text) FROM generate_series(1, 20000) AS n"
    ).fetchall()
    show("rows", len(rows), rows[-1])


def adapters(connection: Connection) -> None:
    """Types that the library looks up in the catalogue, as text."""
    connection.cursor_factory = psycopg.Cursor
    pair = CompositeInfo.fetch(connection, "pair")
    register_composite(pair, connection)
    mood = EnumInfo.fetch(connection, "mood")
    register_enum(mood, connection)
    show("pair", [tuple(one) for one in connection.execute("SELECT (5, 'five')::pair").fetchall()])
    show(
        "mood", [one.name for [one] in connection.execute("SELECT unnest(enum_range(NULL::mood))")]
    )
    query = sql.SQL("SELECT {} FROM (VALUES (1), (2)) AS t({})").format(
        sql.Identifier("odd name"), sql.Identifier("odd name")
    )
    show("composed", connection.execute(query).fetchall())


def several(connect: Callable[[], object]) -> None:
    """Connections at the same time."""
    with connect() as first, connect() as second:
        for connection in (first, second, first, second):
            show("one of two", *connection.execute("SELECT 'of two'").fetchone())
        first.execute("BEGIN") if first.autocommit else None
        show("states", first.info.transaction_status.name, second.info.transaction_status.name)


def cancelled(form: str) -> None:
    """A query that is cancelled, and one that takes too long."""
    with psycopg.connect(autocommit=True) as connection:
        timer = threading.Timer(0.1, connection.cancel_safe)
        timer.start()
        try:
            connection.execute("SELECT pg_sleep(20)")
        except psycopg.errors.QueryCanceled as error:
            show("cancelled", error.sqlstate, str(error))
        timer.join()
        connection.execute("SET statement_timeout = '50ms'")
        try:
            connection.execute("SELECT pg_sleep(21)")
        except psycopg.errors.QueryCanceled as error:
            show("timeout", error.sqlstate, str(error))


def changed(connection: Connection) -> None:
    """A value that was not recorded."""
    try:
        connection.execute("SELECT %s::int4 AS value", [-70_001])
    except psycopg.Error as error:
        connection.rollback()
        usable = connection.execute("SELECT 1").fetchone() == (1,)
        show_changed(error, usable, error.sqlstate)
