"""The notes service with Starlette, psycopg's async pool and redis-py on uvloop."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

BUG = os.environ.get("NOTES_BUG", "")
ORDER = "ASC" if BUG == "order" else "DESC"
COLUMNS = "id, author, title, body, created_at"

pool = AsyncConnectionPool(
    os.environ["DATABASE_URL"], open=False, kwargs={"row_factory": dict_row}, max_size=8
)
redis = Redis.from_url(os.environ["REDIS_URL"], decode_responses=True)


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[None]:
    async with pool:
        yield
    await redis.aclose()


def as_note(row: DictRow) -> dict[str, Any]:
    title = row["title"].upper() if BUG == "title" else row["title"]
    return {**row, "title": title, "created_at": row["created_at"].isoformat()}


async def health(_request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def create(request: Request) -> Response:
    asked = await request.json()
    if not asked.get("title"):
        return JSONResponse({"error": "title is required"}, 422)
    async with pool.connection() as connection:
        cursor = await connection.execute(
            f"INSERT INTO notes (author, title, body) VALUES (%s, %s, %s) RETURNING {COLUMNS}",
            (asked["author"], asked["title"], asked["body"]),
        )
        note = as_note(await cursor.fetchone())
        if BUG != "history":
            await connection.execute(
                "INSERT INTO history (note_id, action) VALUES (%s, 'created')", (note["id"],)
            )
    async with redis.pipeline(transaction=False) as pipeline:
        pipeline.set(f"note:{note['id']}", json.dumps(note))
        pipeline.incr(f"notes:count:{note['author']}")
        await pipeline.execute()
    return JSONResponse(note, 201, {"Location": f"/notes/{note['id']}"})


async def read(request: Request) -> Response:
    number = request.path_params["number"]
    cached = await redis.get(f"note:{number}")
    if cached is not None:
        return JSONResponse(json.loads(cached), headers={"X-Cache": "hit"})
    async with pool.connection() as connection:
        cursor = await connection.execute(f"SELECT {COLUMNS} FROM notes WHERE id = %s", (number,))
        row = await cursor.fetchone()
    if row is None:
        return JSONResponse({"error": "no such note"}, 404)
    note = as_note(row)
    await redis.set(f"note:{number}", json.dumps(note), ex=60)
    return JSONResponse(note, headers={"X-Cache": "miss"})


async def newest(request: Request) -> Response:
    author, limit = request.query_params["author"], int(request.query_params.get("limit", 10))
    async with pool.connection() as connection:
        cursor = await connection.execute(
            f"SELECT {COLUMNS} FROM notes WHERE author = %s ORDER BY id {ORDER} LIMIT %s",
            (author, limit),
        )
        rows = await cursor.fetchall()
    return JSONResponse([as_note(row) for row in rows])


async def delete(request: Request) -> Response:
    number = request.path_params["number"]
    async with pool.connection() as connection:
        cursor = await connection.execute("DELETE FROM notes WHERE id = %s", (number,))
    if cursor.rowcount == 0:
        return JSONResponse({"error": "no such note"}, 404)
    await redis.delete(f"note:{number}")
    return Response(status_code=204)


async def echo(request: Request) -> Response:
    kind = request.headers["Content-Type"]
    return Response(await request.body(), headers={"Content-Type": kind})


async def report(request: Request) -> Response:
    rows = int(request.query_params["rows"])

    async def lines() -> AsyncIterator[str]:
        async with pool.connection() as connection:
            cursor = await connection.execute("SELECT generate_series(1, %s::int) AS n", (rows,))
            async for row in cursor:
                yield f"row {row['n']}\n"

    return StreamingResponse(lines(), media_type="text/plain")


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/health", health),
        Route("/notes", create, methods=["POST"]),
        Route("/notes", newest),
        Route("/notes/{number:int}", read),
        Route("/notes/{number:int}", delete, methods=["DELETE"]),
        Route("/echo", echo, methods=["POST"]),
        Route("/report", report),
        Mount("/files", StaticFiles(directory=os.environ["FILES_DIR"])),
    ],
)
