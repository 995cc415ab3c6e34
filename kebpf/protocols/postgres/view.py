"""Requests and responses as people read them and as they are compared path by path."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from kebpf.protocols.base import Document

_JSON_OIDS = (114, 3802)
_UNKNOWN = "?"


def view(message: Document) -> Any:
    """A request as its SQL and parameters; a response as rows of (column, value) pairs."""
    if "kind" in message:
        return _view_request(message)
    if "results" in message:
        return _view_response(message)
    return dict(message)


def _view_request(request: Document) -> Document:
    if request["kind"] != "query":
        return dict(request)
    seen: Document = {"sql": request.get("sql"), "parameters": request.get("parameters") or []}
    if request.get("copy_data") is not None:
        seen["copy_data"] = request["copy_data"]
    return seen


def _view_response(response: Document) -> Document:
    seen: Document = {"results": [_view_result(r) for r in response["results"]]}
    if response.get("error"):
        seen["error"] = response["error"]
    if response.get("notices"):
        seen["notices"] = response["notices"]
    return seen


def _view_result(result: Document) -> Document:
    seen: Document = {"tag": result.get("tag")}
    columns = result.get("columns")
    if columns is not None:
        seen["rows"] = [_view_row(columns, row) for row in result["rows"]]
    if result.get("suspended"):
        seen["suspended"] = True
    copy = result.get("copy")
    if copy is not None and copy["direction"] == "out":
        seen["copy"] = list(copy["data"])
    return seen


def _view_row(columns: Sequence[Document], row: Sequence[Any]) -> list[list[Any]]:
    pairs = zip(columns, row, strict=True)
    return [[c.get("name", _UNKNOWN), _view_value(int(c["type_oid"]), v)] for c, v in pairs]


def _view_value(type_oid: int, value: Any) -> Any:
    if type_oid not in _JSON_OIDS or not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
