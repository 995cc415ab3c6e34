"""The shop's open connections: database pools, cache clients, the rates service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any, cast

import httpx
import redis
import redis.asyncio
from fastapi import Depends, FastAPI, Request
from psycopg import AsyncConnection, Connection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from .settings import Settings

Row = dict[str, Any]


@dataclass(frozen=True)
class Backends:
    """``database``, ``cache`` and ``rates`` serve async handlers, the others sync ones."""

    database: AsyncConnectionPool[AsyncConnection[DictRow]]
    sync_database: ConnectionPool[Connection[DictRow]]
    cache: redis.asyncio.Redis
    sync_cache: redis.Redis
    rates: httpx.AsyncClient


@asynccontextmanager
async def open_backends(app: FastAPI) -> AsyncIterator[None]:
    """Opens everything for as long as the application runs."""
    settings = Settings.from_environment()
    database = AsyncConnectionPool(
        settings.database_url,
        connection_class=AsyncConnection[DictRow],
        kwargs={"row_factory": dict_row},
        min_size=2,
        max_size=4,
        open=False,
    )
    sync_database = ConnectionPool(
        settings.database_url,
        connection_class=Connection[DictRow],
        kwargs={"row_factory": dict_row},
        min_size=1,
        max_size=2,
        open=False,
    )
    cache = redis.asyncio.Redis.from_url(settings.redis_url, decode_responses=True)
    sync_cache = redis.Redis.from_url(settings.redis_url, decode_responses=True)
    rates = httpx.AsyncClient(base_url=settings.rates_url, timeout=10)
    async with database, rates, cache:
        with sync_database, sync_cache:
            await database.wait()
            app.state.backends = Backends(database, sync_database, cache, sync_cache, rates)
            yield


async def get_backends(request: Request) -> Backends:
    """The backends of the application that serves the request."""
    return cast(Backends, request.app.state.backends)


UseBackends = Annotated[Backends, Depends(get_backends)]
