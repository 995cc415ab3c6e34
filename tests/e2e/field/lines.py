"""The table of lines: a route, the mistake that ``BUG`` switches on in it, how it must be found."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg
from psycopg_pool import ConnectionPool
from redis import Redis

Pool = ConnectionPool[psycopg.Connection[tuple[Any, ...]]]


@dataclass(frozen=True)
class Backends:
    """What the service depends on; ``other_…`` is the same kind of server in another place."""

    database: Pool
    other_database: Pool
    database_url: str
    redis: Redis
    other_redis: Redis
    redis_number_1: Redis
    http: httpx.Client
    other_http: httpx.Client


@dataclass
class Answer:
    """A response; ``declared`` is the Content-Length said in place of the true one.

    ``chunks`` are sent one by one in chunked coding, ``is_whole`` is whether the last, empty one
    is sent too; ``after`` is done when the response is out.
    """

    body: bytes = b""
    kind: str = "application/json"
    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)
    declared: int | None = None
    chunks: list[bytes] | None = None
    is_whole: bool = True
    after: Callable[[], object] | None = None


Serve = Callable[[bool, Backends], Answer]


@dataclass(frozen=True)
class Difference:
    """A mismatch of the response: where it begins, and of which kind, if that is certain."""

    path: str
    kind: str = ""


@dataclass(frozen=True)
class CallFinding:
    """A finding about an outgoing call: its kind, and a text in the call, its nearest or fields."""

    kind: str
    text: str


@dataclass(frozen=True)
class Line:
    """One thing that must not pass; ``said`` is where it was read or whom it happened to."""

    name: str
    said: str
    finding: Difference | CallFinding
    serve: Serve


LINES: dict[str, Line] = {}


def line(said: str, finding: Difference | CallFinding) -> Callable[[Serve], Serve]:
    """Registers a route named after the function."""

    def register(serve: Serve) -> Serve:
        name = serve.__name__
        assert name not in LINES
        LINES[name] = Line(name, said, finding, serve)
        return serve

    return register


def as_json(tree: Any, status: int = 200, *headers: tuple[str, str]) -> Answer:
    return Answer(json.dumps(tree).encode(), status=status, headers=list(headers))


def as_text(text: str | bytes, kind: str = "text/plain; charset=utf-8") -> Answer:
    return Answer(text if isinstance(text, bytes) else text.encode(), kind)
