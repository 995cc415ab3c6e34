"""In what two calls must agree to be the same call, and a call in one line."""

from __future__ import annotations

from functools import lru_cache

from kebpf.protocols.base import Document
from kebpf.protocols.postgres.statements import forget_cursor_name

_MAX_LINE = 100


def identity(request: Document) -> Document:
    """SQL (white space around it and semicolons at its end off), parameters, COPY data, database.

    The database is ``None`` where the recording did not see the connection's start-up, and for
    session matters, which are the same in every database.
    Names, types and formats are a connection's own affair: a cursor is told by its query and the
    parameters of that.  ``piece`` tells the executions of a portal apart that is read in pieces,
    ``describe`` a description from a call of the same SQL.
    """
    kind = request.get("kind")
    if kind == "query":
        return _query_identity(request)
    if kind == "describe":
        return {"operation": trim_sql(request.get("sql")), "describe": True}
    if kind == "function":
        operation = f"function {request.get('oid')}"
        arguments = list(request.get("arguments", []))
        return {
            "operation": operation,
            "parameters": arguments,
            "database": request.get("database"),
        }
    if kind == "startup":
        user, database = request.get("user"), request.get("database")
        return {"operation": "startup", "user": user, "database": database}
    return {"operation": str(kind)}


def _query_identity(request: Document) -> Document:
    sql = request.get("sql")
    operation = _trim_known(sql) if request.get("parameters") else trim_sql(sql)
    if request.get("cursor") or operation[:8].upper() == "DECLARE ":
        operation = forget_cursor_name(operation)
    found: Document = {
        "operation": operation,
        "parameters": list(request.get("parameters") or []),
        "copy_data": request.get("copy_data"),
        "database": request.get("database"),
    }
    for name in ("piece", "copy_fail", "statement", "cursor"):
        if request.get(name):
            found[name] = request[name]
    return found


def trim_sql(sql: str | None) -> str:
    """Without white space around it and semicolons at its end."""
    text = (sql or "").strip()
    while text.endswith(";"):
        text = text[:-1].rstrip()
    return text


_trim_known = lru_cache(512)(trim_sql)  # of statements with parameters, which come again


def describe(request: Document) -> str:
    """The call in one line of at most 100 characters."""
    kind = request.get("kind")
    if kind in ("query", "describe"):
        return _describe_query(request)
    if kind == "startup":
        return f"connect to {request.get('database')} as {request.get('user')}"[:_MAX_LINE]
    if kind == "function":
        return f"call function {request.get('oid')}"
    return str(kind)


def _describe_query(request: Document) -> str:
    sql = trim_sql(request.get("sql"))
    line = " ".join(sql.split()) or "(empty query)"
    if request.get("sql") is None:
        line = f'execute "{request.get("statement", "")}" (SQL not known)'
    if request.get("kind") == "describe":
        line = f"describe {line}"
    tail = _describe_parameters(request.get("parameters") or [])
    if request.get("copy_data") is not None:
        tail += f" ({len(request['copy_data'])} bytes)"
    room = _MAX_LINE - len(tail)
    return (line if len(line) <= room else line[: room - 2] + " …") + tail


def _describe_parameters(parameters: list[object]) -> str:
    if not parameters:
        return ""
    text = ", ".join("NULL" if p is None else repr(p) for p in parameters)
    return f" [{text if len(text) <= 48 else text[:46] + ' …'}]"
