"""Commands and reply trees to bytes: the exact reverse of the parsers."""

from __future__ import annotations

from typing import Any

from kebpf.protocols.base import Document, ProtocolError
from kebpf.protocols.redis.replies import AGGREGATES, BLOBS, LINES
from kebpf.protocols.redis.text import Text, to_bytes

_LINE_BYTES = {name: byte for byte, name in LINES.items()}
_AGGREGATE_BYTES = {name: byte for byte, name in AGGREGATES.items()}
_BLOB_BYTES = {name: byte for byte, name in BLOBS.items()}
_NULLS = {"null": b"_\r\n", "null-bulk": b"$-1\r\n", "null-array": b"*-1\r\n"}


def write_command(arguments: list[Text]) -> bytes:
    """A command as an array of bulk strings."""
    parts = [b"*%d\r\n" % len(arguments)]
    for argument in arguments:
        data = to_bytes(argument)
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


def write_request(request: Document) -> bytes:
    """A request document: a command, or a transaction from MULTI to EXEC."""
    if "inline" in request:
        return to_bytes(request["inline"])
    if "queued" not in request:
        return write_command(request["command"])
    commands = [["MULTI"], *request["queued"], request["command"]]
    return b"".join(write_command(command) for command in commands)


def write_response(response: Document) -> bytes:
    """A response document: its reply, its replies, or a transaction's from MULTI's on."""
    if "replies" in response:
        return b"".join(write_reply(reply) for reply in response["replies"])
    return write_reply(response["reply"])


def write_reply(tree: Document) -> bytes:
    """A reply tree.  Raises `ProtocolError` for a type that does not exist."""
    parts: list[bytes] = []
    _write(tree, parts)
    return b"".join(parts)


def _write(tree: Document, parts: list[bytes]) -> None:
    type_ = tree["type"]
    if type_ in _AGGREGATE_BYTES:
        _write_aggregate(tree, parts)
    elif type_ == "streamed-bulk":
        chunks = [to_bytes(chunk) for chunk in tree["chunks"]]
        parts += [b"$?\r\n", *(b";%d\r\n%b\r\n" % (len(c), c) for c in chunks), b";0\r\n"]
    else:
        parts.append(_write_scalar(type_, tree))


def _write_aggregate(tree: Document, parts: list[bytes]) -> None:
    type_, items = tree["type"], tree["items"]
    is_streamed = tree.get("streamed", False)
    count = len(items) // 2 if type_ in ("map", "attribute") else len(items)
    parts.append(_AGGREGATE_BYTES[type_] + (b"?" if is_streamed else b"%d" % count) + b"\r\n")
    for item in items:
        _write(item, parts)
    if is_streamed:
        parts.append(b".\r\n")
    if type_ == "attribute":
        _write(tree["reply"], parts)


def _write_scalar(type_: str, tree: Document) -> bytes:
    if type_ in _NULLS:
        return _NULLS[type_]
    value: Any = tree["value"]
    if type_ == "boolean":
        return b"#t\r\n" if value else b"#f\r\n"
    data = str(value).encode() if isinstance(value, int) else to_bytes(value)
    if type_ in _LINE_BYTES:
        return _LINE_BYTES[type_] + data + b"\r\n"
    if type_ not in _BLOB_BYTES:
        raise ProtocolError(f"there is no reply type {type_!r}")
    if type_ == "verbatim":
        data = to_bytes(tree["format"]) + b":" + data
    return b"%b%d\r\n%b\r\n" % (_BLOB_BYTES[type_], len(data), data)
