"""Ways to ask for a balance; each opens its connections when it is made."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from typing import Any

import asyncpg
import httpx
import psycopg
import redis
from psycopg import sql
from psycopg2.pool import ThreadedConnectionPool
from psycopg_pool import ConnectionPool

from tests.e2e.accounts.forms import Form

Ask = Callable[[str], Any]
QUERY = "SELECT balance FROM accounts WHERE owner = "


def open_pool(form: Form) -> ConnectionPool[psycopg.Connection[tuple[Any, ...]]]:
    pool: ConnectionPool[psycopg.Connection[tuple[Any, ...]]] = ConnectionPool(
        os.environ["ACCOUNTS_DATABASE"],
        min_size=form.pool,
        max_size=form.pool,
        kwargs={"prepare_threshold": form.threshold},
        open=True,
    )
    pool.wait()
    return pool


def ask_psycopg(form: Form) -> Ask:
    """One statement with a parameter, prepared or not, in text or binary, pipelined or not."""
    pool = open_pool(form)

    def ask(owner: str) -> Any:
        with pool.connection() as database:
            if form.is_pipelined:
                with database.pipeline():
                    cursor = database.execute(QUERY + "%s", (owner,), binary=form.is_binary)
            else:
                cursor = database.execute(QUERY + "%s", (owner,), binary=form.is_binary)
            row = cursor.fetchone()
        if form.is_evicting:
            evict(pool)
        return None if row is None else row[0]

    return ask


def evict(pool: ConnectionPool[Any]) -> None:
    """A connection is closed; the pool opens another in its place."""
    connection = pool.getconn()
    connection.close()
    pool.putconn(connection)


def ask_literal(form: Form) -> Ask:
    """The owner's name in the statement itself, by the simple or the extended protocol."""
    pool = open_pool(form)

    def ask(owner: str) -> Any:
        statement = sql.SQL(QUERY + "{}").format(sql.Literal(owner))
        with pool.connection() as database:
            if form.is_simple:
                row = psycopg.ClientCursor(database).execute(statement).fetchone()
            else:
                row = database.execute(statement, binary=True).fetchone()
        if form.is_evicting:
            evict(pool)
        return None if row is None else row[0]

    return ask


def ask_asyncpg(form: Form) -> Ask:
    """From an event loop in a thread of its own; always binary, with a cache of statements."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()

    async def open_connections() -> Any:
        return await asyncpg.create_pool(
            os.environ["ACCOUNTS_DATABASE"],
            min_size=form.pool,
            max_size=form.pool,
            statement_cache_size=form.cache,
            ssl=False,
        )

    pool = asyncio.run_coroutine_threadsafe(open_connections(), loop).result()

    async def fetch(owner: str) -> Any:
        balance = await pool.fetchval(QUERY + "$1", owner)
        if form.is_evicting:
            await pool.expire_connections()
        return balance

    return lambda owner: asyncio.run_coroutine_threadsafe(fetch(owner), loop).result()


def ask_psycopg2(form: Form) -> Ask:
    """Simple queries with the value in them."""
    pool = ThreadedConnectionPool(form.pool, 8, os.environ["ACCOUNTS_DATABASE"])

    def ask(owner: str) -> Any:
        database = pool.getconn()
        try:
            with database, database.cursor() as cursor:
                cursor.execute(QUERY + "%s", (owner,))
                row = cursor.fetchone()
        finally:
            pool.putconn(database, close=form.is_evicting)
        return None if row is None else row[0]

    return ask


def ask_redis(form: Form) -> Ask:
    """Two questions: one by one, in a pipeline; or as other commands, which are other calls."""
    client = redis.Redis.from_url(os.environ["ACCOUNTS_REDIS"])

    def fetch(keys: list[str]) -> Any:
        if form.redis == "single":
            return [client.get(key) for key in keys]
        if form.redis == "mget":
            return client.mget(keys)
        with client.pipeline(transaction=form.redis == "multi") as pipeline:
            for key in keys:
                pipeline.get(key)
            return pipeline.execute()

    def ask(owner: str) -> Any:
        balance, currency = fetch([f"balance:{owner}", "currency"])
        if form.is_evicting:
            client.connection_pool.disconnect()
        return f"{balance.decode()} {currency.decode()}"

    return ask


def ask_http(form: Form) -> Ask:
    """Over one connection that is kept alive, or a new one each time."""
    url = os.environ["ACCOUNTS_HTTP"]
    kept = httpx.Client(base_url=url, trust_env=False)

    def ask(owner: str) -> Any:
        if form.keeps_alive:
            return kept.get(f"/balances/{owner}").json()["target"]
        with httpx.Client(base_url=url, trust_env=False) as client:
            return client.get(f"/balances/{owner}").json()["target"]

    return ask


OPENERS: dict[str, Callable[[Form], Ask]] = {
    "psycopg": ask_psycopg,
    "literal": ask_literal,
    "asyncpg": ask_asyncpg,
    "psycopg2": ask_psycopg2,
    "redis": ask_redis,
    "http": ask_http,
}
