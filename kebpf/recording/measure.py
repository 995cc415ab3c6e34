"""The size of a document in memory, and whether it can be stored at all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

MAX_DEPTH = 100
_OVERHEAD = 60  # bytes of a value's own, roughly


def measure_document(tree: Any, depth: int = 0) -> int:
    """Roughly the bytes held.  Raises ``ValueError`` for what a test set cannot hold."""
    if depth > MAX_DEPTH:
        raise ValueError(f"nested more than {MAX_DEPTH} deep")
    if isinstance(tree, dict):
        keys_size = _measure_items(tree, depth + 1)
        return _OVERHEAD + keys_size + _measure_items(tree.values(), depth + 1)
    if isinstance(tree, list):
        return _OVERHEAD + _measure_items(tree, depth + 1)
    if isinstance(tree, str):
        return _OVERHEAD + len(_encode(tree))
    if isinstance(tree, bytes):
        return _OVERHEAD + len(tree)
    if tree is None or isinstance(tree, bool | int | float):
        return _OVERHEAD
    raise ValueError(f"holds a value of type {type(tree).__name__}")


def _measure_items(items: Iterable[Any], depth: int) -> int:
    size = 0
    for item in items:
        if type(item) is str and item.isascii() and depth <= MAX_DEPTH:
            size += _OVERHEAD + len(item)
        else:
            size += measure_document(item, depth)
    return size


def _encode(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("holds text that is not Unicode") from error
