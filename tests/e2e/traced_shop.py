"""`python -m tests.e2e.traced_shop`: the shop, which also writes down whose every call is.

What it writes comes from inside the process: each time bytes may go out, the request that is being
served there and then (a context variable), the port they go to, and when.  That is the truth that
attribution, which sees none of it, is compared with.
"""

from __future__ import annotations

import asyncio.selector_events
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from pathlib import Path
from typing import Any

import psycopg
import uvicorn
from shop.app import app  # type: ignore[import-not-found]  # found in the folder of the examples
from shop.settings import Settings  # type: ignore[import-not-found]

TRACE_VARIABLE = "SHOP_TRACE"  # the file that is written at the end
HEADER = b"x-request-id"

_request: ContextVar[str] = ContextVar("request", default="")
_written: list[tuple[int, int, int, int, str]] = []  # begun, ended, own port, other port, request


@contextmanager
def _sending(ports: tuple[int, int] | None) -> Iterator[None]:
    begun = time.time_ns()
    try:
        yield
    finally:
        if ports is not None:
            _written.append((begun, time.time_ns(), *ports, _request.get()))


def _ports_of(connection: Any) -> tuple[int, int] | None:
    """Of a TCP connection's two ends."""
    try:
        return connection.getsockname()[1], connection.getpeername()[1]
    except (OSError, IndexError, AttributeError):
        return None


def _ports_of_descriptor(descriptor: int) -> tuple[int, int] | None:
    try:
        with socket.socket(fileno=os.dup(descriptor)) as copy:
            return _ports_of(copy)
    except OSError:
        return None


def _trace_method(owner: Any, name: str, find: Callable[[Any], Any]) -> None:
    original = getattr(owner, name)

    @wraps(original)
    def traced(self: Any, *arguments: Any) -> Any:
        with _sending(_ports_of(find(self))):
            return original(self, *arguments)

    setattr(owner, name, traced)


def _trace_steps(steps: Any, ports: tuple[int, int] | None) -> Any:
    """A generator of psycopg's, each step of which may send."""
    sent: Any = None
    is_first = True
    while True:
        try:
            with _sending(ports):
                wanted = next(steps) if is_first else steps.send(sent)
        except StopIteration as end:
            return end.value
        is_first = False
        sent = yield wanted


def _trace_psycopg(owner: Any) -> None:
    original = owner.wait

    def wait(self: Any, gen: Any, *arguments: Any, **named: Any) -> Any:
        ports = _ports_of_descriptor(self.pgconn.socket)
        return original(self, _trace_steps(gen, ports), *arguments, **named)

    owner.wait = wait


class KnowingRequests:
    """ASGI middleware: which request is being served, for all that is done for it.

    The trace is written when the application has shut down.
    """

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            headers = dict(scope["headers"])
            _request.set(headers.get(HEADER, b"").decode())
        await self._inner(scope, receive, send)
        if scope["type"] == "lifespan":  # SIGTERM ends the process before `atexit` would
            Path(os.environ[TRACE_VARIABLE]).write_text(json.dumps(_written))


def main() -> None:
    """Serves as `python -m shop` does."""
    transport = asyncio.selector_events._SelectorSocketTransport  # type: ignore[attr-defined]
    _trace_method(transport, "write", lambda one: one.get_extra_info("socket"))
    _trace_method(socket.socket, "sendall", lambda one: one)
    _trace_psycopg(psycopg.AsyncConnection)
    _trace_psycopg(psycopg.Connection)
    settings = Settings.from_environment()
    served = KnowingRequests(app)
    # uvloop, which uvicorn takes where it is installed, has no transport that can be traced
    uvicorn.run(served, host=settings.host, port=settings.port, loop="asyncio", access_log=False)


if __name__ == "__main__":
    main()
