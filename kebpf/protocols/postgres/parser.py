"""Payloads of frames → messages, for both sides (section 55.7, message formats)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

from kebpf.protocols.base import ProtocolError
from kebpf.protocols.postgres import messages as m

_T = TypeVar("_T")

_COLUMN = struct.Struct("!IhIhih")
_COPY_DIRECTIONS = {b"G": "in", b"H": "out", b"W": "both"}
_STATUSES = frozenset("ITE")


class _Fields:
    """Reads the fields of one payload in order; every read raises ``ProtocolError`` at its end."""

    __slots__ = ("data", "position")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def take(self, size: int) -> bytes:
        end = self.position + size
        if size < 0 or end > len(self.data):
            raise ProtocolError("a message is shorter than its fields")
        taken = self.data[self.position : end]
        self.position = end
        return taken

    def rest(self) -> bytes:
        return self.take(len(self.data) - self.position)

    def uint8(self) -> int:
        return self.take(1)[0]

    def int16(self) -> int:
        return int.from_bytes(self.take(2), "big", signed=True)

    def uint32(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def string(self) -> str:
        end = self.data.find(b"\0", self.position)
        if end < 0:
            raise ProtocolError("a string in a message has no end")
        text = self.data[self.position : end].decode("utf-8", "surrogateescape")
        self.position = end + 1
        return text

    def value(self) -> bytes | None:
        size = int.from_bytes(self.take(4), "big", signed=True)
        return None if size == -1 else self.take(size)

    def int16s(self) -> list[int]:
        count = self._count()
        if not count:
            return []
        if count == 1:
            return [self.int16()]
        return list(struct.unpack(f"!{count}h", self.take(2 * count)))

    def oids(self) -> list[int]:
        count = self._count()
        return list(struct.unpack(f"!{count}I", self.take(4 * count))) if count else []

    def values(self) -> list[bytes | None]:
        """As many calls of `value`, which is what most bytes of most connections are read by."""
        values: list[bytes | None] = []
        count, data = self._count(), self.data
        position = self.position
        for _ in range(count):
            start = position + 4
            size = int.from_bytes(data[position:start], "big", signed=True)
            position = start if size == -1 else start + size
            if size < -1 or start > len(data) or position > len(data):
                raise ProtocolError("a message is shorter than its fields")
            values.append(None if size == -1 else data[start:position])
        self.position = position
        return values

    def _count(self) -> int:
        start = self.position
        self.position = end = start + 2
        if end > len(self.data):
            raise ProtocolError("a message is shorter than its fields")
        return int.from_bytes(self.data[start:end], "big")

    def finish(self) -> None:
        if self.position != len(self.data):
            raise ProtocolError("a message is longer than its fields")


def parse_untyped(payload: bytes) -> m.UntypedMessage:
    """A message without a type byte.  Raises ``ProtocolError``."""
    fields = _Fields(payload)
    code = fields.uint32()
    if code == m.SSL_REQUEST_CODE:
        return _finish(fields, m.SSLRequest())
    if code == m.GSSENC_REQUEST_CODE:
        return _finish(fields, m.GSSENCRequest())
    if code == m.CANCEL_REQUEST_CODE:
        return m.CancelRequest(fields.uint32(), fields.rest())
    if code >> 16 != 3:
        raise ProtocolError(f"protocol version {code >> 16}.{code & 0xFFFF} is not spoken here")
    return _finish(fields, m.StartupMessage(_read_options(fields), code))


def _read_options(fields: _Fields) -> list[tuple[str, str]]:
    options = []
    while name := fields.string():
        options.append((name, fields.string()))
    return options


def _finish(fields: _Fields, message: _T) -> _T:
    fields.finish()
    return message


def _described(fields: _Fields) -> tuple[str, str]:
    kind = chr(fields.uint8())
    if kind not in "SP":
        raise ProtocolError("neither a statement nor a portal is named")
    return kind, fields.string()


def _bind(fields: _Fields) -> m.Bind:
    return m.Bind(
        fields.string(), fields.string(), fields.int16s(), fields.values(), fields.int16s()
    )


def _function_call(fields: _Fields) -> m.FunctionCall:
    return m.FunctionCall(fields.uint32(), fields.int16s(), fields.values(), fields.int16())


_FRONTEND: dict[bytes, Callable[[_Fields], Any]] = {
    b"Q": lambda f: m.Query(f.string()),
    b"P": lambda f: m.Parse(f.string(), f.string(), f.oids()),
    b"B": _bind,
    b"D": lambda f: m.Describe(*_described(f)),
    b"E": lambda f: m.Execute(f.string(), f.uint32()),
    b"C": lambda f: m.Close(*_described(f)),
    b"F": _function_call,
    b"H": lambda f: m.Flush(),
    b"S": lambda f: m.Sync(),
    b"X": lambda f: m.Terminate(),
    b"d": lambda f: m.CopyData(f.rest()),
    b"c": lambda f: m.CopyDone(),
    b"f": lambda f: m.CopyFail(f.string()),
    b"p": lambda f: m.PasswordMessage(f.rest()),
}


def parse_frontend(kind: bytes, payload: bytes) -> m.FrontendMessage:
    """A message of the client, not to be changed.  Raises ``ProtocolError``."""
    if kind in _OFTEN_EQUAL and len(payload) <= _SHORT_SIZE:
        return _parse_short(kind, payload)
    return _parse_frontend(kind, payload)


def _parse_frontend(kind: bytes, payload: bytes) -> m.FrontendMessage:
    reader = _FRONTEND.get(kind)
    if reader is None:
        raise ProtocolError(f"no client message has the type byte {kind!r}")
    fields = _Fields(payload)
    message: m.FrontendMessage = reader(fields)
    return _finish(fields, message)


_OFTEN_EQUAL = frozenset((b"D", b"E", b"C", b"H", b"S"))  # of texts and numbers only
_SHORT_SIZE = 64
_parse_short = lru_cache(1024)(_parse_frontend)


def _column(fields: _Fields) -> m.Column:
    name = fields.string()
    return m.Column(name, *_COLUMN.unpack(fields.take(_COLUMN.size)))


def _row_description(fields: _Fields) -> m.RowDescription:
    count = fields.int16()
    return m.RowDescription([_column(fields) for _ in range(count)])


def _report(fields: _Fields) -> dict[str, str]:
    report = {}
    while code := fields.uint8():
        report[chr(code)] = fields.string()
    return report


def _ready(fields: _Fields) -> m.ReadyForQuery:
    status = chr(fields.uint8())
    if status not in _STATUSES:
        raise ProtocolError("a ReadyForQuery has an unknown status")
    return m.ReadyForQuery(status)


def _negotiate(fields: _Fields) -> m.NegotiateProtocolVersion:
    minor = fields.uint32()
    count = fields.uint32()
    options = []
    for _ in range(min(count, len(fields.data))):
        options.append(fields.string())
    return m.NegotiateProtocolVersion(minor, options)


def _notification(fields: _Fields) -> m.NotificationResponse:
    return m.NotificationResponse(fields.uint32(), fields.string(), fields.string())


_BACKEND: dict[bytes, Callable[[_Fields], Any]] = {
    b"R": lambda f: m.Authentication(f.uint32(), f.rest()),
    b"K": lambda f: m.BackendKeyData(f.uint32(), f.rest()),
    b"S": lambda f: m.ParameterStatus(f.string(), f.string()),
    b"Z": _ready,
    b"T": _row_description,
    b"D": lambda f: m.DataRow(f.values()),
    b"C": lambda f: m.CommandComplete(f.string()),
    b"I": lambda f: m.EmptyQueryResponse(),
    b"s": lambda f: m.PortalSuspended(),
    b"1": lambda f: m.ParseComplete(),
    b"2": lambda f: m.BindComplete(),
    b"3": lambda f: m.CloseComplete(),
    b"n": lambda f: m.NoData(),
    b"t": lambda f: m.ParameterDescription(f.oids()),
    b"E": lambda f: m.ErrorResponse(_report(f)),
    b"N": lambda f: m.NoticeResponse(_report(f)),
    b"A": _notification,
    b"d": lambda f: m.CopyData(f.rest()),
    b"c": lambda f: m.CopyDone(),
    b"V": lambda f: m.FunctionCallResponse(f.value()),
    b"v": _negotiate,
}


def parse_backend(kind: bytes, payload: bytes) -> m.BackendMessage:
    """A message of the server.  Raises ``ProtocolError``."""
    fields = _Fields(payload)
    direction = _COPY_DIRECTIONS.get(kind)
    if direction is not None:
        return _finish(fields, m.CopyResponse(direction, fields.uint8(), fields.int16s()))
    reader = _BACKEND.get(kind)
    if reader is None:
        raise ProtocolError(f"no server message has the type byte {kind!r}")
    message: m.BackendMessage = reader(fields)
    return _finish(fields, message)
