"""A call as its peer saw it and as a mock tells it, in the same words."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tests.e2e.kebpf_runs import Entry
from tests.e2e.tls.peers import Asked

_LITERALS = re.compile(r"VALUES \((\d+), '(.*)'\)", re.DOTALL)
_RECALL = re.compile(r"recall\('?(\d+)'?\)")


@dataclass(frozen=True, order=True)
class Call:
    """A note given (``keep``) or asked back (``recall``): its number, what went and what came."""

    verb: str
    number: int
    sent: str
    answered: str


def read_asked(asked: Iterable[Asked]) -> list[Call]:
    """What an HTTPS peer remembers; a proxy's CONNECTs are no calls."""
    verbs = {"POST": "keep", "GET": "recall"}
    return [
        Call(verbs[one.method], _number(one.target), one.request.decode(), one.response.decode())
        for one in asked
        if one.method in verbs
    ]


def read_mocks(mocks: Iterable[Entry]) -> list[Call]:
    """The calls of mocks; sessions, transactions and the like left out."""
    found = []
    for mock in mocks:
        call = _READERS[mock["protocol"]](mock) if mock["protocol"] in _READERS else None
        if call is not None:
            found += [call] * mock["calls"]
    return found


def _number(target: str) -> int:
    return int(target.rpartition("/")[2])


def as_text(body: Any) -> str:
    """A body or value as `kebpf show` gives it, as text."""
    if isinstance(body, dict) and set(body) == {"base64"}:
        return base64.b64decode(body["base64"]).decode("latin-1")
    if body is None:
        return ""
    return body if isinstance(body, str) else json.dumps(body)


def _read_http(mock: Entry) -> Call | None:
    request, response = mock["request"], mock["response"]
    verb = {"POST": "keep", "GET": "recall"}.get(request["method"])
    if verb is None:
        return None
    sent, answered = as_text(request["body"]), as_text(response and response["body"])
    return Call(verb, _number(request["path"]), sent, answered)


def _read_postgres(mock: Entry) -> Call | None:
    sql, parameters = mock["request"].get("sql") or "", mock["request"].get("parameters") or []
    if sql.startswith("INSERT"):
        literals = _LITERALS.search(sql)
        if not literals and not parameters:
            return None  # only described
        number, text = literals.groups() if literals else parameters
        return Call("keep", int(number), text, "")
    if "recall(" in sql:
        literal = _RECALL.search(sql)
        if not literal and not parameters:
            return None
        [number] = literal.groups() if literal else parameters
        return Call("recall", int(number), "", _first_value(mock["response"]))
    return None


def _first_value(response: Any) -> str:
    for result in (response or {}).get("results", []):
        for row in result.get("rows", []):
            return str(row[0][1])
    return ""


def _read_redis(mock: Entry) -> Call | None:
    name, *words = mock["request"]["command"]
    if name.upper() == "SET":
        return Call("keep", int(words[0].rpartition(":")[2]), as_text(words[1]), "")
    if name.upper() == "GET":
        answered = as_text(mock["response"])
        return Call("recall", int(words[0].rpartition(":")[2]), "", answered)
    return None


_READERS = {"http": _read_http, "postgres": _read_postgres, "redis": _read_redis}
