"""Puts other values into a tree: as text, within base64, within what is compressed."""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Callable
from typing import Any

from kebpf.recording.wrapping import PACKED, inflate, open_token

Apply = Callable[[str], str]

LEAST_NUMBER = 10**7  # smaller ones are counts and keys: they stand for themselves

# What a dot joins to something else is signed: it would not be valid with other values in it.
_ENCODED = re.compile(r"(?<![.\w+/-])[A-Za-z0-9+/_-]{16,}={0,2}(?![.\w+/=-])", re.ASCII)


def rewrite_tree(tree: Any, apply: Apply) -> Any:
    """The tree with ``apply`` done to each of its texts, keys included."""
    if isinstance(tree, str):
        return rewrite_text(tree, apply)
    if isinstance(tree, bytes):
        return _rewrite_bytes(tree, apply)
    if isinstance(tree, dict):
        return {rewrite_tree(k, apply): rewrite_tree(v, apply) for k, v in tree.items()}
    if isinstance(tree, list | tuple):
        return [rewrite_tree(item, apply) for item in tree]
    if isinstance(tree, int | float) and not isinstance(tree, bool) and abs(tree) >= LEAST_NUMBER:
        return _rewrite_number(tree, apply)
    return tree


def rewrite_text(text: str, apply: Apply) -> str:
    """The text, and what runs of base64 in it say: an opaque cursor, Basic credentials."""
    new = apply(text)
    if len(new) < 16:
        return new
    return _ENCODED.sub(lambda match: _rewrite_run(match.group(), apply), new)


def _rewrite_run(run: str, apply: Apply) -> str:
    is_url = "-" in run or "_" in run
    body = run.rstrip("=")
    try:
        data = base64.b64decode(
            body + "=" * (-len(body) % 4), altchars=b"-_" if is_url else None, validate=True
        )
        text = data.decode()
    except (ValueError, binascii.Error):
        return run
    new = apply(text)
    if new == text:
        return run
    encoded = (base64.urlsafe_b64encode if is_url else base64.b64encode)(new.encode()).decode()
    is_padded = run.endswith("=") or len(data) % 3 == 0
    return encoded if is_padded else encoded.rstrip("=")


def _rewrite_bytes(data: bytes, apply: Apply) -> bytes:
    """Every byte is one character of Latin-1, so what is not ASCII passes through unharmed."""
    text = data.decode("latin-1")
    opened = open_token(text) if data[:1] in (b"\x1f", b"x") else None
    if opened is None or opened.kind not in PACKED:
        return rewrite_text(text, apply).encode("latin-1")
    content = inflate(data) or b""
    new = rewrite_text(content.decode("latin-1"), apply).encode("latin-1")
    if new == content:
        return data
    bits = zlib.MAX_WBITS + (16 if opened.kind == "gzip" else 0)
    packer = zlib.compressobj(wbits=bits)
    return packer.compress(new) + packer.flush()


def _rewrite_number(number: int | float, apply: Apply) -> int | float:
    text = repr(number)
    new = apply(text)
    return number if new == text else type(number)(new)
