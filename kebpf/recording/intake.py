"""The texts of a message in which values may lie: what came in with it, read once.

A text is read as it is and as it may have been written for another medium: URL-encoded, escaped,
in base64, compressed, as JSON within any of these; of binary data the texts in it.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Any
from urllib.parse import unquote, unquote_plus

from kebpf.recording.values import SHORTEST_TOKEN, may_hold_tokens, text_of

MOST_DEPTH = 4  # media within media
MOST_UNPACKED = 1 << 20  # bytes of what was compressed
MOST_NUMBERS = 64  # short ones, kept of a message
MOST_RAW = 1 << 20  # bytes of a binary value in which raw ids and times are looked for

_CACHED_SIZE = 64  # characters of a text whose forms are worth remembering
_SHORTEST_BASE64 = 12
_LONGEST_BASE64 = 1 << 20
_BASE64_RUN = re.compile(r"[A-Za-z0-9+/_-]{16,}={0,2}", re.ASCII)
_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_PRINTABLE = re.compile(rb"[\x20-\x7e]{8,}")
_GZIP = b"\x1f\x8b"
_ZLIB = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")  # RFC 1950 section 2.2


class Intake:
    """Of one message; ``size`` in characters.

    ``texts`` are all of its texts in lower case that are long enough for a token, ``telling``
    those, as they were written, that may hold one, ``raws`` its binary data, ``numbers`` some
    of its short numbers: spans, perhaps.
    """

    __slots__ = ("numbers", "raws", "size", "telling", "texts")

    def __init__(self, view: Any) -> None:
        self.texts: list[str] = []
        self.telling: list[str] = []
        self.raws: list[bytes] = []
        self.numbers: list[str] = []
        self._read(view, 0)
        self.size = sum(map(len, self.texts))

    def _read(self, tree: Any, depth: int) -> None:
        if isinstance(tree, dict | list | tuple):
            for value in tree.values() if isinstance(tree, dict) else tree:
                if type(value) is str:
                    if len(value) >= SHORTEST_TOKEN:
                        self._read_text(value, depth)
                    elif value[:1].isdigit():
                        self._take_number(value)
                elif value is not None:
                    self._read(value, depth)
            return
        if isinstance(tree, bytes):
            self._read_bytes(tree, depth)
            return
        text = text_of(tree)
        if text is not None and len(text) >= SHORTEST_TOKEN:
            self._read_text(text, depth)
        elif text:
            self._take_number(text)

    def _take_number(self, text: str) -> None:
        if len(self.numbers) < MOST_NUMBERS and _NUMBER.fullmatch(text):
            self.numbers.append(text)

    def _read_text(self, text: str, depth: int) -> None:
        lowered, found, inner = _forms_of(text) if len(text) <= _CACHED_SIZE else _find_forms(text)
        self.texts += lowered
        if found:
            self.telling += found
        if inner and depth < MOST_DEPTH:
            for data in inner:
                self._read_bytes(data, depth + 1)

    def _read_bytes(self, data: bytes, depth: int) -> None:
        unpacked = _unpack(data) if depth < MOST_DEPTH else None
        if unpacked is not None:
            self._read_bytes(unpacked, depth + 1)
            return
        try:
            text = data.decode()
        except UnicodeDecodeError:
            self._read_binary(data, depth)
            return
        if len(text) < SHORTEST_TOKEN:
            self._take_number(text)
            return
        self._read_text(text, depth)
        if depth and text[:1] in ("{", "["):
            self._read(_load_json(text), depth)
        if "\0" in text or "\x02" in text:
            self._read_binary(data, depth)

    def _read_binary(self, data: bytes, depth: int) -> None:
        """A pickle, say: its texts, also without what happens to stand beside them."""
        if len(data) <= MOST_RAW:
            self.raws.append(data)
        self._read_text(data.decode("latin-1"), depth)
        for text in _find_counted(data[:MOST_RAW]):
            self._read_text(text, depth)


def _find_forms(text: str) -> tuple[list[str], list[str], list[bytes]]:
    """All forms in lower case, those that may hold a token, and what is in base64."""
    forms = list(_decoded_forms(text))
    telling = [form for form in forms if may_hold_tokens(form)]
    inner = [data for form in forms for data in _decoded_runs(form)]
    return [form.lower() for form in forms], telling, inner


_forms_of = lru_cache(maxsize=4096)(_find_forms)


def _decoded_forms(text: str) -> Iterator[str]:
    """A text as it is and, where that differs, URL-decoded and unescaped; bytes as they are."""
    yield text
    if "\0" in text:
        return
    if "%" in text:
        yield unquote(text)
    if "+" in text or "%" in text:
        yield unquote_plus(text)
    if "\\" in text:
        yield text.replace("\\/", "/").replace('\\"', '"')


def _decoded_runs(text: str) -> Iterator[bytes]:
    """What runs of base64 say, a short text as a whole."""
    if _SHORTEST_BASE64 <= len(text) < 16:
        data = _decode_base64(text)
        if data is not None and data.isascii():
            yield data
        return
    for match in _BASE64_RUN.finditer(text):
        run = match.group()
        if len(run) <= _LONGEST_BASE64 and _may_be_encoded(run):
            data = _decode_base64(run)
            if data is not None and _is_telling(data):
                yield data


def _may_be_encoded(run: str) -> bool:
    """Base64 of 12 bytes and more has letters of both kinds, or it is a word or a number."""
    return not run.islower() and not run.isupper() and not run.isdigit()


def _is_telling(data: bytes) -> bool:
    """Whether bytes are text, compressed, or hold some text: random ones seldom do."""
    if data.startswith((_GZIP, *_ZLIB)):
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return _PRINTABLE.search(data) is not None
    return True


def _decode_base64(text: str) -> bytes | None:
    body = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(body + "=" * (-len(body) % 4), validate=True)
    except (ValueError, binascii.Error):
        return None


def _unpack(data: bytes) -> bytes | None:
    """What gzip or zlib packed, its beginning if it is long."""
    if data.startswith(_GZIP):
        bits = zlib.MAX_WBITS + 16
    elif data.startswith(_ZLIB):
        bits = zlib.MAX_WBITS
    else:
        return None
    try:
        return zlib.decompressobj(bits).decompress(data, MOST_UNPACKED)
    except zlib.error:
        return None


def _load_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _find_counted(data: bytes) -> Iterator[str]:
    """Texts with their size in the byte before, as pickle, msgpack and protobuf write them.

    The size may be a letter itself, and so may be what follows.
    """
    for match in _PRINTABLE.finditer(data):
        start, end = match.span()
        at = max(start, 1)
        while at < end:
            size = data[at - 1] if at > start or start else 0
            if SHORTEST_TOKEN <= size <= end - at:
                yield data[at : at + size].decode("ascii")
                at += size
            at += 1
