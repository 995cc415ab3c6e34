"""The size of a document in memory, and whether it can be stored at all."""

from __future__ import annotations

from typing import Any

MAX_DEPTH = 100
_OVERHEAD = 60  # bytes of a value's own, roughly


def measure_document(tree: Any, depth: int = 0) -> int:
    """Roughly the bytes held.  Raises ``ValueError`` for what a test set cannot hold."""
    if depth > MAX_DEPTH:
        raise ValueError(f"nested more than {MAX_DEPTH} deep")
    if isinstance(tree, dict):
        return _OVERHEAD + sum(
            measure_document(key, depth + 1) + measure_document(value, depth + 1)
            for key, value in tree.items()
        )
    if isinstance(tree, list):
        return _OVERHEAD + sum(measure_document(item, depth + 1) for item in tree)
    if isinstance(tree, str):
        return _OVERHEAD + len(_encode(tree))
    if isinstance(tree, bytes):
        return _OVERHEAD + len(tree)
    if tree is None or isinstance(tree, bool | int | float):
        return _OVERHEAD
    raise ValueError(f"holds a value of type {type(tree).__name__}")


def _encode(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("holds text that is not Unicode") from error
