"""Messages → bytes on the wire, for both sides (section 55.7, message formats)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from kebpf.protocols.postgres import messages as m

_COPY_KINDS = {"in": b"G", "out": b"H", "both": b"W"}


def frame(kind: bytes, payload: bytes = b"") -> bytes:
    """A frame; ``kind`` is empty for the untyped messages."""
    return kind + (len(payload) + 4).to_bytes(4, "big") + payload


def _string(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape") + b"\0"


def _strings(*texts: str) -> bytes:
    return b"".join(map(_string, texts))


def _value(value: bytes | None) -> bytes:
    return b"\xff\xff\xff\xff" if value is None else len(value).to_bytes(4, "big") + value


def _values(values: Sequence[bytes | None]) -> bytes:
    return struct.pack("!H", len(values)) + b"".join(map(_value, values))


def _int16s(numbers: Sequence[int]) -> bytes:
    return struct.pack(f"!H{len(numbers)}h", len(numbers), *numbers)


def _oids(oids: Sequence[int]) -> bytes:
    return struct.pack(f"!H{len(oids)}I", len(oids), *oids)


def _report(fields: dict[str, str]) -> bytes:
    return b"".join(k.encode("latin-1") + _string(v) for k, v in fields.items()) + b"\0"


def _startup(message: m.StartupMessage) -> bytes:
    pairs = b"".join(_strings(*pair) for pair in message.parameters)
    return struct.pack("!I", message.version) + pairs + b"\0"


def _bind(message: m.Bind) -> bytes:
    return (
        _strings(message.portal, message.statement)
        + _int16s(message.parameter_formats)
        + _values(message.parameters)
        + _int16s(message.result_formats)
    )


def _function_call(message: m.FunctionCall) -> bytes:
    return (
        struct.pack("!I", message.oid)
        + _int16s(message.argument_formats)
        + _values(message.arguments)
        + struct.pack("!h", message.result_format)
    )


def _column(column: m.Column) -> bytes:
    return _string(column.name) + struct.pack(
        "!IhIhih",
        column.table_oid,
        column.column,
        column.type_oid,
        column.type_size,
        column.type_modifier,
        column.format,
    )


def _row_description(message: m.RowDescription) -> bytes:
    return struct.pack("!H", len(message.columns)) + b"".join(map(_column, message.columns))


def _negotiate(message: m.NegotiateProtocolVersion) -> bytes:
    head = struct.pack("!II", message.minor, len(message.options))
    return head + _strings(*message.options)


def _notification(message: m.NotificationResponse) -> bytes:
    return struct.pack("!I", message.process_id) + _strings(message.channel, message.payload)


def _empty(message: object) -> bytes:
    return b""


# Keyed by class; CopyData and CopyDone are the same from both sides.
_WRITERS: dict[type, tuple[bytes, Callable[[Any], bytes]]] = {
    m.StartupMessage: (b"", _startup),
    m.SSLRequest: (b"", lambda x: struct.pack("!I", m.SSL_REQUEST_CODE)),
    m.GSSENCRequest: (b"", lambda x: struct.pack("!I", m.GSSENC_REQUEST_CODE)),
    m.CancelRequest: (
        b"",
        lambda x: struct.pack("!II", m.CANCEL_REQUEST_CODE, x.process_id) + x.secret_key,
    ),
    m.Query: (b"Q", lambda x: _string(x.sql)),
    m.Parse: (b"P", lambda x: _strings(x.name, x.sql) + _oids(x.type_oids)),
    m.Bind: (b"B", _bind),
    m.Describe: (b"D", lambda x: x.kind.encode() + _string(x.name)),
    m.Execute: (b"E", lambda x: _string(x.portal) + struct.pack("!I", x.max_rows)),
    m.Close: (b"C", lambda x: x.kind.encode() + _string(x.name)),
    m.FunctionCall: (b"F", _function_call),
    m.Flush: (b"H", _empty),
    m.Sync: (b"S", _empty),
    m.Terminate: (b"X", _empty),
    m.CopyData: (b"d", lambda x: x.data),
    m.CopyDone: (b"c", _empty),
    m.CopyFail: (b"f", lambda x: _string(x.message)),
    m.PasswordMessage: (b"p", lambda x: x.data),
    m.Authentication: (b"R", lambda x: struct.pack("!I", x.code) + x.data),
    m.BackendKeyData: (b"K", lambda x: struct.pack("!I", x.process_id) + x.secret_key),
    m.ParameterStatus: (b"S", lambda x: _strings(x.name, x.value)),
    m.ReadyForQuery: (b"Z", lambda x: x.status.encode()),
    m.RowDescription: (b"T", _row_description),
    m.DataRow: (b"D", lambda x: _values(x.values)),
    m.CommandComplete: (b"C", lambda x: _string(x.tag)),
    m.EmptyQueryResponse: (b"I", _empty),
    m.PortalSuspended: (b"s", _empty),
    m.ParseComplete: (b"1", _empty),
    m.BindComplete: (b"2", _empty),
    m.CloseComplete: (b"3", _empty),
    m.NoData: (b"n", _empty),
    m.ParameterDescription: (b"t", lambda x: _oids(x.type_oids)),
    m.ErrorResponse: (b"E", lambda x: _report(x.fields)),
    m.NoticeResponse: (b"N", lambda x: _report(x.fields)),
    m.NotificationResponse: (b"A", _notification),
    m.FunctionCallResponse: (b"V", lambda x: _value(x.value)),
    m.NegotiateProtocolVersion: (b"v", _negotiate),
}


def write(message: m.UntypedMessage | m.FrontendMessage | m.BackendMessage) -> bytes:
    """One message as bytes."""
    if isinstance(message, m.CopyResponse):
        payload = bytes([message.format]) + _int16s(message.column_formats)
        return frame(_COPY_KINDS[message.direction], payload)
    kind, write_payload = _WRITERS[type(message)]
    return frame(kind, write_payload(message))


def write_all(
    messages: Iterable[m.UntypedMessage | m.FrontendMessage | m.BackendMessage],
) -> bytes:
    """Several messages as bytes."""
    return b"".join(map(write, messages))
