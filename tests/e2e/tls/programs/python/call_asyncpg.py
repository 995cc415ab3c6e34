"""asyncpg, which begins in the clear and then has the event loop encrypt."""

import os

import asyncpg

pool = None


async def open():  # noqa: A001
    global pool
    pool = await asyncpg.create_pool(
        os.environ["DATABASE_URL"],
        min_size=2,
        max_size=8,
        statement_cache_size=int(os.environ.get("STATEMENTS", "0")),
    )


async def keep(number, note):
    await pool.execute("INSERT INTO notes (number, text) VALUES ($1, $2)", number, note)


async def recall(number):
    return await pool.fetchval("SELECT recall($1)", number)
