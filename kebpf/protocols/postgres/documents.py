"""Messages ⇄ the plain documents of exchanges: requests, results, errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kebpf.protocols.base import Document
from kebpf.protocols.postgres import messages as m
from kebpf.protocols.postgres.types import Value, decode_value

# Letters of error and notice fields (section 55.8).
FIELD_NAMES = {
    "S": "severity",
    "V": "severity_nonlocalized",
    "C": "code",
    "M": "message",
    "D": "detail",
    "H": "hint",
    "P": "position",
    "p": "internal_position",
    "q": "internal_query",
    "W": "where",
    "s": "schema",
    "t": "table",
    "c": "column",
    "d": "data_type",
    "n": "constraint",
    "F": "file",
    "L": "line",
    "R": "routine",
}
_FIELD_LETTERS = {name: letter for letter, name in FIELD_NAMES.items()}


def printable(text: str) -> str:
    """``text`` with what was not UTF-8 spelled out, so that it can be stored."""
    if text.isascii():
        return text
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def report_document(fields: dict[str, str]) -> Document:
    """The fields of an ErrorResponse or NoticeResponse by name."""
    return {FIELD_NAMES.get(k, k): printable(v) for k, v in fields.items()}


def report_fields(document: Document) -> dict[str, str]:
    """The reverse of `report_document`."""
    return {_FIELD_LETTERS.get(k, k[:1]): str(v) for k, v in document.items()}


def column_document(column: m.Column) -> Document:
    """One column of a result."""
    return {
        "name": printable(column.name),
        "type_oid": column.type_oid,
        "table_oid": column.table_oid,
        "column": column.column,
        "type_size": column.type_size,
        "type_modifier": column.type_modifier,
        "format": column.format,
    }


def read_column(document: Document, value_format: int) -> m.Column:
    """The column as a RowDescription in ``value_format`` has it."""
    return m.Column(
        name=str(document["name"]),
        table_oid=int(document["table_oid"]),
        column=int(document["column"]),
        type_oid=int(document["type_oid"]),
        type_size=int(document["type_size"]),
        type_modifier=int(document["type_modifier"]),
        format=value_format,
    )


def unknown_columns(count: int, formats: Sequence[int]) -> list[Document]:
    """Columns of a result that was never described: no name, type OID 0."""
    spread = spread_formats(formats, count)
    return [column_document(m.Column("", 0, 0, 0, 0, -1, f)) for f in spread]


def spread_formats(formats: Sequence[int], count: int) -> list[int]:
    """Format codes for ``count`` values: none means text, one means all (message Bind)."""
    if len(formats) <= 1:
        return [formats[0] if formats else m.TEXT_FORMAT] * count
    return [*formats, *([m.TEXT_FORMAT] * count)][:count]


def new_result() -> Document:
    """The result of one statement, nothing known yet."""
    return {"columns": None, "rows": [], "tag": None, "suspended": False, "copy": None}


def new_response() -> Document:
    """The response to a query, nothing known yet."""
    return {
        "results": [],
        "error": None,
        "notices": [],
        "status": None,
        "parameter_types": [],
    }


def make_request(sql: str | None, form: str = "simple", **values: Any) -> Document:
    """A query request with ``values`` over the defaults."""
    request: Document = {
        "kind": "query",
        "sql": sql,
        "parameters": [],
        "parameter_types": [],
        "form": form,
        "result_formats": [],
        "max_rows": 0,
        "copy_data": None,
    }
    request.update(values)
    return request


def cursor_document(sql: str, parameters: Sequence[Value]) -> Document:
    """What tells a cursor from others: its query, whatever its name is."""
    return {"sql": sql, "parameters": list(parameters)}


def name_database(request: Document, database: str | None) -> Document:
    """The request with the database in which it runs, ``None`` if that is not known."""
    return request if database is None else {**request, "database": database}


def decode_parameters(bind: m.Bind, type_oids: Sequence[int]) -> list[Value]:
    """Bound values as canonical text; ``bytes`` where the type is unknown."""
    formats = spread_formats(bind.parameter_formats, len(bind.parameters))
    oids = [*type_oids, *([0] * len(bind.parameters))]
    triples = zip(oids, formats, bind.parameters, strict=False)
    return [decode_value(oid, form, raw) for oid, form, raw in triples]


def row_decoder(columns: Sequence[Document]) -> Callable[[list[bytes | None]], list[Value]]:
    """Reads DataRows of ``columns``."""
    kinds = [(int(c["type_oid"]), int(c["format"])) for c in columns]

    def decode(values: list[bytes | None]) -> list[Value]:
        pairs = zip(kinds, values, strict=True)
        return [decode_value(oid, form, raw) for (oid, form), raw in pairs]

    return decode
