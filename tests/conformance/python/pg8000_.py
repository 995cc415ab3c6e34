"""pg8000, the native and the DB-API interface: types, statements, COPY, errors, notices.

Forms: ``dbapi`` reads the values through the other interface; ``several`` takes three connections
in turn.
"""

import datetime as dt
import decimal
import io
import os
import uuid

import pg8000
import pg8000.native
from seen import show, show_changed

VALUES = [
    ("bool", False),
    ("int4", 12),
    ("int8", 2**61),
    ("float8", 2.5),
    ("numeric", decimal.Decimal("1.000")),
    ("text", "ünï ☃"),
    ("bytea", bytes(range(256))),
    ("uuid", uuid.UUID(int=3)),
    ("date", dt.date(2024, 2, 29)),
    ("timestamp", dt.datetime(2024, 2, 29, 1, 2, 3, 4)),
    ("timestamptz", dt.datetime(2024, 3, 31, 2, 30, tzinfo=dt.UTC)),
    ("interval", dt.timedelta(days=4, seconds=5)),
    ("jsonb", {"a": [1, None]}),
    ("int4[]", [1, None, 2]),
    ("text[]", ["a,b", "c"]),
    ("text", None),
]


def place() -> dict[str, object]:
    return {
        "user": os.environ["PGUSER"],
        "host": os.environ["PGHOST"],
        "port": int(os.environ["PGPORT"]),
        "database": os.environ["PGDATABASE"],
    }


def run(form: str) -> None:
    count = 3 if form == "several" else 1
    connections = [pg8000.native.Connection(**place()) for _ in range(count)]
    for number, part in enumerate((types, statements, transactions, copies, errors, others)):
        part(connections[number % count], form)
    for connection in connections[1:]:
        connection.close()
    if form == "changed":
        changed(connections[0])
    connections[0].close()


def types(connection, form: str) -> None:
    if form == "dbapi":
        dbapi = pg8000.connect(**place())
        cursor = dbapi.cursor()
        for name, value in VALUES:
            cursor.execute(f"SELECT cast(%s as {name})", (value,))
            show(name, cursor.fetchone(), cursor.description[0][:2])
        dbapi.close()
        return
    for name, value in VALUES:
        row = connection.run(f"SELECT cast(:v as {name})", v=value)[0]
        show(name, row, (connection.columns[0]["name"], connection.columns[0]["type_oid"]))


def statements(connection, form: str) -> None:
    connection.run("CREATE TABLE pg8 (id serial PRIMARY KEY, name text)")
    statement = connection.prepare("INSERT INTO pg8 (name) VALUES (:name) RETURNING id")
    for number in range(5):
        show("prepared", statement.run(name=f"n{number}"), connection.row_count)
    statement.close()
    show(
        "select",
        connection.run("SELECT * FROM pg8 WHERE id > :least ORDER BY id", least=2),
        [one["name"] for one in connection.columns],
    )
    show("update", connection.run("UPDATE pg8 SET name = 'x' WHERE id < 3"), connection.row_count)
    show("multi", connection.run("SELECT 1; SELECT 2"))
    show("empty", connection.run(""))
    show(
        "literals",
        connection.run(
            "SELECT 'happy'::mood, (1, 'x')::pair, '[1,5)'::int4range, '1 mon'::interval, '(1,2)'::point"
        )[0],
    )
    show("large", connection.run("SELECT cast(:t as text)", t="y" * 1_100_000)[0])


def transactions(connection, form: str) -> None:
    connection.run("START TRANSACTION")
    connection.run("INSERT INTO pg8 (name) VALUES ('t')")
    connection.run("SAVEPOINT s")
    try:
        connection.run("INSERT INTO pg8 (id, name) VALUES (1, 'dup')")
    except pg8000.native.DatabaseError as error:
        show("dup", {name: error.args[0][name] for name in "SCMDstn"})
    connection.run("ROLLBACK TO SAVEPOINT s")
    connection.run("COMMIT")
    show("count", connection.run("SELECT count(*) FROM pg8"))


def copies(connection, form: str) -> None:
    connection.run("COPY pg8 (id, name) FROM STDIN", stream=io.StringIO("100\ta\n101\t\\N\n"))
    show("in", connection.row_count)
    out = io.BytesIO()
    connection.run("COPY (SELECT * FROM pg8 ORDER BY id) TO STDOUT WITH (FORMAT csv)", stream=out)
    show("out", out.getvalue(), connection.row_count)


def errors(connection, form: str) -> None:
    for query in ("SELEC", "SELECT * FROM nowhere", "SELECT 1/0", "SELECT cast(:v as int)"):
        try:
            connection.run(query, **({"v": "x"} if ":v" in query else {}))
        except pg8000.native.DatabaseError as error:
            show("error", type(error).__name__, error.args[0])
        show("after", connection.run("SELECT 1"))


def others(connection, form: str) -> None:
    connection.run("DO $$ BEGIN RAISE NOTICE 'noted'; END $$")
    show("notices", [dict(one) for one in connection.notices])
    connection.run("LISTEN chan")
    connection.run("NOTIFY chan, 'hello'")
    connection.run("SELECT 1")
    show("told", [one[1:] for one in connection.notifications])
    show(
        "status",
        sorted(
            (k, v)
            for k, v in connection.parameter_statuses.items()
            if k in ("TimeZone", "server_encoding")
        ),
    )


def changed(connection) -> None:
    try:
        connection.run("SELECT cast(:v as int4)", v=13)
    except pg8000.native.DatabaseError as error:
        show_changed(error, connection.run("SELECT 1") == [[1]], error.args[0].get("C"))
