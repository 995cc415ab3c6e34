"""Shows requests and responses decoded: what is read, compared and searched for values."""

from __future__ import annotations

from typing import Any

from kebpf.protocols.base import Document
from kebpf.protocols.http1.content import decode_body, decode_pairs, replace_boundary_parameter
from kebpf.protocols.http1.grammar import get_value, unfold


def split_target(request: Document) -> tuple[str, str, str | None]:
    """``(authority, path, query)`` of any form of target (RFC 9112 section 3.2).

    The path stays escaped as it was sent; the query is ``None`` when there is no ``?``.
    """
    authority = get_value(request["headers"], "host")
    target = request["target"]
    if request["method"] == "CONNECT":
        return target, "", None
    scheme, separator, rest = target.partition("://")
    if separator and not target.startswith("/") and "?" not in scheme:
        end = min((rest.find(mark) for mark in "/?" if mark in rest), default=len(rest))
        authority, target = rest[:end], rest[end:]
        target = target if target.startswith("/") else f"/{target}"
    path, question, query = target.partition("?")
    return authority, path, query if question else None


def decode_query(query: str | None) -> list[list[str | None]]:
    """A query as ordered pairs; what is no UTF-8 behind its escapes is kept escaped."""
    if query is None:
        return []
    pairs = decode_pairs(query)
    if pairs is not None:
        return pairs
    return [_decode_pair(pair) for pair in query.split("&")]


def _decode_pair(pair: str) -> list[str | None]:
    decoded = decode_pairs(pair)
    if decoded is not None:
        return decoded[0]
    name, equals, value = pair.partition("=")
    return [name, value if equals else None]


def lower_headers(headers: list[list[str]]) -> list[list[str]]:
    """Fields in order, names in lower case, folds as spaces, multipart boundaries replaced."""
    lowered = [[name.lower(), unfold(value)] for name, value in headers]
    return [
        [name, replace_boundary_parameter(value) if name == "content-type" else value]
        for name, value in lowered
    ]


def view_request(request: Document) -> Document:
    """``method``, ``path``, ``query``, ``headers``, ``body_kind``, ``body`` (and ``trailers``)."""
    _, path, query = split_target(request)
    view: Document = {
        "method": request["method"],
        "path": path,
        "query": decode_query(query),
    }
    return view | _view_content(request)


def view_response(response: Document) -> Document:
    """``status``, ``headers``, ``body_kind``, ``body``, and where there are any ``trailers``

    and ``interim`` responses other than 100 (whether 100 is sent depends on timing).
    """
    view: Document = {"status": response["status"], **_view_content(response)}
    interim = [
        {"status": part["status"], "headers": lower_headers(part["headers"])}
        for part in response.get("interim", ())
        if part["status"] != 100
    ]
    return view | ({"interim": interim} if interim else {})


def _view_content(message: Document) -> dict[str, Any]:
    kind, body = decode_body(message["headers"], message["body"])
    content = {"headers": lower_headers(message["headers"]), "body_kind": kind, "body": body}
    if message["trailers"]:
        content["trailers"] = lower_headers(message["trailers"])
    return content


def describe_request(request: Document, limit: int = 100) -> str:
    """``POST http://rates:8001/quote?x=1``, at most ``limit`` characters."""
    host, target = get_value(request["headers"], "host"), request["target"]
    if target.startswith("/") and host:
        target = f"http://{host}{target}"
    line = f"{request['method']} {target}".strip() or "a request that was not seen"
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
