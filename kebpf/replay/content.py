"""Says where two texts or two binary contents differ."""

from __future__ import annotations

from itertools import zip_longest

from kebpf.replay.binding import pair_tokens
from kebpf.replay.events import Mismatch

SHOWN_SIZE = 16  # bytes shown of a binary content, from the first difference on


def compare_lines(
    path: str, expected: str, actual: str, template: str | None = None
) -> list[Mismatch]:
    """The first differing line, as ``<path>/line/<number from 1>``.

    With a template a line may differ in generated values.  Never empty: texts whose lines all
    follow the template but do not as a whole are one mismatch at ``path``.
    """
    old, new = expected.split("\n"), actual.split("\n")
    shapes = template.split("\n") if template is not None else []
    for number, (left, right) in enumerate(zip_longest(old, new), start=1):
        if left == right:
            continue
        place = f"{path}/line/{number}"
        if left is None:
            return [Mismatch(place, "extra", actual=right)]
        if right is None:
            return [Mismatch(place, "missing", expected=left)]
        shape = shapes[number - 1] if number <= len(shapes) else None
        if shape is None or pair_tokens(shape, left, right) is None:
            return [Mismatch(place, "changed", left, right)]
    return [Mismatch(path, "changed", expected, actual)]


def compare_bytes(path: str, expected: bytes, actual: bytes) -> Mismatch:
    """The first differing byte, as ``<path>/offset/<number from 0>``, with both sizes."""
    shorter = min(len(expected), len(actual))
    at = next((i for i in range(shorter) if expected[i] != actual[i]), shorter)
    return Mismatch(f"{path}/offset/{at}", "changed", _show(expected, at), _show(actual, at))


def _show(content: bytes, at: int) -> str:
    piece = content[at : at + SHOWN_SIZE].hex(" ") or "end"
    return f"{len(content)} bytes; there: {piece}"
