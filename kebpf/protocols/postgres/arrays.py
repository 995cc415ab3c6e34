"""Binary ⇄ text of arrays of any element type (section 8.15; array_send, array_out)."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator

Decoder = Callable[[bytes], str]
Encoder = Callable[[str], bytes]

# The server's own limits (MAXDIM, MaxArraySize as far as a frame can hold).
_MAX_DIMENSIONS = 6
_NEEDS_QUOTES = re.compile(r'[{}",\\ \t\n\r\v\f]|\A\Z|\Anull\Z', re.IGNORECASE)
_BOUNDS = re.compile(r"((?:\[[+-]?\d+:[+-]?\d+\])+)=")
_BOUND = re.compile(r"\[([+-]?\d+):([+-]?\d+)\]")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_PLAIN = re.compile(r'[^{}",]+')


def decode_array(raw: bytes, decode: Decoder) -> str:
    """Raises ``ValueError``, ``struct.error`` or what ``decode`` raises."""
    dimension_count, _, _ = struct.unpack_from("!iiI", raw)
    if dimension_count == 0:
        return "{}"
    if not 0 < dimension_count <= _MAX_DIMENSIONS:
        raise ValueError("an array of too many dimensions")
    numbers = struct.unpack_from(f"!{2 * dimension_count}i", raw, 12)
    sizes, lows = numbers[::2], numbers[1::2]
    items = _read_items(raw, 12 + 8 * dimension_count, decode)
    text = _print_level(items, sizes)
    if next(items, None) is not None:
        raise ValueError("an array with too many elements")
    if all(low == 1 for low in lows):
        return text
    bounds = zip(sizes, lows, strict=True)
    return "".join(f"[{low}:{low + size - 1}]" for size, low in bounds) + "=" + text


def _read_items(raw: bytes, position: int, decode: Decoder) -> Iterator[str]:
    while position < len(raw):
        (size,) = struct.unpack_from("!i", raw, position)
        position += 4
        if size == -1:
            yield "NULL"
            continue
        if size < 0 or position + size > len(raw):
            raise ValueError("an array element of an impossible length")
        yield _quote(decode(raw[position : position + size]))
        position += size


def _quote(text: str) -> str:
    if not _NEEDS_QUOTES.search(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _print_level(items: Iterator[str], sizes: tuple[int, ...]) -> str:
    parts = []
    for _ in range(sizes[0]):
        part = next(items, None) if len(sizes) == 1 else _print_level(items, sizes[1:])
        if part is None:
            raise ValueError("an array with too few elements")
        parts.append(part)
    return "{" + ",".join(parts) + "}"


def encode_array(text: str, element_oid: int, encode: Encoder) -> bytes:
    """Raises ``ValueError``."""
    match = _BOUNDS.match(text)
    lows = [int(low) for low, _ in _BOUND.findall(match[1])] if match else []
    reader = _TextReader(text, match.end() if match else 0)
    elements = reader.read()
    if not elements:
        return struct.pack("!iiI", 0, 0, element_oid)
    sizes = reader.sizes
    lows = lows or [1] * len(sizes)
    if len(lows) != len(sizes):
        raise ValueError("an array whose bounds do not fit")
    has_null = any(element is None for element in elements)
    out = [struct.pack("!iiI", len(sizes), has_null, element_oid)]
    out += [struct.pack("!ii", size, low) for size, low in zip(sizes, lows, strict=True)]
    out += [_pack_item(element, encode) for element in elements]
    return b"".join(out)


def _pack_item(element: str | None, encode: Encoder) -> bytes:
    if element is None:
        return b"\xff\xff\xff\xff"
    raw = encode(element)
    return len(raw).to_bytes(4, "big") + raw


class _TextReader:
    """Reads ``{1,NULL,"a b"}``; ``sizes`` are the lengths of its dimensions."""

    def __init__(self, text: str, position: int) -> None:
        self._text = text
        self._position = position
        self._sizes: dict[int, int] = {}
        self._elements: list[str | None] = []

    @property
    def sizes(self) -> list[int]:
        return [self._sizes[depth] for depth in sorted(self._sizes)]

    def read(self) -> list[str | None]:
        self._read_level(0)
        if self._position != len(self._text):
            raise ValueError("text after an array")
        return self._elements

    def _peek(self) -> str:
        return self._text[self._position : self._position + 1]

    def _read_level(self, depth: int) -> None:
        if self._peek() != "{" or depth >= _MAX_DIMENSIONS:
            raise ValueError("not an array")
        self._position += 1
        if self._peek() == "}" and depth == 0:
            self._position += 1
            return
        self._note_size(depth, self._read_members(depth))

    def _read_members(self, depth: int) -> int:
        count = 0
        while True:
            if self._peek() == "{":
                self._read_level(depth + 1)
            else:
                self._elements.append(self._read_element())
            count += 1
            separator = self._peek()
            self._position += 1
            if separator == "}":
                return count
            if separator != ",":
                raise ValueError("an array without an end")

    def _note_size(self, depth: int, count: int) -> None:
        if self._sizes.setdefault(depth, count) != count:
            raise ValueError("an array whose rows differ in length")

    def _read_element(self) -> str | None:
        match = _QUOTED.match(self._text, self._position)
        if match is not None:
            self._position = match.end()
            return re.sub(r"\\(.)", r"\1", match[1], flags=re.DOTALL)
        match = _PLAIN.match(self._text, self._position)
        if match is None:
            raise ValueError("an array with an empty element")
        self._position = match.end()
        return None if match[0].upper() == "NULL" else match[0]
