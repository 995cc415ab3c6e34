"""asyncpg, which speaks binary only: types and introspection, statements, cursors, COPY, pools.

Forms: ``uncached`` prepares without a name each time; ``pooled`` takes connections from a pool;
``serial`` makes one after the other the calls that ``plain`` makes concurrently.
"""

import asyncio
import datetime as dt
import decimal
import io
import ipaddress
import json
import uuid
from contextlib import asynccontextmanager

import asyncpg
from seen import show, show_changed

VALUES = [
    ("bool", True),
    ("int2", 3),
    ("int4", -70_000),
    ("int8", 2**62),
    ("float4", 0.5),
    ("float8", 1e-300),
    ("numeric", decimal.Decimal("-1234567890.000120")),
    ("text", "naïve ☃ 𝄞"),
    ("varchar", ""),
    ("bytea", bytes(range(256))),
    ("uuid", uuid.UUID(int=5)),
    ("date", dt.date(2024, 2, 29)),
    ("time", dt.time(1, 2, 3, 4)),
    ("timestamp", dt.datetime(1999, 12, 31, 1, 2, 3, 4)),
    ("timestamptz", dt.datetime(2024, 3, 31, 2, 30, tzinfo=dt.UTC)),
    ("interval", dt.timedelta(days=-3, seconds=5)),
    ("inet", ipaddress.ip_address("2001:db8::1")),
    ("json", '{"a": 1}'),
    ("jsonb", '{"a": [1, "ü"]}'),
    ("int4[]", [1, None, 3]),
    ("text[]", ["a,b", None]),
    ("int4range", asyncpg.Range(1, 5)),
    ("tstzrange", asyncpg.Range(dt.datetime(2024, 1, 1, tzinfo=dt.UTC), None)),
    ("int4multirange", [asyncpg.Range(1, 3), asyncpg.Range(8, 9)]),
    ("mood", "happy"),
    ("mood[]", ["sad", "ok"]),
    ("pair", (5, "five")),
    ("pair[]", [(1, None), (2, "b")]),
    ("point", asyncpg.Point(1.5, -2)),
    ("box", asyncpg.Box((3, 4), (1, 2))),
    ("circle", asyncpg.Circle((0, 1), 2)),
    ("path", asyncpg.Path((0, 0), (1, 1), is_closed=True)),
    ("bit(3)", asyncpg.BitString("101")),
    ("varbit", asyncpg.BitString("1011")),
    ("macaddr", "08:00:2b:01:02:03"),
    ("money", "$12.50"),
    ("tsvector", "'a':1 'b':2"),
    ("pg_lsn", "16/B374D848"),
    ("xid", 7),
    ("oid", 26),
    ("regclass", "pg_class"),
    ("jsonpath", '$."a"'),
    ("text", None),
]


def run(form: str) -> None:
    asyncio.run(run_all(form))


async def run_all(form: str) -> None:
    async with connecting(form) as connect:
        for part in (types, statements, transactions, cursors, copies, errors, others):
            async with connect() as connection:
                await part(connection)
        await concurrent(connect, form)
        if form == "changed":
            async with connect() as connection:
                await changed(connection)


@asynccontextmanager
async def connecting(form: str):
    options = {"statement_cache_size": 0} if form == "uncached" else {}
    if form == "pooled":
        async with asyncpg.create_pool(min_size=2, max_size=4) as pool:
            yield pool.acquire
        return

    @asynccontextmanager
    async def connect():
        connection = await asyncpg.connect(**options)
        try:
            yield connection
        finally:
            await connection.close()

    yield connect


async def types(connection) -> None:
    show("server", tuple(connection.get_server_version())[:2], connection.get_settings().TimeZone)
    for name, value in VALUES:
        try:
            given = await connection.fetchval(f"SELECT $1::{name}", value)
            show(name, [tuple(point) for point in given] if name == "path" else given)
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            show(name, type(error).__name__, str(error))
    statement = await connection.prepare("SELECT $1::int AS n, $2::text AS t, $3::mood AS m")
    show(
        "prepared",
        [one.name for one in statement.get_parameters()],
        [(one.name, one.type.name) for one in statement.get_attributes()],
    )
    for number in (1, 2):
        show(
            "fetched", tuple(await statement.fetchrow(number, "x", "ok")), statement.get_statusmsg()
        )


async def statements(connection) -> None:
    show(
        "execute",
        await connection.execute("CREATE TABLE ap (id serial PRIMARY KEY, name text, data jsonb)"),
    )
    await connection.set_type_codec(
        "jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog"
    )
    for number in range(6):
        row = await connection.fetchrow(
            "INSERT INTO ap (name, data) VALUES ($1, $2) RETURNING *", f"n{number}", {"n": number}
        )
        show("row", dict(row), list(row.keys()))
    await connection.executemany(
        "INSERT INTO ap (name) VALUES ($1)", [(f"m{n}",) for n in range(40)]
    )
    show("update", await connection.execute("UPDATE ap SET name = $1 WHERE id < $2", "u", 3))
    show(
        "script",
        await connection.execute(
            "SELECT 1; UPDATE ap SET name = 'v' WHERE id = 1; DELETE FROM ap WHERE id = 99"
        ),
    )
    show("empty", await connection.fetch(""), await connection.fetch("SELECT 1 WHERE false"))
    show(
        "column", await connection.fetchval("SELECT id, name FROM ap ORDER BY id LIMIT 1", column=1)
    )
    await connection.reset_type_codec("jsonb", schema="pg_catalog")


async def transactions(connection) -> None:
    async with connection.transaction(isolation="repeatable_read"):
        await connection.execute("INSERT INTO ap (name) VALUES ('in')")
        try:
            async with connection.transaction():
                await connection.execute("INSERT INTO ap (id, name) VALUES (1, 'again')")
        except asyncpg.UniqueViolationError as error:
            show(
                "unique",
                error.sqlstate,
                str(error),
                error.detail,
                error.constraint_name,
                error.table_name,
            )
        show(
            "in",
            connection.is_in_transaction(),
            await connection.fetchval("SELECT count(*) FROM ap"),
        )
    show("out", connection.is_in_transaction())


async def cursors(connection) -> None:
    async with connection.transaction():
        show(
            "iterated",
            [
                one["id"]
                async for one in connection.cursor(
                    "SELECT id FROM ap WHERE id > $1 ORDER BY id", 3, prefetch=5
                )
            ],
        )
        cursor = await connection.cursor("SELECT id FROM ap ORDER BY id")
        show("fetch", await cursor.fetch(2), await cursor.forward(3), await cursor.fetchrow())


async def copies(connection) -> None:
    show(
        "in",
        await connection.copy_records_to_table(
            "ap", records=[(1000 + n, f"c{n}") for n in range(100)], columns=["id", "name"]
        ),
    )
    show(
        "csv",
        await connection.copy_to_table(
            "ap", source=io.BytesIO(b'2000,"a, b"\n'), columns=["id", "name"], format="csv"
        ),
    )
    out = io.BytesIO()
    show(
        "out",
        await connection.copy_from_query(
            "SELECT id, name FROM ap WHERE id > $1 ORDER BY id", 990, output=out
        ),
        out.getvalue(),
    )
    out = io.BytesIO()
    show(
        "binary",
        await connection.copy_from_table("ap", output=out, columns=["id"], format="binary"),
        out.getvalue(),
    )
    show("large", await connection.fetchval("SELECT $1::bytea", bytes(range(256)) * 5_000))
    rows = await connection.fetch("SELECT n, md5(n::text) FROM generate_series(1, 20000) AS n")
    show("rows", len(rows), tuple(rows[-1]))


async def errors(connection) -> None:
    for query, *values in (
        ("SELEC",),
        ("SELECT * FROM nowhere",),
        ("SELECT 1/$1::int", 0),
        ("INSERT INTO ap (id) VALUES ($1)", 1),
        ("SELECT pg_catalog.nothing($1)", 1),
        ("DO $$ BEGIN RAISE EXCEPTION 'own' USING ERRCODE = 'KB002'; END $$",),
    ):
        try:
            await connection.fetch(query, *values)
        except asyncpg.PostgresError as error:
            show(
                "error",
                type(error).__name__,
                error.sqlstate,
                str(error),
                error.position,
                error.severity,
                error.schema_name,
            )
        show("after", await connection.fetchval("SELECT 1"))
    try:
        await connection.fetch("SELECT $1::int", "not a number")
    except asyncpg.DataError as error:
        show("client's", type(error).__name__)
    try:
        await connection.execute("SELECT pg_sleep(20)", timeout=0.2)
    except TimeoutError as error:
        show("timeout", type(error).__name__)
    show("after", await connection.fetchval("SELECT 1"))


async def others(connection) -> None:
    told, logged = asyncio.Queue(), []
    connection.add_log_listener(
        lambda _, message: logged.append((message.severity, message.message, message.sqlstate))
    )
    await connection.execute("DO $$ BEGIN RAISE NOTICE 'noted'; END $$")
    await connection.add_listener(
        "chan", lambda c, pid, channel, payload: told.put_nowait((channel, payload))
    )
    await connection.execute("SELECT pg_notify('chan', 'hé')")
    show("told", await asyncio.wait_for(told.get(), 10))
    await asyncio.sleep(0)
    show("logged", logged)
    await connection.reset()


async def concurrent(connect, form: str) -> None:
    async def ask(number: int):
        async with connect() as connection:
            return await connection.fetchval("SELECT $1::int * 10", number)

    if form == "serial":
        show("asked", [await ask(number) for number in range(6)])
    else:
        show("asked", await asyncio.gather(*map(ask, range(6))))


async def changed(connection) -> None:
    try:
        await connection.fetchval("SELECT $1::int4", -70_001)
    except asyncpg.PostgresError as error:
        show_changed(error, await connection.fetchval("SELECT 1") == 1, error.sqlstate)
