"""Opens tokens that carry values: JSON Web Tokens, JSON in base64, what is compressed.

The class of such a token names the template of each generated value inside, by JSON pointer:
``jwt /claims/exp=<time:epoch_s@+3600> /claims/jti=<uuid4>``; all else in it is exact.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

PACKED = ("gzip", "zlib")  # whole binary values, read as Latin-1
KINDS = ("jwt", "json64", "zjson64", *PACKED)
MOST_OPENED = 1 << 20  # bytes of an opened token; a longer one is compared as it is
RANDOM_SIGNATURES = ("ES", "PS")  # RFC 7518 sections 3.4 and 3.5: another one for equal claims

_STEPS = re.compile(r"\{\{|\}\}|[{}<> ~=]")
_WRITTEN = {
    "{{": "~[", "}}": "~]", "{": "<", "}": ">", "<": "~(", ">": "~)",
    " ": "~_", "~": "~0", "=": "~1",
}  # fmt: skip
_READ = {written: plain for plain, written in _WRITTEN.items()}
_WRITTEN_STEPS = re.compile(r"~.|[<>]")
_GZIP = "\x1f\x8b\x08"  # RFC 1952 section 2.3
_ZLIB = ("\x78\x01", "\x78\x5e", "\x78\x9c", "\x78\xda")  # RFC 1950 section 2.2
_CACHED_SIZE = 4096  # characters of a token of which what it says is worth remembering


@dataclass(frozen=True, slots=True)
class Opened:
    """What a token of a kind says; ``tree`` is not to be changed."""

    kind: str
    tree: Any


def open_token(text: str) -> Opened | None:
    """The values in a token, ``None`` if it is none that can be opened."""
    return _open_short(text) if len(text) <= _CACHED_SIZE else _open_token(text)


def _open_token(text: str) -> Opened | None:
    if text.startswith((_GZIP, *_ZLIB)):
        return _open_packed(text)
    if text.startswith("."):
        tree = _load_json(inflate(_decode(text[1:])))
        return Opened("zjson64", tree) if isinstance(tree, dict | list) else None
    if "." in text:
        return _open_jwt(text)
    tree = _load_json(_decode(text))
    return Opened("json64", tree) if isinstance(tree, dict | list) else None


_open_short = lru_cache(maxsize=1024)(_open_token)


def _open_packed(text: str) -> Opened | None:
    """A value as a whole, compressed: JSON or another text."""
    try:
        raw = inflate(text.encode("latin-1"))
        content = None if raw is None else raw.decode()
    except UnicodeError:
        return None
    if content is None:
        return None
    tree = _load_json(content.encode())
    kind = "gzip" if text.startswith(_GZIP) else "zlib"
    return Opened(kind, content if tree is None else tree)


def has_random_signature(opened: Opened) -> bool:
    """Whether equal values are written in another way each time."""
    if opened.kind == "gzip":  # its head may hold the time
        return True
    if opened.kind != "jwt":
        return False
    return str(opened.tree["header"].get("alg")).startswith(RANDOM_SIGNATURES)


def name_class(kind: str, templates: dict[str, str]) -> str:
    """The class of a token whose generated values follow templates."""
    pieces = [f"{_write(path)}={_write(template)}" for path, template in templates.items()]
    return " ".join([kind, *pieces])


@lru_cache(maxsize=4096)
def read_class(class_name: str) -> tuple[str, dict[str, str]] | None:
    """The kind and the templates in a class of these tokens, ``None`` for any other class."""
    kind, *pieces = class_name.split(" ")
    if kind not in KINDS:
        return None
    pairs = (piece.partition("=") for piece in pieces)
    return kind, {_read(path): _read(template) for path, _, template in pairs}


def _write(text: str) -> str:
    return _STEPS.sub(lambda match: _WRITTEN[match.group()], text)


def _read(text: str) -> str:
    return _WRITTEN_STEPS.sub(lambda match: _READ.get(match.group(), match.group()), text)


def _open_jwt(text: str) -> Opened | None:
    """RFC 7519 section 5: the first part is a JOSE header."""
    parts = text.split(".")
    header = _load_json(_decode(parts[0])) if len(parts) == 3 else None
    if not isinstance(header, dict) or "alg" not in header:
        return None
    claims = _load_json(_decode(parts[1]))
    if claims is None:  # another content, encrypted say: only its size can be compared
        claims = len(parts[1])
    return Opened("jwt", {"header": header, "claims": claims, "signature": len(parts[2])})


def _load_json(raw: bytes | None) -> Any:
    if not raw:
        return None
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def _decode(text: str) -> bytes | None:
    if len(text) > MOST_OPENED:
        return None
    body = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(body + "=" * (-len(body) % 4), validate=True)
    except (ValueError, binascii.Error):
        return None


def inflate(raw: bytes | None) -> bytes | None:
    """What was compressed with gzip or zlib, ``None`` if it is not that, or too much."""
    if raw is None:
        return None
    inflater = zlib.decompressobj(zlib.MAX_WBITS + 32)
    try:
        data = inflater.decompress(raw, MOST_OPENED)
    except zlib.error:
        return None
    return data if inflater.eof and not inflater.unused_data else None
