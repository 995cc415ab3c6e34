"""Reads commands and replies that lie whole in one piece, as nearly all do, in one go.

What is unusual in any way (inline commands, RESP3's own types, numbers that are not canonical) is
not read here but by the parsers, which give the same for what is.
"""

from __future__ import annotations

from kebpf.protocols.base import Document
from kebpf.protocols.redis.text import Text

#: Larger pieces go to the parsers, which look after the caps.
MAX_PIECE_SIZE = 64 << 10
_MAX_DEPTH = 8

_STAR, _DOLLAR, _PLUS, _COLON = b"*$+:"
# Reads a length and judges its form at once: `parse_length` of these bytes.
_NUMBERS = {b"%d" % number: number for number in range(4096)}


def read_command(data: bytes, at: int) -> tuple[Document | None, int]:
    """The array command at ``at`` and where it ends; ``None`` if it is not whole or unusual."""
    end = data.find(b"\r\n", at)
    count = _NUMBERS.get(data[at + 1 : end]) if end > 0 and data[at] == _STAR else None
    if not count:
        return None, at
    arguments: list[Text] = []
    at = end + 2
    for _ in range(count):
        end = data.find(b"\r\n", at)
        if end < 0 or data[at] != _DOLLAR:
            return None, at
        size = _NUMBERS.get(data[at + 1 : end])
        if size is None:
            return None, at
        at = end + 4 + size
        payload = data[end + 2 : at - 2]
        if data[at - 2 : at] != b"\r\n":
            return None, at
        try:
            arguments.append(payload.decode())
        except UnicodeDecodeError:
            arguments.append(payload)
    return {"command": arguments}, at


def read_reply(data: bytes, at: int, depth: int = 0) -> tuple[Document | None, int]:
    """The reply at ``at`` and where it ends; ``None`` if it is not whole or unusual."""
    end = data.find(b"\r\n", at)
    if end < 0:
        return None, at
    kind, line, at = data[at], data[at + 1 : end], end + 2
    if kind == _DOLLAR:
        return _read_bulk(data, line, at)
    if kind == _STAR:
        return _read_array(data, line, at, depth)
    if kind == _COLON:
        number = _NUMBERS.get(line)
        return None if number is None else {"type": "integer", "value": number}, at
    if kind in b"+-" and b"\n" not in line and b"\r" not in line:
        return _make_text("simple" if kind == _PLUS else "error", line), at
    return None, at


def _read_bulk(data: bytes, line: bytes, at: int) -> tuple[Document | None, int]:
    size = _NUMBERS.get(line)
    if size is None:
        return {"type": "null-bulk"} if line == b"-1" else None, at
    end = at + size
    if data[end : end + 2] != b"\r\n":
        return None, at
    return _make_text("bulk", data[at:end]), end + 2


def _make_text(type_: str, data: bytes) -> Document:
    try:
        return {"type": type_, "value": data.decode()}
    except UnicodeDecodeError:
        return {"type": type_, "value": data}


def _read_array(data: bytes, line: bytes, at: int, depth: int) -> tuple[Document | None, int]:
    count = _NUMBERS.get(line)
    if count is None or depth > _MAX_DEPTH:
        return {"type": "null-array"} if line == b"-1" and depth <= _MAX_DEPTH else None, at
    items: list[Document] = []
    for _ in range(count):
        item, at = read_reply(data, at, depth + 1)
        if item is None:
            return None, at
        items.append(item)
    return {"type": "array", "items": items}, at
