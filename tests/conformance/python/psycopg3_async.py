"""psycopg 3, asynchronous: types, pools, pipelines, COPY, server-side cursors, notifications.

Forms: ``warm`` prepares at once; ``pooled`` has one pool of three connections for all parts;
``serial`` makes one after the other the calls that ``plain`` makes concurrently.
"""

import asyncio
import datetime as dt
import decimal
import uuid
from contextlib import asynccontextmanager

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool
from seen import show, show_changed

VALUES = [
    ("int4", 1),
    ("numeric", decimal.Decimal("1.10")),
    ("text", "ünï ☃"),
    ("bytea", b"\0\1\xff"),
    ("uuid", uuid.UUID(int=7)),
    ("timestamptz", dt.datetime(2024, 1, 2, 3, 4, 5, 6, tzinfo=dt.UTC)),
    ("interval", dt.timedelta(hours=30)),
    ("jsonb", Jsonb([1, {"a": None}])),
    ("int8[]", [2**40, None]),
    ("text", None),
]


def run(form: str) -> None:
    asyncio.run(run_all(form))


async def run_all(form: str) -> None:
    async with connecting(form) as connect:
        for part in (types, transactions, cursors, copies, pipelines, notifications, errors):
            async with connect() as connection:
                await part(connection)
        await concurrent(connect, form)
        if form == "changed":
            async with connect() as connection:
                await changed(connection)


@asynccontextmanager
async def connecting(form: str):
    if form != "pooled":

        @asynccontextmanager
        async def connect():
            async with await psycopg.AsyncConnection.connect() as connection:
                if form == "warm":
                    connection.prepare_threshold = 0
                yield connection

        yield connect
        return
    async with AsyncConnectionPool(min_size=3, max_size=3, open=False) as pool:
        await pool.wait()
        yield pool.connection


async def types(connection) -> None:
    for name, value in VALUES:
        for binary in (False, True):
            cursor = await connection.execute(f"SELECT %s::{name}", [value], binary=binary)
            show(name, *await cursor.fetchone(), oid=cursor.description[0].type_code)


async def transactions(connection) -> None:
    await connection.execute("CREATE TABLE IF NOT EXISTS async_notes (id int, note text)")
    async with connection.transaction():
        async with connection.cursor(row_factory=dict_row) as cursor:
            for number in range(7):
                await cursor.execute(
                    "INSERT INTO async_notes VALUES (%s, %s) RETURNING *", [number, "n"]
                )
                show("row", await cursor.fetchone(), cursor.statusmessage)
        try:
            async with connection.transaction():
                await connection.execute("INSERT INTO async_notes VALUES (100, 'lost')")
                raise psycopg.Rollback
        except psycopg.Rollback:
            pass
        cursor = await connection.execute("SELECT count(*) FROM async_notes")
        show("count", await cursor.fetchone(), connection.info.transaction_status.name)
    show("after", connection.info.transaction_status.name)


async def cursors(connection) -> None:
    async with connection.cursor("ahead") as cursor:
        cursor.itersize = 2
        await cursor.execute("SELECT id FROM async_notes ORDER BY id")
        show("ahead", [row async for row in cursor])
    async with connection.cursor() as cursor:
        show("stream", [row async for row in cursor.stream("SELECT generate_series(1, 3)")])


async def copies(connection) -> None:
    async with connection.cursor() as cursor:
        async with cursor.copy("COPY async_notes FROM STDIN") as copy:
            for number in range(200, 260):
                await copy.write_row((number, "copied"))
        show("in", cursor.rowcount)
        blocks = []
        async with cursor.copy("COPY async_notes TO STDOUT") as copy:
            async for block in copy:
                blocks.append(bytes(block))
        show("out", b"".join(blocks), cursor.rowcount)


async def pipelines(connection) -> None:
    async with connection.pipeline():
        cursors = [await connection.execute("SELECT %s::int + 1", [number]) for number in range(12)]
        show("pipeline", [await cursor.fetchone() for cursor in cursors])
    await connection.rollback()


async def notifications(connection) -> None:
    await connection.set_autocommit(True)
    await connection.execute("LISTEN tick")
    await connection.execute("SELECT pg_notify('tick', 'tock')")
    async for note in connection.notifies(timeout=10, stop_after=1):
        show("note", note.channel, note.payload)
    await connection.execute("UNLISTEN tick")
    await connection.set_autocommit(False)


async def errors(connection) -> None:
    for query in ("SELECT nowhere", "SELECT 1/0", "INSERT INTO async_notes VALUES ('x')"):
        try:
            await connection.execute(query)
        except psycopg.Error as error:
            show("error", type(error).__name__, error.sqlstate, error.diag.message_primary)
        await connection.rollback()


async def concurrent(connect, form: str) -> None:
    async def ask(number: int):
        async with connect() as connection:
            cursor = await connection.execute("SELECT %s::int * 10", [number])
            return await cursor.fetchone()

    if form == "serial":
        show("asked", [await ask(number) for number in range(8)])
    else:
        show("asked", await asyncio.gather(*map(ask, range(8))))


async def changed(connection) -> None:
    try:
        await connection.execute("SELECT %s::int4", [2])
    except psycopg.Error as error:
        await connection.rollback()
        cursor = await connection.execute("SELECT 1")
        show_changed(error, await cursor.fetchone() == (1,), error.sqlstate)
