"""A service that makes equal calls for many requests at once, on one thread; a program, no test.

``python tasks_target.py PORT REDIS_PORT POSTGRES_PORT``: Starlette behind middleware that runs
the application in a task of its own.  ``/write/N`` runs two statements that name the request in a
comment, N times the very same ``GET shared``, and two keys that name the request, each written by
a task of its own; a task behind the response writes another.  ``/stream/N`` does it before a
response that again another task writes.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg
import redis.asyncio
import uvicorn
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

PORT, REDIS_PORT, POSTGRES_PORT = map(int, sys.argv[1:4])
cache = redis.asyncio.Redis(port=REDIS_PORT)
pools: list[asyncpg.Pool[asyncpg.Record]] = []


@asynccontextmanager
async def open_pool(_app: Starlette) -> AsyncIterator[None]:
    async with asyncpg.create_pool(
        host="127.0.0.1",
        port=POSTGRES_PORT,
        user="shop",
        password="shop",
        database="shop",
        min_size=2,
        max_size=6,
        statement_cache_size=0,
    ) as pool:
        pools.append(pool)
        yield
    await cache.aclose()


class Passing(BaseHTTPMiddleware):
    async def dispatch(
        self, request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        return await call_next(request)


async def do_work(request: Request) -> str:
    name, times = request.headers["x-request-id"], int(request.path_params["times"])
    async with pools[0].acquire() as connection:
        await connection.fetchval(f"SELECT 1 /* {name} */")
        await connection.fetchval(f"SELECT pg_sleep(0.002) /* {name} */")
    for _ in range(times):
        await cache.get("shared")
        await asyncio.sleep(0)
    await asyncio.gather(*(cache.set(f"{name}:{part}", "x") for part in "ab"))
    return name


async def work(request: Request) -> Response:
    name = await do_work(request)
    return PlainTextResponse(name, background=BackgroundTask(cache.set, f"{name}:after", "x"))


async def stream(request: Request) -> Response:
    name = await do_work(request)

    async def parts() -> AsyncIterator[str]:
        yield name
        await asyncio.sleep(0)
        yield name

    return StreamingResponse(parts(), media_type="text/plain")


app = Starlette(
    routes=[Route("/write/{times}", work), Route("/stream/{times}", stream)],
    middleware=[Middleware(Passing)],
    lifespan=open_pool,
)
uvicorn.run(app, port=PORT, loop="asyncio", http="h11", log_level="info")
