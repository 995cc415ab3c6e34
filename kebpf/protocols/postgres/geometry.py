"""Binary ⇄ text of points and what is made of them (section 8.8; utils/adt/geo_ops.c)."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence

from kebpf.protocols.postgres.numeric import decode_float8, encode_float8

_NUMBER = re.compile(r"[^()<>\[\]{},\s]+")


def _read_numbers(raw: bytes) -> list[str]:
    if len(raw) % 8:
        raise ValueError("half a number")
    return [decode_float8(raw[at : at + 8]) for at in range(0, len(raw), 8)]


def _print_points(numbers: Sequence[str]) -> str:
    pairs = zip(numbers[::2], numbers[1::2], strict=True)
    return ",".join(f"({x},{y})" for x, y in pairs)


def _encode_numbers(text: str) -> bytes:
    return b"".join(map(encode_float8, _NUMBER.findall(text)))


def _fixed(count: int, layout: str) -> tuple[Callable[[bytes], str], Callable[[str], bytes]]:
    """Of a shape of ``count`` numbers; ``layout`` has a ``{}`` for each."""

    def decode(raw: bytes) -> str:
        numbers = _read_numbers(raw)
        if len(numbers) != count:
            raise ValueError("a shape of other numbers")
        return layout.format(*numbers)

    def encode(text: str) -> bytes:
        raw = _encode_numbers(text)
        if len(raw) != 8 * count:
            raise ValueError("a shape of other numbers")
        return raw

    return decode, encode


POINT = _fixed(2, "({},{})")
LSEG = _fixed(4, "[({},{}),({},{})]")
BOX = _fixed(4, "({},{}),({},{})")
LINE = _fixed(3, "{{{},{},{}}}")
CIRCLE = _fixed(3, "<({},{}),{}>")


def _take_points(raw: bytes) -> str:
    (count,) = struct.unpack_from("!I", raw)
    numbers = _read_numbers(raw[4:])
    if len(numbers) != 2 * count:
        raise ValueError("a shape of other points")
    return _print_points(numbers)


def _pack_points(text: str) -> bytes:
    raw = _encode_numbers(text)
    if not raw or len(raw) % 16:
        raise ValueError("not points")
    return struct.pack("!I", len(raw) // 16) + raw


def decode_polygon(raw: bytes) -> str:
    """Raises ``ValueError`` or ``struct.error``."""
    return f"({_take_points(raw)})"


def encode_polygon(text: str) -> bytes:
    """Raises ``ValueError``."""
    return _pack_points(text)


def decode_path(raw: bytes) -> str:
    """Raises ``ValueError`` or ``struct.error``."""
    points = _take_points(raw[1:])
    return f"({points})" if raw[0] else f"[{points}]"


def encode_path(text: str) -> bytes:
    """Raises ``ValueError``."""
    return bytes([text[:1] == "("]) + _pack_points(text)
