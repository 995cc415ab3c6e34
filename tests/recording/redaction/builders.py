"""Exchanges for the tests of redaction, and a redactor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kebpf.protocols.base import Document, Exchange, Mark
from kebpf.recording.model import Endpoint, RecordedExchange, Role
from kebpf.recording.redaction.redactor import Redactor
from kebpf.recording.redaction.rules import Rules

KEY = bytes(range(32))
_MARK = Mark(1)


def make_redactor(key: bytes = KEY, **rules: list[str]) -> Redactor:
    return Redactor(Rules(**rules), key)


def make_exchange(
    protocol: str, request: Document, response: Document | None, role: Role
) -> RecordedExchange:
    exchange = Exchange(protocol, request, response, _MARK, _MARK, _MARK, _MARK)
    return RecordedExchange(exchange, role, 1, Endpoint("tcp", "a", 1), Endpoint("tcp", "b", 2))


def make_message(body: bytes = b"", headers: Mapping[str, str] = {}, **head: Any) -> Document:
    fields = [[name, value] for name, value in headers.items()]
    if body:
        fields.append(["Content-Length", str(len(body))])
    return {"version": "1.1", "headers": fields, "body": body, "trailers": [], **head}


def serve(
    target: str = "/",
    body: bytes = b"",
    headers: Mapping[str, str] = {},
    answer: bytes = b"",
    answered: Mapping[str, str] = {},
    role: Role = Role.SERVER,
) -> RecordedExchange:
    """An HTTP exchange, a request to the program if not said otherwise."""
    request = make_message(body, headers, method="POST", target=target)
    response = make_message(answer, answered, status=200, reason="OK", interim=[])
    return make_exchange("http", request, response, role)


def query(
    sql: str,
    parameters: Sequence[str | None] = (),
    columns: Sequence[str] = (),
    rows: Sequence[Sequence[str | None]] = (),
) -> RecordedExchange:
    """A call to PostgreSQL."""
    request = {"kind": "query", "sql": sql, "parameters": list(parameters), "database": "shop"}
    described = [{"name": name, "type_oid": 25} for name in columns]
    result = {"columns": described, "rows": [list(row) for row in rows], "tag": "SELECT"}
    return make_exchange("postgres", request, {"results": [result], "error": None}, Role.CLIENT)


def command(*words: str | bytes, reply: Document | None = None) -> RecordedExchange:
    """A call to Redis."""
    response = {"reply": reply or {"type": "status", "value": "OK"}}
    return make_exchange("redis", {"command": list(words)}, response, Role.CLIENT)


def bulk(value: Any) -> Document:
    return {"type": "bulk", "value": value}


def redact(
    redactor: Redactor, recorded: RecordedExchange, *also: RecordedExchange
) -> tuple[Document, Document]:
    """What is written of an exchange once all of them are known."""
    for one in (recorded, *also):
        redactor.learn(one)
    exchange = redactor.redact(recorded, redactor.list_common([recorded, *also])).recorded.exchange
    return exchange.request, exchange.response or {}


def header(message: Document, name: str) -> str:
    return next(str(value) for key, value in message["headers"] if key == name)
