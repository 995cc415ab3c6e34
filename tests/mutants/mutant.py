"""A mutant: one small change of one source file, with a name that stays."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

SHOWN_CHARACTERS = 90

T = TypeVar("T")


@dataclass(frozen=True)
class Edit:
    """Replaces the bytes from ``start`` to ``end`` of a file.

    ``reach`` are the lines (from 1) of which one must have run for the edit to have an effect.
    """

    operator: str
    start: int
    end: int
    text: bytes
    reach: range


@dataclass(frozen=True)
class Mutant:
    """An edit of a file of an application; ``path`` is relative to the application's folder."""

    name: str
    path: str
    edit: Edit
    before: str
    after: str

    @property
    def operator(self) -> str:
        return self.edit.operator

    @property
    def line(self) -> int:
        return int(self.name.rsplit(":", 2)[1])


def apply(edit: Edit, source: bytes) -> bytes:
    """The source with the edit; all else stays byte for byte."""
    return source[: edit.start] + edit.text + source[edit.end :]


def name_mutants(
    application: str, path: str, source: bytes, edits: Iterable[Edit]
) -> Iterator[Mutant]:
    """Mutants called ``application:path:line:operator#n``, in the order of the file.

    Edits that change nothing, and those that make the same source as another, are left out.
    """
    numbers: Counter[tuple[int, str]] = Counter()
    seen = {source}
    for edit in sorted(edits, key=lambda one: (one.start, one.end, one.operator, one.text)):
        changed = apply(edit, source)
        if changed in seen:
            continue
        seen.add(changed)
        line = source.count(b"\n", 0, edit.start) + 1
        numbers[line, edit.operator] += 1
        name = f"{application}:{path}:{line}:{edit.operator}#{numbers[line, edit.operator]}"
        before, after = _show(source, edit.start, edit.end), _show(changed, edit.start, _end(edit))
        yield Mutant(name, path, edit, before, after)


def _end(edit: Edit) -> int:
    return edit.start + len(edit.text)


def _show(source: bytes, start: int, end: int) -> str:
    """The changed part with the rest of its line, on one line."""
    begin = source.rfind(b"\n", 0, start) + 1
    stop = source.find(b"\n", end)
    text = source[begin : stop if stop >= 0 else len(source)].decode()
    shown = " ".join(text.split())
    if len(shown) <= SHOWN_CHARACTERS:
        return shown
    place = max(0, len(" ".join(source[begin:start].decode().split())) - SHOWN_CHARACTERS // 3)
    return f"…{shown[place : place + SHOWN_CHARACTERS]}…"


def take_sample(mutants: list[Mutant], count: int) -> list[Mutant]:
    """So many of them, the operators by turns, evenly over each operator's; always the same."""
    by_operator: dict[str, list[Mutant]] = {}
    for mutant in mutants:
        by_operator.setdefault(mutant.operator, []).append(mutant)
    operators = _spread(sorted(by_operator))
    turns = itertools.zip_longest(*(_spread(by_operator[operator]) for operator in operators))
    chosen = [mutant for turn in turns for mutant in turn if mutant is not None][:count]
    return [mutant for mutant in mutants if mutant in chosen]


def _spread(group: list[T]) -> list[T]:
    """The middle one, then those of the quarters, and so on."""
    if not group:
        return []
    middle = len(group) // 2
    left, right = _spread(group[:middle]), _spread(group[middle + 1 :])
    rest = itertools.zip_longest(left, right)
    return [group[middle], *(one for pair in rest for one in pair if one is not None)]
