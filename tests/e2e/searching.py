"""Looks for secrets in what was written, in whatever encodings they may be hidden."""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote

_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{12,}={0,2}")
_HEX = re.compile(rb"(?:[0-9a-fA-F]{2}){8,}")
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
_MOST_DEPTH = 4


def unfold(data: bytes, depth: int = 0) -> Iterator[bytes]:
    """Bytes as they are and all that may be encoded in them."""
    yield data
    if depth >= _MOST_DEPTH:
        return
    text = data.decode("utf-8", "replace")
    for plain in (unquote(text), text.replace("\\/", "/")):
        if plain != text:
            yield plain.encode()
    if "\\" in text:
        yield _ESCAPE.sub(lambda one: chr(int(one[1], 16)), text).encode("utf-8", "replace")
    for run in {found.group() for found in _BASE64.finditer(data)}:
        for start in range(4):  # it may begin in the middle of a run
            yield from unfold(decode_base64(run[start:]), depth + 1)
    for run in {found.group() for found in _HEX.finditer(data)}:
        yield from unfold(bytes.fromhex(run.decode()), depth + 1)
    for start in (
        found.start() for found in re.finditer(rb"\x1f\x8b\x08|x[\x01\x5e\x9c\xda]", data)
    ):
        yield from unfold(inflate(data[start:]), depth + 1)


def decode_base64(run: bytes) -> bytes:
    body = run.rstrip(b"=").replace(b"-", b"+").replace(b"_", b"/")
    try:
        return base64.b64decode(body[: len(body) // 4 * 4])
    except binascii.Error:
        return b""


def inflate(data: bytes) -> bytes:
    try:
        return zlib.decompressobj(zlib.MAX_WBITS + 32).decompress(data)
    except zlib.error:
        return b""


def spell(secret: str) -> Iterator[bytes]:
    """What of a secret must not be there, also with other bytes for what is not ASCII."""
    yield secret.encode()
    yield json.dumps(secret)[1:-1].encode()
    yield secret.encode("latin-1", "replace")
    yield from (part.encode() for part in re.findall(r"[A-Za-z0-9_-]{10,}", secret))


def find_secrets(data: bytes, secrets: Sequence[str]) -> list[str]:
    """Those that are in the data."""
    pieces = b"\n".join(unfold(data))
    return [one for one in secrets if any(part in pieces for part in spell(one))]


def find_in_files(folder: Path, secrets: Sequence[str]) -> dict[str, list[str]]:
    """The files in which, or in whose names, some of them are."""
    found = {}
    for path in folder.rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        if there := find_secrets(path.name.encode() + b"\n" + data, secrets):
            found[str(path.relative_to(folder))] = there
    return found
