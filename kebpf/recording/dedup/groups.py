"""The shapes of the requests of one method and route, told apart by fields of few values too.

A field has few values until a ninth is seen; from then on it tells nothing, and shapes that only
it told apart become one.  So does the field with the most values where more than `MOST_ALIKE`
shapes differ in such values only; and in the end one whose values, other than single words, did
not come `TIMES_EACH` times each.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

MOST_VALUES = 8
MOST_FIELDS = 256  # of one method and route
MOST_ALIKE = 64
TIMES_EACH = 3  # on average

Fields = tuple[tuple[str, str], ...]  # path and value
Key = tuple[bytes, Fields]

_WORD = re.compile(r"[A-Za-z][A-Za-z_-]*")


@dataclass(slots=True, eq=False)
class Shape:
    """Requests that are the same but for their values; ``kept`` belongs to who decides of them.

    ``rest`` and ``fields`` are as in `Group.find`; ``into`` is what it was merged into, ``name``
    what it was called before.
    """

    rest: bytes
    fields: Fields
    seen: int = 0
    kept: Any = None
    into: Shape | None = None
    name: str = ""

    def final(self) -> Shape:
        """The shape it is part of by now."""
        shape = self
        while shape.into is not None:
            shape = shape.into
        return shape


@dataclass(slots=True)
class _Field:
    """The ``values`` of a field while they are few, and how often it was there."""

    values: set[str] = field(default_factory=set)
    count: int = 0
    is_told: bool = True

    def give_up(self) -> None:
        self.values.clear()
        self.is_told = False

    def join(self, other: _Field) -> None:
        self.count += other.count
        self.values |= other.values
        if not (self.is_told and other.is_told) or len(self.values) > MOST_VALUES:
            self.give_up()

    def is_doubtful(self) -> bool:
        """Whether its values may well be of many."""
        are_words = all(map(_WORD.fullmatch, self.values))
        return not are_words and self.count < TIMES_EACH * len(self.values)


class Group:
    """All shapes of one method and route.

    ``merged`` holds pairs of which the second shape is part of the first by now.
    """

    __slots__ = ("_fields", "_sizes", "_strays", "merged", "shapes")

    def __init__(self) -> None:
        self.shapes: dict[Key, Shape] = {}
        self.merged: list[tuple[Shape, Shape]] = []
        self._strays: list[Shape] = []  # of groups that were absorbed
        self._fields: dict[str, _Field] = {}
        self._sizes: Counter[bytes] = Counter()  # shapes by the rest

    def find(self, rest: bytes, fields: Fields) -> Shape | None:
        """The shape of a request, ``None`` for a new one.

        ``rest`` tells all that is not learned, ``fields`` are the values that may be of few.
        """
        if self._learn(fields):
            self.regroup()
        return self.shapes.get((rest, self._select(fields)))

    def add(self, rest: bytes, fields: Fields) -> Shape:
        """A new shape, after `find` gave none."""
        shape = Shape(rest, self._select(fields))
        self.shapes[rest, shape.fields] = shape
        self._sizes[rest] += 1
        while self._sizes[rest] > MOST_ALIKE and self._give_up_field(rest):
            self.regroup()
        return shape.final()

    def absorb(self, other: Group) -> None:
        """Takes the shapes of a group that turned out to be the same; `regroup` sorts them in."""
        for path, one in other._fields.items():
            known = self._fields.get(path)
            if known is None:
                self._fields[path] = one
            else:
                known.join(one)
        self._strays += [*other.shapes.values(), *other._strays]
        self.merged += other.merged
        other.shapes, other._strays, other.merged = {}, [], []

    def list_all(self) -> list[Shape]:
        """The shapes and those that are not sorted in yet."""
        return [*self.shapes.values(), *self._strays]

    def regroup(self) -> None:
        """Sorts all shapes by what is known now; those that are the same by now become one."""
        shapes = self.list_all()
        self.shapes, self._strays = {}, []
        self._sizes.clear()
        for shape in shapes:
            shape.fields = self._select(shape.fields)
            key = shape.rest, shape.fields
            first = self.shapes.setdefault(key, shape)
            if first is shape:
                self._sizes[shape.rest] += 1
                continue
            first.seen += shape.seen
            shape.into = first
            self.merged.append((first, shape))

    def settle(self) -> None:
        """No more requests will come."""
        doubtful = [one for one in self._fields.values() if one.is_told and one.is_doubtful()]
        for one in doubtful:
            one.give_up()
        if doubtful:
            self.regroup()

    def _learn(self, fields: Fields) -> bool:
        """Whether a field turned out to have many values."""
        is_changed = False
        known = self._fields
        for path, value in fields:
            one = known.get(path)
            if one is None:
                one = known[path] = _Field(is_told=len(known) < MOST_FIELDS)
            if not one.is_told:
                continue
            one.count += 1
            one.values.add(value)
            if len(one.values) > MOST_VALUES:
                one.give_up()
                is_changed = True
        return is_changed

    def _select(self, fields: Fields) -> Fields:
        return tuple(one for one in fields if self._fields[one[0]].is_told)

    def _give_up_field(self, rest: bytes) -> bool:
        """Whether a field was found that tells shapes apart which are alike in all else."""
        values: dict[str, set[str]] = defaultdict(set)
        for path, value in self._list_fields(rest):
            values[path].add(value)
        if not values:
            return False
        most = max(sorted(values), key=lambda path: len(values[path]))
        self._fields[most].give_up()
        return True

    def _list_fields(self, rest: bytes) -> Iterator[tuple[str, str]]:
        for shape in self.shapes.values():
            if shape.rest == rest:
                yield from shape.fields
