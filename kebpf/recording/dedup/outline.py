"""The outline of a message: which fields it has, of which kinds, and whether lists hold anything.

A list counts as empty, one or many.  Its elements are outlined together: a field that some lack
or in which some have null is there, and of lists within them the longest counts.  A mapping all
of whose keys are ids or dates is a list of its values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

MOST_ELEMENTS = 100  # of a list that are looked at
MOST_DEPTH = 24
LONGEST_VALUE = 64  # characters of a text by which it is told from others, with its length

Outline = str | dict[str, Any] | tuple[str, Any]

_NULL = "null"
_ID_KEY = re.compile(
    r"\d+|[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|(?=.*\d)[0-9a-f]{12,}|\d{4}-\d\d(?:-\d\d.*)?",
    re.IGNORECASE,
)


def draw_outline(tree: Any, depth: int = 0) -> Outline:
    """Kinds of scalars as text, mappings as ``dict``, lists as ``(how many, of what)``."""
    if isinstance(tree, str | bytes):
        return "text"
    if tree is None:
        return _NULL
    if isinstance(tree, bool):
        return "truth"
    if isinstance(tree, int | float):
        return "number"
    if depth >= MOST_DEPTH:
        return "deep"
    if isinstance(tree, Mapping):
        if is_map(tree):
            return _draw_list(list(tree.values()), depth)
        return {str(key): draw_outline(value, depth + 1) for key, value in tree.items()}
    return _draw_list(tree, depth)


def is_map(tree: Mapping[Any, Any]) -> bool:
    """Whether the keys of a mapping are values themselves."""
    return bool(tree) and all(map(_ID_KEY.fullmatch, map(str, tree)))


def count_class(number: int) -> str:
    """``0``, ``1`` or ``many``."""
    return str(number) if number < 2 else "many"


def _draw_list(items: Sequence[Any], depth: int) -> tuple[str, Any]:
    merged: Any = None
    for item in items[:MOST_ELEMENTS]:
        outline = draw_outline(item, depth + 1)
        merged = outline if merged is None else _merge(merged, outline)
    return count_class(len(items)), merged


def _merge(one: Any, other: Any) -> Any:
    if one == other or other == _NULL:
        return one
    if one == _NULL:
        return other
    if isinstance(one, dict) and isinstance(other, dict):
        shared = {key: _merge(one[key], other[key]) for key in one if key in other}
        return {**other, **one, **shared}
    if isinstance(one, tuple) and isinstance(other, tuple):
        longest = max(one[0], other[0])  # "many" comes after digits
        parts = [part for part in (one[1], other[1]) if part is not None]
        return longest, (_merge(*parts) if len(parts) == 2 else parts[0] if parts else None)
    names = {_name(one), _name(other)}
    return " or ".join(sorted({part for name in names for part in name.split(" or ")}))


def _name(outline: Any) -> str:
    if isinstance(outline, str):
        return outline
    return "fields" if isinstance(outline, dict) else "list"


def write_outline(outline: Any) -> str:
    """The same text for the same outline, whatever the order of its fields."""
    if isinstance(outline, dict):
        fields = (f"{key!r}:{write_outline(outline[key])}" for key in sorted(outline))
        return f"{{{','.join(fields)}}}"
    if isinstance(outline, tuple):
        return f"[{outline[0]} {write_outline(outline[1])}]"
    return str(outline)


def list_fields(tree: Any, path: str) -> tuple[tuple[str, str], ...]:
    """The scalars that may be of few values, with their paths; none of those in lists."""
    found: list[tuple[str, str]] = []
    _add_fields(tree, path, 0, found)
    return tuple(found)


def _add_fields(tree: Any, path: str, depth: int, found: list[tuple[str, str]]) -> None:
    if isinstance(tree, str):
        is_long = len(tree) > LONGEST_VALUE
        found.append((path, f"{tree[:LONGEST_VALUE]} {len(tree)}" if is_long else tree))
    elif isinstance(tree, int):
        found.append((path, str(tree)))
    elif isinstance(tree, dict) and depth < MOST_DEPTH and not is_map(tree):
        for key, value in tree.items():
            _add_fields(value, f"{path}/{key}", depth + 1, found)
