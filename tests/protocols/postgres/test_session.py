"""The same client program against a real server and against its recording gives the same."""

from __future__ import annotations

import asyncio
import datetime as dt
import decimal
import subprocess
import uuid
from collections.abc import Callable
from typing import Any

import asyncpg
import psycopg
import psycopg2
import psycopg2.extras
import pytest
from psycopg.types.json import Jsonb

from kebpf.protocols.base import Exchange
from tests.fix_postgres import BIN, PostgresCluster
from tests.protocols.postgres.wire import pair, replay, tee

pytestmark = pytest.mark.postgres

Program = Callable[[int], Any]


def dsn(port: int) -> str:
    return f"host=127.0.0.1 port={port} user=postgres dbname=postgres connect_timeout=10"


def note(action: Callable[[], Any]) -> Any:
    """What an action gives, or the error it ends with."""
    try:
        return action()
    except psycopg.Error as error:
        return type(error).__name__, error.sqlstate, error.diag.message_primary
    except psycopg2.Error as error:
        return type(error).__name__, error.pgcode, error.diag.message_primary
    except asyncpg.PostgresError as error:
        return type(error).__name__, error.sqlstate, str(error)


TABLE = """
create table if not exists kinds (
  id serial primary key, b bool, i2 int2, i8 int8, f4 float4, f8 float8, n numeric(12, 3),
  t text, v varchar(20), c char(5), bin bytea, u uuid, d date, tm time, ts timestamp,
  tz timestamptz, iv interval, j json, jb jsonb, ia int[], ta text[], ip inet)
"""
VALUES = (
    True,
    -7,
    2**40,
    1.5,
    -2.25e-7,
    decimal.Decimal("12.300"),
    "naïve 'text'",
    "varchar",
    "abc",
    b"\x00\xff\x10",
    uuid.UUID(int=12345),
    dt.date(2024, 2, 29),
    dt.time(12, 30, 1, 5000),
    dt.datetime(2024, 1, 1, 12, 0, 0, 250000),
    dt.datetime(2024, 1, 1, 12, 0, tzinfo=dt.timezone(dt.timedelta(hours=2))),
    dt.timedelta(days=3, seconds=4000, microseconds=7),
)


def psycopg_basics(port: int) -> Any:
    out: list[Any] = []
    with psycopg.connect(dsn(port)) as conn, conn.cursor() as cur:
        cur.execute("drop table if exists kinds")
        cur.execute(TABLE)
        marks = ", ".join(["%s"] * len(VALUES))
        columns = "b, i2, i8, f4, f8, n, t, v, c, bin, u, d, tm, ts, tz, iv"
        cur.execute(
            f"insert into kinds ({columns}, j, jb, ia, ta, ip) values "
            f"({marks}, '{{\"a\": 1}}', %s, %s, %s, '10.0.0.1/8') returning id",
            (*VALUES, Jsonb({"k": [1, 2]}), [1, None, 3], ["a b", 'q"', "", "NULL"]),
        )
        out.append((cur.fetchall(), cur.statusmessage, cur.rowcount))
        conn.commit()
        for binary in (False, True):
            with conn.cursor(binary=binary) as reader:
                reader.execute("select * from kinds where id = %s", (1,))
                out.append((reader.fetchall(), [c.type_code for c in reader.description or ()]))
        cur.execute("")
        out.append(cur.statusmessage)
    return out


def psycopg_errors(port: int) -> Any:
    out: list[Any] = []
    with psycopg.connect(dsn(port)) as conn:
        conn.execute("drop table if exists uniq")
        conn.execute("create table uniq (a int primary key)")
        conn.commit()
        conn.execute("insert into uniq values (%s)", (1,))
        out.append(note(lambda: conn.execute("insert into uniq values (%s)", (1,))))
        out.append(conn.info.transaction_status)
        out.append(note(lambda: conn.execute("select * from uniq")))
        conn.rollback()
        out.append(note(lambda: conn.execute("select no_such_column")))
        conn.rollback()
        with conn.transaction():
            conn.execute("insert into uniq values (%s)", (5,))
            out.append(note(lambda: _in_savepoint(conn)))
            out.append(conn.execute("select a from uniq order by a").fetchall())
        out.append(note(lambda: conn.execute("select 1/%s", (0,))))
    return out


def _in_savepoint(conn: psycopg.Connection[Any]) -> Any:
    with conn.transaction():
        return conn.execute("insert into uniq values (%s)", (5,))


def psycopg_prepared(port: int) -> Any:
    with psycopg.connect(dsn(port), autocommit=True) as conn:
        found = [conn.execute("select %s::int + 1", (i,)).fetchone() for i in range(12)]
        found.append(conn.execute("select %b::int8, 2", (7,), prepare=True).fetchone())
        found.append(note(lambda: conn.execute("selekt %s", (1,), prepare=True)))
        conn.execute("deallocate all")
    return found


def psycopg_pipeline(port: int) -> Any:
    out: list[Any] = []
    with psycopg.connect(dsn(port), autocommit=True) as conn:
        conn.execute("drop table if exists piped")
        conn.execute("create table piped (a int, b text)")
        with conn.pipeline() as pipeline:
            first = conn.execute("insert into piped values (%s, %s) returning a", (1, "x"))
            second = conn.execute("select count(*) from piped where a = %s", (1,))
            pipeline.sync()
            third = conn.execute("select b from piped")
            with conn.transaction():
                conn.execute("insert into piped values (%s, %s)", (2, "y"))
            out += [first.fetchall(), second.fetchall(), third.fetchall()]
        with conn.cursor() as cur:
            cur.executemany("insert into piped values (%s, %s)", [(i, str(i)) for i in range(9)])
            out.append(cur.rowcount)
        out.append(note(lambda: _failing_pipeline(conn)))
        out.append(conn.execute("select a, b from piped order by a, b").fetchall())
    return out


def _failing_pipeline(conn: psycopg.Connection[Any]) -> Any:
    with conn.pipeline():
        conn.execute("select 1 as one")
        conn.execute("select 1/0")
        conn.execute("select 2 as never")
    return None


def psycopg_copy(port: int) -> Any:
    out: list[Any] = []
    with psycopg.connect(dsn(port), autocommit=True) as conn, conn.cursor() as cur:
        cur.execute("drop table if exists copied")
        cur.execute("create table copied (a int, b text)")
        with cur.copy("copy copied from stdin") as copy:
            for row in [(1, "one"), (2, None), (3, "t\tab")]:
                copy.write_row(row)
        out.append((cur.rowcount, cur.statusmessage))
        with cur.copy("copy copied from stdin (format binary)") as copy:
            copy.set_types(["int4", "text"])
            copy.write_row((4, "four"))
        with cur.copy("copy copied to stdout") as copy:
            out.append([bytes(data) for data in copy])
        with cur.copy("copy (select a from copied) to stdout (format binary)") as copy:
            out.append([bytes(data) for data in copy])
        out.append(note(lambda: _bad_copy(cur)))
        out.append(note(lambda: _refused_copy(cur)))
        out.append(note(lambda: _copy_with(cur, "copy no_such_table from stdin")))
        out.append(cur.execute("select * from copied order by a").fetchall())
    return out


def _bad_copy(cur: psycopg.Cursor[Any]) -> Any:
    return _copy_with(cur, "copy copied from stdin (format csv)")


def _copy_with(cur: psycopg.Cursor[Any], sql: str) -> Any:
    with cur.copy(sql) as copy:
        copy.write(b"not a number,x\n")
    return None


def _refused_copy(cur: psycopg.Cursor[Any]) -> Any:
    with cur.copy("copy copied from stdin") as copy:
        copy.write(b"9\tnine\n")
        raise psycopg.DataError("changed my mind")


def psycopg_cursors(port: int) -> Any:
    out: list[Any] = []
    with psycopg.connect(dsn(port)) as conn:
        for binary in (False, True):
            with conn.cursor("many", binary=binary) as cur:
                cur.itersize = 3
                cur.execute("select g, g::text from generate_series(1, %s) g", (8,))
                out.append([c.name for c in cur.description or ()])
                out.append(list(cur))
        for item in conn.cursor().stream("select * from generate_series(1, %s)", (4,)):
            out.append(item)
    return out


def psycopg_settings(port: int) -> Any:
    out: list[Any] = []
    with psycopg.connect(dsn(port), application_name="kebpf test") as conn:
        out.append(conn.info.parameter_status("application_name"))
        out.append(conn.info.parameter_status("server_version"))
        conn.execute("set application_name = 'other'")
        out.append(conn.info.parameter_status("application_name"))
        conn.rollback()
        out.append(conn.info.parameter_status("application_name"))
        conn.execute("set local timezone to 'Europe/Paris'")
        out.append((str(conn.info.timezone), conn.execute("show timezone").fetchall()))
        conn.commit()
        out.append(str(conn.info.timezone))
        out.append(conn.execute("show transaction isolation level").fetchall())
        out.append(conn.execute("select 1").fetchall())
        out.append(conn.execute("select current_database(), current_user").fetchall())
        conn.commit()
        notices: list[Any] = []
        conn.add_notice_handler(lambda diag: notices.append((diag.severity, diag.message_primary)))
        conn.execute("do $$begin raise notice 'hello'; end$$")
        out.append(notices)
        out.append(psycopg.types.TypeInfo.fetch(conn, "int4range").__dict__.get("oid"))
    return out


def psycopg2_basics(port: int) -> Any:
    out: list[Any] = []
    conn = psycopg2.connect(dsn(port))
    with conn, conn.cursor() as cur:
        cur.execute("drop table if exists two")
        cur.execute("create table two (a int, b timestamptz, c bytea, d text[])")
        when = dt.datetime(2024, 5, 1, tzinfo=dt.UTC)
        psycopg2.extras.execute_values(
            cur,
            "insert into two values %s",
            [(i, when, b"\x01\x02", ["x", None]) for i in range(3)],
        )
        out.append((cur.statusmessage, cur.rowcount))
    with conn, conn.cursor() as cur:
        cur.execute("select * from two; select 2 as second")
        out.append(cur.fetchall())
        cur.execute("select a, b, c::text, d from two order by a")
        out.append(cur.fetchall())
        out.append(note(lambda: cur.execute("insert into two values (1); selekt")))
    conn.rollback()
    with conn, conn.cursor(name="named") as named:
        named.itersize = 2
        named.execute("select generate_series(1, 5)")
        out.append(list(named))
    conn.close()
    return out


def psycopg2_notifies(port: int) -> Any:
    """What a connection tells itself: once, at commit, and nothing that was rolled back."""
    conn = psycopg2.connect(dsn(port))
    cur = conn.cursor()
    seen = []

    def take() -> None:
        seen.append([(one.channel, one.payload) for one in conn.notifies])
        conn.notifies.clear()

    cur.execute('listen stock; listen "Mixed"')
    cur.execute("notify stock, 'before the commit'")
    take()
    conn.commit()
    take()
    for payload in ("one", "it''s two", "one"):
        cur.execute(f"select pg_notify('stock', '{payload}')")
    cur.execute('notify "Mixed"')
    cur.execute("notify other, 'nobody listens'")
    conn.commit()
    take()
    cur.execute("notify stock, 'lost'")
    conn.rollback()
    conn.autocommit = True
    cur.execute("notify stock")
    take()
    cur.execute("unlisten stock")
    cur.execute("notify stock")
    take()
    conn.close()
    return seen


def asyncpg_all(port: int) -> Any:
    return asyncio.run(_asyncpg(port))


async def _asyncpg(port: int) -> Any:
    out: list[Any] = []
    conn = await asyncpg.connect(
        host="127.0.0.1", port=port, user="postgres", database="postgres", ssl=False
    )
    await conn.execute("drop table if exists apg; create table apg (a int, b numeric, c jsonb)")
    sql = "insert into apg values ($1, $2, $3) returning *"
    for number in range(4):
        row = await conn.fetchrow(sql, number, decimal.Decimal("1.50"), '{"x": 1}')
        out.append(tuple(row))
    await conn.executemany("insert into apg values ($1, $2)", [(7, decimal.Decimal(7))] * 3)
    async with conn.transaction():
        cursor = conn.cursor("select a from apg order by a", prefetch=2)
        out.append([tuple(row) async for row in cursor])
        out.append(await _apg_error(conn, "select 1/$1::int", 0))
    out.append(await conn.fetch("select $1::timestamptz, $2::interval", VALUES[14], VALUES[15]))
    out.append(await conn.fetchval("select array_agg(a order by a) from apg"))
    out.append(await conn.fetchval("select '[1,5)'::int4range"))
    out.append(await _apg_error(conn, "selekt 1"))
    out.append(await conn.copy_records_to_table("apg", records=[(9, decimal.Decimal(9), "{}")]))
    await conn.reset()
    out.append(await conn.fetchval("select count(*) from apg"))
    await conn.close()
    return out


async def _apg_error(conn: Any, sql: str, *arguments: Any) -> Any:
    try:
        async with conn.transaction():
            return await conn.fetchval(sql, *arguments)
    except asyncpg.PostgresError as error:
        return type(error).__name__, error.sqlstate, str(error)


PSQL_SCRIPT = r"""
drop table if exists ps; create table ps (a int, b text);
\copy ps from stdin
1	one
2	two
\.
select * from ps order by a \; select 'second' as x;
\set FETCH_COUNT 1
select * from ps order by a;
begin; insert into ps values (3, 'three'); savepoint s; select bad; rollback to s; commit;
select count(*) from ps;
copy ps to stdout;
do $$ begin raise warning 'careful'; end $$;
show server_version; ;
"""


def psql_script(port: int) -> Any:
    done = subprocess.run(
        [BIN / "psql", "-X", "-q", dsn(port)],
        input=PSQL_SCRIPT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout, done.stderr


PROGRAMS: list[Program] = [
    psycopg_basics,
    psycopg_errors,
    psycopg_prepared,
    psycopg_pipeline,
    psycopg_copy,
    psycopg_cursors,
    psycopg_settings,
    psycopg2_basics,
    psycopg2_notifies,
    asyncpg_all,
    psql_script,
]


def record(program: Program, cluster: PostgresCluster) -> tuple[Any, list[Exchange]]:
    """What a program gets from the real server, and the exchanges of its connections."""
    with tee(cluster.port) as (port, tapes):
        seen = program(port)
    return seen, [e for tape in tapes for e in pair(tape.pieces)]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_replays_what_the_program_saw(program: Program, postgres: PostgresCluster) -> None:
    seen, exchanges = record(program, postgres)
    assert [(e.request, e.problem) for e in exchanges if e.problem] == []
    replayed, answerer = replay(program, exchanges)
    assert answerer.misses == []
    assert replayed == seen
    assert answerer.unused == []
