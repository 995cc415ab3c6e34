"""A document as JSON from which every byte and every type comes back."""

from __future__ import annotations

import base64
import binascii
import math
from typing import Any

_BYTES, _BASE64, _MAP, _FLOAT = "!bytes", "!base64", "!map", "!float"


def pack_exact(tree: Any) -> Any:
    """The tree in what JSON can hold; tuples become lists.  Raises ``TypeError``."""
    if isinstance(tree, bytes | bytearray):
        return _pack_bytes(bytes(tree))
    if isinstance(tree, dict):
        if all(isinstance(key, str) and not key.startswith("!") for key in tree):
            return {key: pack_exact(value) for key, value in tree.items()}
        return {_MAP: [[pack_exact(key), pack_exact(value)] for key, value in tree.items()]}
    if isinstance(tree, list | tuple):
        return [pack_exact(item) for item in tree]
    if isinstance(tree, float) and not math.isfinite(tree):
        return {_FLOAT: repr(tree)}
    if tree is None or isinstance(tree, str | int | float):
        return tree
    raise TypeError(f"{type(tree).__name__} has no place in a document")


def _pack_bytes(data: bytes) -> dict[str, str]:
    try:
        return {_BYTES: data.decode()}
    except UnicodeDecodeError:
        return {_BASE64: base64.b64encode(data).decode()}


def unpack_exact(tree: Any) -> Any:
    """What `pack_exact` was given.  Raises ``ValueError`` for what it did not write."""
    if isinstance(tree, list):
        return [unpack_exact(item) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if len(tree) == 1:
        ((key, value),) = tree.items()
        if key.startswith("!"):
            return _unpack_marked(key, value)
    return {key: unpack_exact(value) for key, value in tree.items()}


def _unpack_marked(mark: str, value: Any) -> Any:
    try:
        if mark == _BYTES:
            return str(value).encode()
        if mark == _BASE64:
            return base64.b64decode(value, validate=True)
        if mark == _FLOAT:
            return float(value)
        if mark == _MAP:
            return {unpack_exact(key): unpack_exact(item) for key, item in value}
    except (TypeError, binascii.Error) as error:
        raise ValueError(f"a damaged {mark[1:]} in a document: {error}") from error
    raise ValueError(f"an unknown mark in a document: {mark}")
