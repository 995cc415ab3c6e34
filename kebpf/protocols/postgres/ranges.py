"""Binary ⇄ text of ranges and multiranges of any type (section 8.17; range_send, range_out)."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

Decoder = Callable[[bytes], str]
Encoder = Callable[[str], bytes]

_EMPTY, _LOWER_IN, _UPPER_IN, _LOWER_INFINITE, _UPPER_INFINITE = 1, 2, 4, 8, 16
_NEEDS_QUOTES = re.compile(r'[()\[\],"\\\s]|\A\Z')
_BOUND = re.compile(r'(?:[^"\\(),\[\]]|\\.|"(?:[^"\\]|\\.|"")*")*', re.DOTALL)
_ESCAPED = re.compile(r'\\(.)|""|"', re.DOTALL)


def decode_range(raw: bytes, decode: Decoder) -> str:
    """Raises ``ValueError``, ``struct.error`` or what ``decode`` raises."""
    if not raw:
        raise ValueError("a range without flags")
    flags, position = raw[0], 1
    if flags & _EMPTY:
        return "empty"
    bounds = []
    for is_infinite in (flags & _LOWER_INFINITE, flags & _UPPER_INFINITE):
        if is_infinite:
            bounds.append("")
            continue
        bound, position = _take(raw, position)
        bounds.append(_quote(decode(bound)))
    if position != len(raw):
        raise ValueError("bytes after a range")
    opening, closing = "[" if flags & _LOWER_IN else "(", "]" if flags & _UPPER_IN else ")"
    return f"{opening}{bounds[0]},{bounds[1]}{closing}"


def _take(raw: bytes, position: int) -> tuple[bytes, int]:
    (size,) = struct.unpack_from("!i", raw, position)
    end = position + 4 + size
    if size < 0 or end > len(raw):
        raise ValueError("a bound of an impossible length")
    return raw[position + 4 : end], end


def _quote(text: str) -> str:
    if not _NEEDS_QUOTES.search(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '""') + '"'


def encode_range(text: str, encode: Encoder) -> bytes:
    """Raises ``ValueError`` or what ``encode`` raises."""
    raw, end = _read_range(text, 0, encode)
    if end != len(text):
        raise ValueError("text after a range")
    return raw


def _read_range(text: str, position: int, encode: Encoder) -> tuple[bytes, int]:
    if text.startswith("empty", position):
        return bytes([_EMPTY]), position + len("empty")
    lower = _match_bound(text, position + 1)
    upper = _match_bound(text, lower.end() + 1)
    opening, closing = text[position : position + 1], text[upper.end() : upper.end() + 1]
    if opening not in ("[", "(") or text[lower.end() : lower.end() + 1] != ",":
        raise ValueError("not a range")
    if closing not in ("]", ")"):
        raise ValueError("a range without an end")
    flags = _LOWER_IN * (opening == "[") | _UPPER_IN * (closing == "]")
    flags |= _LOWER_INFINITE * (not lower[0]) | _UPPER_INFINITE * (not upper[0])
    bounds = [encode(_ESCAPED.sub(_unescape, one[0])) for one in (lower, upper) if one[0]]
    return bytes([flags]) + b"".join(map(_pack, bounds)), upper.end() + 1


def _match_bound(text: str, position: int) -> re.Match[str]:
    match = _BOUND.match(text, position)
    if match is None:
        raise ValueError("a range without a bound")
    return match


def _unescape(match: re.Match[str]) -> str:
    return match[1] or ('"' if match[0] == '""' else "")


def _pack(raw: bytes) -> bytes:
    return len(raw).to_bytes(4, "big") + raw


def decode_multirange(raw: bytes, decode: Decoder) -> str:
    """Raises ``ValueError``, ``struct.error`` or what ``decode`` raises."""
    (count,) = struct.unpack_from("!I", raw)
    position, parts = 4, []
    for _ in range(count):
        part, position = _take(raw, position)
        parts.append(decode_range(part, decode))
    if position != len(raw):
        raise ValueError("bytes after a multirange")
    return "{" + ",".join(parts) + "}"


def encode_multirange(text: str, encode: Encoder) -> bytes:
    """Raises ``ValueError`` or what ``encode`` raises."""
    if text[:1] != "{" or text[-1:] != "}":
        raise ValueError("not a multirange")
    position, parts = 1, list[bytes]()
    while text[position:] != "}":
        if parts:
            if text[position] != ",":
                raise ValueError("ranges without a comma between")
            position += 1
        part, position = _read_range(text, position, encode)
        parts.append(_pack(part))
    return struct.pack("!I", len(parts)) + b"".join(parts)
