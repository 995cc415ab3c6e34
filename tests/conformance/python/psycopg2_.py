"""psycopg2: values in the SQL, named cursors, COPY, savepoints, notices, LISTEN, pools.

Forms: ``pooled`` takes connections from a pool; ``autocommit`` has no transactions around the
reads.
"""

import datetime as dt
import decimal
import io
import select
import uuid

import psycopg2
import psycopg2.extras
import psycopg2.pool
from psycopg2.extensions import TransactionRollbackError  # noqa: F401 - that it is there
from seen import show, show_changed

VALUES = [
    ("bool", True),
    ("int4", -5),
    ("int8", 2**61),
    ("float8", 0.1),
    ("numeric", decimal.Decimal("12345678901234567890.12")),
    ("text", "naïve ☃ 'q' \\ %"),
    ("bytea", bytes(range(256))),
    ("uuid", uuid.UUID(int=99)),
    ("date", dt.date(2024, 2, 29)),
    ("timestamptz", dt.datetime(2024, 5, 6, 7, 8, 9, 10, tzinfo=dt.UTC)),
    ("interval", dt.timedelta(days=2, seconds=3)),
    ("jsonb", psycopg2.extras.Json({"a": [1, None, "ü"]})),
    ("int4[]", [1, 2, None]),
    ("text[]", ["a,b", None, '"']),
    ("int4range", psycopg2.extras.NumericRange(1, 9)),
    ("inet", psycopg2.extras.Inet("10.0.0.1/8")),
    ("text", None),
]


def run(form: str) -> None:
    psycopg2.extras.register_uuid()
    pool = psycopg2.pool.SimpleConnectionPool(1, 3, "") if form == "pooled" else None
    for part in (types, statements, transactions, cursors, copies, errors, others, changed):
        if part is changed and form != "changed":
            continue
        connection = pool.getconn() if pool else psycopg2.connect("")
        connection.autocommit = form == "autocommit" and part is types
        part(connection)
        connection.commit()
        connection.autocommit = False
        pool.putconn(connection) if pool else connection.close()
    if pool:
        pool.closeall()


def types(connection) -> None:
    with connection.cursor() as cursor:
        for name, value in VALUES:
            cursor.execute(f"SELECT %s::{name} AS value", [value])
            [row] = cursor.fetchall()
            column = cursor.description[0]
            show(name, *row, column=column.name, oid=column.type_code, size=column.internal_size)
            show(name, cursor.statusmessage, cursor.rowcount)
        cursor.execute("SELECT 'happy'::mood, (1, 'x')::pair, '1 mon'::interval, '{}'::json")
        show("literals", cursor.fetchone(), cursor.query)
    show(
        "server",
        connection.server_version,
        connection.encoding,
        connection.get_parameter_status("TimeZone"),
    )


def statements(connection) -> None:
    with connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
        cursor.execute("CREATE TABLE two (id serial PRIMARY KEY, name text UNIQUE)")
        psycopg2.extras.execute_values(
            cursor, "INSERT INTO two (name) VALUES %s", [(f"n{n}",) for n in range(30)]
        )
        cursor.execute(
            "INSERT INTO two (name) VALUES (%(name)s) RETURNING id, name", {"name": "ret"}
        )
        show("returning", [dict(one) for one in cursor.fetchall()])
        psycopg2.extras.execute_batch(
            cursor, "UPDATE two SET name = %s WHERE id = %s", [("x1", 1), ("x2", 2)]
        )
        cursor.execute("SELECT * FROM two ORDER BY id LIMIT 3")
        show("dicts", [dict(one) for one in cursor])
        cursor.execute("SELECT 1 AS one; SELECT 2 AS two")
        show("last of two", dict(cursor.fetchone()))
        cursor.callproc("int4pl", [1, 2])
        show("callproc", dict(cursor.fetchone()))
        try:
            cursor.execute("")
        except psycopg2.ProgrammingError as error:
            show("empty", str(error))


def transactions(connection) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        show("status", connection.status, connection.get_transaction_status())
        cursor.execute("SAVEPOINT here")
        try:
            cursor.execute("INSERT INTO two (name) VALUES ('x1')")
        except psycopg2.errors.UniqueViolation as error:
            show(
                "unique",
                error.pgcode,
                error.pgerror,
                error.diag.constraint_name,
                connection.get_transaction_status(),
            )
        cursor.execute("ROLLBACK TO SAVEPOINT here")
        cursor.execute("SELECT count(*) FROM two")
        show("count", cursor.fetchone())
    connection.rollback()
    connection.set_session(isolation_level="SERIALIZABLE", readonly=True)
    with connection.cursor() as cursor:
        try:
            cursor.execute("DELETE FROM two")
        except psycopg2.Error as error:
            show("read only", type(error).__name__, error.pgcode)
    connection.rollback()
    connection.set_session(isolation_level="DEFAULT", readonly=False)


def cursors(connection) -> None:
    with connection.cursor("named", scrollable=True) as cursor:
        cursor.itersize = 4
        cursor.execute("SELECT id, name FROM two WHERE id > %s ORDER BY id", [3])
        show("one", cursor.fetchone(), cursor.description and cursor.description[0].name)
        cursor.scroll(3)
        show("scrolled", cursor.fetchmany(2))
        show("rest", list(cursor))
    connection.commit()


def copies(connection) -> None:
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE copied2 (id int, label text)")
        cursor.copy_from(io.StringIO("".join(f"{n}\tlabel {n}\n" for n in range(500))), "copied2")
        show("in", cursor.rowcount)
        cursor.copy_expert(
            "COPY copied2 FROM STDIN (FORMAT csv, HEADER)", io.StringIO('id,label\n900,"a ""b"""\n')
        )
        out = io.StringIO()
        cursor.copy_to(out, "copied2", columns=("id", "label"))
        show("out", out.getvalue())
        out = io.BytesIO()
        cursor.copy_expert("COPY (SELECT 1, 'two') TO STDOUT (FORMAT binary)", out)
        show("binary", out.getvalue())
        big = "x" * 1_200_000
        cursor.execute("SELECT %s::text", [big])
        show("big", *cursor.fetchone())


def errors(connection) -> None:
    with connection.cursor() as cursor:
        for query in (
            "SELEC",
            "SELECT * FROM nowhere",
            "SELECT 1/0",
            "SELECT 'x'::int",
            "INSERT INTO two VALUES (1, 'x')",
        ):
            try:
                cursor.execute(query)
            except psycopg2.Error as error:
                diag = error.diag
                show(
                    "error",
                    type(error).__name__,
                    error.pgcode,
                    str(error),
                    diag.statement_position,
                    diag.message_detail,
                    diag.severity,
                )
            try:
                cursor.execute("SELECT 3")
            except psycopg2.Error as error:
                show("refused", type(error).__name__, error.pgcode)
            connection.rollback()
            cursor.execute("SELECT 3")
            show("after", cursor.fetchone())


def others(connection) -> None:
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("DO $$ BEGIN RAISE NOTICE 'hello %', 1; END $$")
        cursor.execute("DROP TABLE IF EXISTS not_there")
        show("notices", connection.notices)
        cursor.execute("LISTEN two")
        cursor.execute("NOTIFY two, 'payload'")
        connection.poll()
        while not connection.notifies:
            select.select([connection], [], [], 10)
            connection.poll()
        show(
            "notifies",
            [
                (one.channel, one.payload, one.pid == connection.get_backend_pid())
                for one in connection.notifies
            ],
        )
        cursor.execute("PREPARE plan (int) AS SELECT $1 + 1")
        cursor.execute("EXECUTE plan (5)")
        show("execute", cursor.fetchone())
        cursor.execute("DEALLOCATE plan")
        cursor.execute("UNLISTEN *")
    connection.autocommit = False


def changed(connection) -> None:
    with connection.cursor() as cursor:
        try:
            cursor.execute("SELECT -6::int4 AS value")
        except psycopg2.Error as error:
            connection.rollback()
            cursor.execute("SELECT 1")
            show_changed(error, cursor.fetchone() == (1,), error.pgcode)
