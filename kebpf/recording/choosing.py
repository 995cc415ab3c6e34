"""Chooses the strongest class that a column of seen values belongs to; never "anything"."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kebpf.recording import clocks
from kebpf.recording.loose import CHARSETS, name_one_of
from kebpf.recording.templates import instance_class, matches_class
from kebpf.recording.times import Window
from kebpf.recording.values import find_candidates

MOST_LITERALS = 12  # of a ``one-of``
LEAST_SEEN_EACH = 4  # values seen for each literal of a ``one-of``
FEW = 8  # values; with fewer, more digits than were seen are expected
SHORTEST_BOUND = 8  # characters; shorter random texts may well repeat in a run

_BOUND_CHARSETS = (("hex", "[0-9a-f]"), ("HEX", "[0-9A-F]"), ("base64url", "[A-Za-z0-9_-]"))
# Characters seen: of fewer, more than one in a hundred texts of a wider charset would by chance
# keep to this one (26 of 36 letters and digits are lower-case letters, so 14).
_TELLING = {
    "digits": 4, "lower": 14, "upper": 14, "hex": 6, "HEX": 6, "letters": 26, "lowernum": 9,
    "uppernum": 9,
}  # fmt: skip
_INTEGER = re.compile(r"-?(?:0|[1-9]\d*)", re.ASCII)
_DECIMAL = re.compile(r"-?(\d+)(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Column:
    """The values at one place, the recorded one first, each with the time it was made in.

    ``pool`` are all values seen at this place of cases like this one, repeats included.
    """

    values: Sequence[str]
    windows: Sequence[Window | None]
    pool: Sequence[str] = ()

    @property
    def everything(self) -> Sequence[str]:
        """The pool if there is one, else the values."""
        return self.pool or self.values


def choose_class(column: Column) -> str | None:
    """The strongest class of all values of a column; ``None`` where only their type is common."""
    return next(_candidates(column), None)


def choose_strict_class(column: Column) -> str | None:
    """The same without the classes of free text: for a place whose words mean something."""
    strict = (name for name in _candidates(column) if not name.startswith("text:"))
    return next(strict, None)


def _candidates(column: Column) -> Iterator[str]:
    yield from _identifiers(column)
    yield from _clocks(column)
    yield from _short_identifiers(column)
    yield from _one_of(column)
    yield from _numbers(column)
    yield from _texts(column)


def _identifiers(column: Column) -> Iterator[str]:
    """A class by which recording itself would have known the values."""
    found = [
        _whole_class(value, window)
        for value, window in zip(column.values, column.windows, strict=True)
    ]
    names = dict.fromkeys(name for name in found if name is not None)
    if None in found or not names:
        return
    if all(name.startswith("uuid") for name in names) and len(names) > 1:
        names = {"uuid": ""}
    for name in names:
        if all(matches_class(v, name, w) for v, w in _pairs(column)):
            yield name


def _whole_class(text: str, window: Window | None) -> str | None:
    for token in find_candidates(text, window):
        if (token.start, token.end) == (0, len(text)):
            return instance_class(token.class_name)
    return None


def _clocks(column: Column) -> Iterator[str]:
    first = column.windows[0]
    if first is None or None in column.windows:
        return
    for name in clocks.find_clock_classes(column.values[0], first):
        if all(matches_class(v, name, w) for v, w in _pairs(column)):
            yield name


def _pairs(column: Column) -> Iterator[tuple[str, Window | None]]:
    return zip(column.values, column.windows, strict=True)


def _short_identifiers(column: Column) -> Iterator[str]:
    """Texts too short to be known by their look, each seen once: drawn, so bound one to one."""
    size, values = len(column.values[0]), column.everything
    is_mixed = all(any(c.isdigit() for c in v) and any(c.isalpha() for c in v) for v in values)
    if size < SHORTEST_BOUND or not is_mixed or len(set(column.values)) < len(column.values):
        return
    if _is_numbered(column.values):
        return
    for name, charset in _BOUND_CHARSETS:
        if all(re.fullmatch(f"{charset}{{{size}}}", value, re.ASCII) for value in values):
            yield f"{name}:{size}"


def _is_numbered(values: Sequence[str]) -> bool:
    """``order-0017`` and ``order-0018``: words with a number, which says nothing of chance."""
    return len({re.sub(r"\d+", "0", value) for value in values}) == 1


def _one_of(column: Column) -> Iterator[str]:
    """Only where another literal is unlikely: none was seen just once (Good and Turing)."""
    counts = Counter(column.everything)
    is_settled = min(counts.values()) > 1 and counts.total() >= LEAST_SEEN_EACH * len(counts)
    if is_settled and len(counts) <= MOST_LITERALS:
        yield name_one_of(counts)


def _numbers(column: Column) -> Iterator[str]:
    values = column.everything
    if all(_INTEGER.fullmatch(value) for value in values):
        sizes = [len(value.lstrip("-")) for value in values]
        kind = "signed" if any(value.startswith("-") for value in values) else "integer"
        yield f"{kind}:{_digits(sizes)}"
    found = [_DECIMAL.fullmatch(value) for value in values]
    if all(found) and not all(re.fullmatch(r"\d+", value) for value in values):
        yield f"decimal:{_digits([len(match.group(1)) for match in found if match])}"


def _digits(sizes: Sequence[int]) -> str:
    """With few values seen, one digit more and one less than those are as likely."""
    least, most = min(sizes), max(sizes)
    if least == most and least > 1 and len(sizes) >= FEW:
        return str(least)
    return f"{max(1, least - 1)}-{most + 1}"


def _texts(column: Column) -> Iterator[str]:
    values = column.everything
    sizes = [len(value) for value in values]
    is_fixed = min(sizes) == max(sizes) and sizes[0] > 0
    span = str(sizes[0]) if is_fixed else f"{min(1, *sizes)}-{2 * max(sizes)}"
    seen = sum(len(value) for value in set(values))
    for name, charset in CHARSETS.items():
        if seen >= _TELLING.get(name, 0) and all(
            re.fullmatch(f"{charset}*", value, re.ASCII | re.DOTALL) for value in values
        ):
            yield f"text:{name}:{span}"
