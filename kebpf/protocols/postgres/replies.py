"""Documents of responses → what the server sends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from functools import lru_cache
from operator import itemgetter

from kebpf.protocols.base import Document
from kebpf.protocols.postgres import messages as m
from kebpf.protocols.postgres.documents import read_column, report_fields, spread_formats
from kebpf.protocols.postgres.synthesis import UNCONVERTIBLE_CODE, SessionError
from kebpf.protocols.postgres.types import ConversionError, Value, encode_value
from kebpf.protocols.postgres.writer import frame, write

_MOST_DESCRIPTIONS = 256
_MOST_TAGS = 256
_MOST_KEPT = 256
_MAX_KEPT_SIZE = 4096  # bytes of one answer
_COLUMN_FACTS = ("name", *(f.name for f in fields(m.Column) if f.name not in ("name", "format")))
_READ_FACTS = itemgetter(*_COLUMN_FACTS)


class KeptBytes:
    """Parts of recorded responses, which never change, as they were sent before.

    A part is told by being the very object, which cannot be another as long as it is kept.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[int, object], tuple[object, bytes]] = {}

    def find(self, part: object, form: object) -> bytes | None:
        """What the part was sent as in some form."""
        found = self._kept.get((id(part), form))
        return None if found is None else found[1]

    def keep(self, part: object, form: object, data: bytes) -> bytes:
        """From now on the part is ``data`` in that form; gives it back."""
        if len(data) <= _MAX_KEPT_SIZE:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            self._kept[id(part), form] = part, data
        return data


KEPT = KeptBytes()


def error_bytes(document: Document) -> bytes:
    """An ErrorResponse."""
    return write(m.ErrorResponse(report_fields(document)))


def notice_bytes(documents: Sequence[Document]) -> bytes:
    """NoticeResponses."""
    return b"".join(write(m.NoticeResponse(report_fields(d))) for d in documents)


def notification_bytes(told: Sequence[tuple[str, str]], process_id: int) -> bytes:
    """NotificationResponses of channels and payloads."""
    return b"".join(write(m.NotificationResponse(process_id, *one)) for one in told)


def parameter_bytes(parameters: dict[str, str]) -> bytes:
    """ParameterStatus messages."""
    return b"".join(write(m.ParameterStatus(n, v)) for n, v in parameters.items())


def description_bytes(columns: Sequence[Document] | None, formats: Sequence[int]) -> bytes:
    """RowDescription or NoData.  Raises `SessionError` if the columns were never described."""
    if columns is None:
        return write(m.NoData())
    if any(int(c["type_oid"]) == 0 for c in columns):
        raise SessionError(UNCONVERTIBLE_CODE, "the recording has no description of these columns")
    return _describe_columns(tuple(map(_READ_FACTS, columns)), tuple(formats))


@lru_cache(_MOST_DESCRIPTIONS)
def _describe_columns(facts: tuple[tuple[object, ...], ...], formats: tuple[int, ...]) -> bytes:
    columns = [dict(zip(_COLUMN_FACTS, one, strict=True)) for one in facts]
    spread = spread_formats(formats, len(columns))
    return write(
        m.RowDescription([read_column(c, f) for c, f in zip(columns, spread, strict=True)])
    )


def row_bytes(
    columns: Sequence[Document], rows: Sequence[Sequence[Value]], formats: Sequence[int]
) -> bytes:
    """DataRows.  Raises `SessionError` for a value that is not known in its format."""
    if not rows:
        return b""
    if not any(formats) and all(c["type_oid"] for c in columns):
        written = [_write_texts(row) for row in rows if len(row) == len(columns)]
        if len(written) == len(rows) and None not in written:
            return b"".join(written)  # type: ignore[arg-type]
    spread = spread_formats(formats, len(columns))
    kinds = [
        (int(c["type_oid"]), f, int(c["format"])) for c, f in zip(columns, spread, strict=True)
    ]
    out = []
    for row in rows:
        values = [
            _encode(kind, value, column)
            for kind, value, column in zip(kinds, row, columns, strict=True)
        ]
        out.append(write(m.DataRow(values)))
    return b"".join(out)


def _write_texts(row: Sequence[Value]) -> bytes | None:
    """A DataRow of texts, as most are; ``None`` where a value is none."""
    parts = [len(row).to_bytes(2, "big")]
    for value in row:
        if type(value) is str:
            data = value.encode()
            parts += (len(data).to_bytes(4, "big"), data)
        elif value is None:
            parts.append(b"\xff\xff\xff\xff")
        else:
            return None
    return frame(b"D", b"".join(parts))


def _encode(kind: tuple[int, int, int], value: Value, column: Document) -> bytes | None:
    oid, wanted, known = kind
    if oid == 0 and wanted != known:
        raise SessionError(UNCONVERTIBLE_CODE, "the recording has no type for this column")
    if wanted == m.TEXT_FORMAT and type(value) is str:  # as most are
        return value.encode()
    try:
        return encode_value(oid, wanted, value, known)
    except ConversionError as error:
        raise SessionError(UNCONVERTIBLE_CODE, f"column {column['name']}: {error}") from error


def copy_bytes(copy: Document) -> bytes:
    """CopyOutResponse, the data and CopyDone."""
    head = m.CopyResponse("out", int(copy["format"]), list(copy["column_formats"]))
    return write(head) + b"".join(frame(b"d", d) for d in copy["data"]) + write(m.CopyDone())


def result_bytes(result: Document) -> bytes:
    """The result of one statement of a simple query.  Raises `SessionError`."""
    out = b""
    columns = result.get("columns")
    copy = result.get("copy")
    if columns is not None:
        out += description_bytes(columns, [])
        out += row_bytes(columns, result["rows"], [])
    elif copy is not None and copy["direction"] == "out":
        out += copy_bytes(copy)
    return out + end_bytes(result)


@lru_cache(_MOST_TAGS)
def complete_bytes(tag: str) -> bytes:
    """A CommandComplete."""
    return write(m.CommandComplete(tag))


def end_bytes(result: Document) -> bytes:
    """CommandComplete, EmptyQueryResponse, PortalSuspended, or nothing if an error cut it off."""
    if result.get("suspended"):
        return write(m.PortalSuspended())
    tag = result.get("tag")
    return complete_bytes(str(tag)) if tag is not None else b""


def response_bytes(response: Document) -> bytes:
    """The whole response to a simple query but for ReadyForQuery.  Raises `SessionError`."""
    results, error = response.get("results", []), response.get("error")
    if error or response.get("notices"):
        return _response_bytes(response)
    known = KEPT.find(results, None)
    return KEPT.keep(results, None, _response_bytes(response)) if known is None else known


def _response_bytes(response: Document) -> bytes:
    out = notice_bytes(response.get("notices", ()))
    results, error = response.get("results", []), response.get("error")
    for index, result in enumerate(results):
        out += result_bytes(result)
        is_last = index == len(results) - 1
        if result.get("tag") is None and not result.get("suspended") and not (is_last and error):
            out += write(m.EmptyQueryResponse())
    return out + (error_bytes(error) if error else b"")
