"""The notes service with FastAPI, asyncpg's pool and redis-py on asyncio."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import asyncpg
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from redis.asyncio import Redis

BUG = os.environ.get("NOTES_BUG", "")
ORDER = "ASC" if BUG == "order" else "DESC"


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.redis = Redis.from_url(os.environ["REDIS_URL"])
    async with asyncpg.create_pool(os.environ["DATABASE_URL"]) as pool:
        app.state.pool = pool
        yield
    await app.state.redis.aclose()


app = FastAPI(lifespan=lifespan)


def get_pool(request: Request) -> asyncpg.Pool:
    return request.app.state.pool


def get_redis(request: Request) -> Redis:
    return request.app.state.redis


Pool = Annotated[asyncpg.Pool, Depends(get_pool)]
Cache = Annotated[Redis, Depends(get_redis)]


def as_note(row: asyncpg.Record) -> dict[str, Any]:
    title = row["title"].upper() if BUG == "title" else row["title"]
    return {**row, "title": title, "created_at": row["created_at"].isoformat()}


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/notes", status_code=201)
async def create(request: Request, response: Response, pool: Pool, redis: Cache) -> Any:
    asked = await request.json()
    if not asked.get("title"):
        return JSONResponse({"error": "title is required"}, 422)
    async with pool.acquire() as connection, connection.transaction():
        row = await connection.fetchrow(
            "INSERT INTO notes (author, title, body) VALUES ($1, $2, $3)"
            " RETURNING id, author, title, body, created_at",
            asked["author"],
            asked["title"],
            asked["body"],
        )
        if BUG != "history":
            await connection.execute(
                "INSERT INTO history (note_id, action) VALUES ($1, 'created')", row["id"]
            )
    note = as_note(row)
    await redis.set(f"note:{note['id']}", json.dumps(note))
    await redis.incr(f"notes:count:{note['author']}")
    response.headers["Location"] = f"/notes/{note['id']}"
    return note


@app.get("/notes/{note_id}")
async def read(note_id: int, response: Response, pool: Pool, redis: Cache) -> Any:
    cached = await redis.get(f"note:{note_id}")
    if cached is not None:
        response.headers["X-Cache"] = "hit"
        return json.loads(cached)
    row = await pool.fetchrow(
        "SELECT id, author, title, body, created_at FROM notes WHERE id = $1", note_id
    )
    if row is None:
        return JSONResponse({"error": "no such note"}, 404)
    note = as_note(row)
    await redis.set(f"note:{note_id}", json.dumps(note), ex=60)
    response.headers["X-Cache"] = "miss"
    return note


@app.get("/notes")
async def newest(author: str, pool: Pool, limit: int = 10) -> list[dict[str, Any]]:
    rows = await pool.fetch(
        "SELECT id, author, title, body, created_at FROM notes"
        f" WHERE author = $1 ORDER BY id {ORDER} LIMIT $2",
        author,
        limit,
    )
    return [as_note(row) for row in rows]


@app.delete("/notes/{note_id}")
async def delete(note_id: int, pool: Pool, redis: Cache) -> Response:
    done = await pool.execute("DELETE FROM notes WHERE id = $1", note_id)
    if done == "DELETE 0":
        return JSONResponse({"error": "no such note"}, 404)
    await redis.delete(f"note:{note_id}")
    return Response(status_code=204)


@app.post("/echo")
async def echo(request: Request) -> Response:
    kind = request.headers["Content-Type"]
    return Response(await request.body(), headers={"Content-Type": kind})


@app.get("/report")
async def report(rows: int, pool: Pool) -> StreamingResponse:
    found = await pool.fetch("SELECT generate_series(1, $1::int)", rows)

    async def lines() -> AsyncIterator[str]:
        for (number,) in found:
            yield f"row {number}\n"

    return StreamingResponse(lines(), media_type="text/plain")


@app.get("/files/{name}")
async def file(name: str) -> FileResponse:
    path = Path(os.environ["FILES_DIR"], name)
    if not path.is_file():
        raise HTTPException(404)
    return FileResponse(path)
