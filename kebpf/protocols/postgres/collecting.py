"""Gathers one exchange of the query kind: the server's messages from its first to its last."""

from __future__ import annotations

from collections.abc import Callable

from kebpf.protocols.base import Document, Exchange, Mark, ProtocolError
from kebpf.protocols.postgres import messages as m
from kebpf.protocols.postgres.documents import (
    column_document,
    new_response,
    new_result,
    printable,
    report_document,
    row_decoder,
    unknown_columns,
)
from kebpf.protocols.postgres.types import Value

# What one exchange may hold; the rest is counted, dropped and the exchange marked.
MAX_EXCHANGE_SIZE = 64 * 1024 * 1024

# Tags pg_stat_statements has no call for.
_UNCOUNTED_TAGS = frozenset(("PREPARE", "DEALLOCATE", "DEALLOCATE ALL"))


class Collector:
    """The response to one Query, Execute or FunctionCall as it comes in."""

    def __init__(self, request: Document, start: Mark, end: Mark) -> None:
        self.request = request
        self.request_start = start
        self.request_end = end
        self.response = new_response()
        self.problem: str | None = None
        self.response_start: Mark | None = None
        self.response_end: Mark | None = None
        self.is_copying_in = False
        self.formats: list[int] = []
        self.sequel = False
        self._size = 0
        self._copy_in = bytearray()
        self._result: Document | None = None
        self._decode: Callable[[list[bytes | None]], list[Value]] | None = None

    @property
    def done_statements(self) -> int:
        """How many statements of the query have completed."""
        return len(self.response["results"])

    def describe_columns(self, columns: list[Document] | None) -> None:
        """The columns of the rows to come."""
        self._current()["columns"] = columns
        self._decode = row_decoder(columns) if columns is not None else None

    def mark(self, start: Mark, end: Mark) -> None:
        """Notes where a message of the response was."""
        if self.response_start is None:
            self.response_start = start
        self.response_end = end

    def add_row(self, message: m.DataRow) -> None:
        """Raises ``ProtocolError`` if the row does not fit its description."""
        result = self._current()
        if self._decode is None:
            self.describe_columns(unknown_columns(len(message.values), self.formats))
        if not self._has_room(sum(len(v) for v in message.values if v)) or not self._decode:
            return
        try:
            result["rows"].append(self._decode(message.values))
        except ValueError as error:
            raise ProtocolError("a DataRow does not fit its RowDescription") from error

    def add_notice(self, message: m.NoticeResponse) -> None:
        self.response["notices"].append(report_document(message.fields))

    def add_parameter(self, message: m.ParameterStatus) -> None:
        self.response.setdefault("parameters", {})[message.name] = printable(message.value)

    def start_copy(self, message: m.CopyResponse) -> None:
        """A CopyInResponse, CopyOutResponse or CopyBothResponse came."""
        self._current()["copy"] = {
            "direction": message.direction,
            "format": message.format,
            "column_formats": list(message.column_formats),
            "data": [],
        }
        self.is_copying_in = message.direction != "out"

    def add_copy_out(self, data: bytes) -> None:
        copy = self._current()["copy"]
        if copy is None:
            raise ProtocolError("CopyData outside COPY")
        if self._has_room(len(data)):
            copy["data"].append(data)

    def add_copy_in(self, data: bytes) -> None:
        if self._has_room(len(data)):
            self._copy_in += data

    def end_copy_in(self, failure: str | None, end: Mark) -> None:
        """CopyDone, or CopyFail with its message."""
        self.is_copying_in = False
        self.request_end = end
        self.request["copy_data"] = bytes(self._copy_in)
        if failure is not None:
            self.request["copy_fail"] = printable(failure)

    def complete(self, tag: str | None, suspended: bool = False) -> None:
        """A statement ended (CommandComplete, PortalSuspended; ``None``: EmptyQueryResponse)."""
        result = self._current()
        result["tag"] = tag
        result["suspended"] = suspended
        self.response["results"].append(result)
        self._result = self._decode = None

    def fail(self, message: m.ErrorResponse) -> None:
        """The server refused; what the statement had given so far stays a result."""
        if self._result is not None:
            if self._copy_in or self.is_copying_in:
                self.request["copy_data"] = bytes(self._copy_in)
            self.response["results"].append(self._result)
            self._result = None
        self.is_copying_in = False
        self.response["error"] = report_document(message.fields)

    def make_exchange(self, problem: str | None = None) -> Exchange:
        """The exchange as far as it came."""
        if self._result is not None:
            self.response["results"].append(self._result)
            self._result = None
        has_response = self.response_start is not None
        return Exchange(
            protocol="postgres",
            request=self.request,
            response=self.response if has_response else None,
            request_start=self.request_start,
            request_end=self.request_end,
            response_start=self.response_start,
            response_end=self.response_end,
            problem=self.problem or problem,
            calls=self._count_calls(),
        )

    def _count_calls(self) -> int:
        if self.sequel:
            return 0
        results = self.response["results"]
        return sum(
            bool(r["suspended"]) or (r["tag"] is not None and r["tag"] not in _UNCOUNTED_TAGS)
            for r in results
        )

    def _current(self) -> Document:
        if self._result is None:
            self._result = new_result()
        return self._result

    def _has_room(self, size: int) -> bool:
        self._size += size + 16
        if self._size > MAX_EXCHANGE_SIZE:
            self.problem = f"larger than {MAX_EXCHANGE_SIZE} bytes"
            return False
        return True


def describe_row(message: m.RowDescription) -> list[Document]:
    """The columns of a RowDescription."""
    return [column_document(column) for column in message.columns]
