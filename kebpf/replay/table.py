"""A compact map from 64-bit keys to the mocks that have them: twelve bytes a mock, no objects."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence

MANY_PARTS = 256  # each is sorted by itself when something is first looked for in it


class Bucket:
    """The ordinals of one key in the order of the recording."""

    __slots__ = ("_end", "_head", "_ordinals", "_start")

    def __init__(self, ordinals: Sequence[int], start: int, end: int) -> None:
        self._ordinals = ordinals
        self._start = self._head = start
        self._end = end

    def usable(self, is_usable: Callable[[int], bool]) -> Iterator[int]:
        """Those that are usable; one at the head that is not is never looked at again."""
        ordinals = self._ordinals
        while self._head < self._end and not is_usable(ordinals[self._head]):
            self._head += 1
        return filter(is_usable, (ordinals[at] for at in range(self._head, self._end)))

    def __iter__(self) -> Iterator[int]:
        return (self._ordinals[at] for at in range(self._start, self._end))

    def __reversed__(self) -> Iterator[int]:
        return (self._ordinals[at] for at in range(self._end - 1, self._start - 1, -1))

    def __len__(self) -> int:
        return self._end - self._start


class Table:
    """Ordinals (numbers of mocks, below 2³²) by key, in the order in which they were added."""

    def __init__(self, parts: int = MANY_PARTS) -> None:
        self._keys: list[array[int]] = [array("Q") for _ in range(parts)]
        self._ordinals: list[array[int]] = [array("I") for _ in range(parts)]
        self._sorted = bytearray(b"\1" * parts)
        self._parts = parts

    def add(self, key: int, ordinal: int) -> None:
        """Takes an ordinal in; ``key`` is below 2⁶⁴ and its bits are as if random."""
        part = key % self._parts
        self._keys[part].append(key)
        self._ordinals[part].append(ordinal)
        self._sorted[part] = 0

    def find(self, key: int) -> Bucket:
        """What a key has; to be asked only when everything was added."""
        part = key % self._parts
        if not self._sorted[part]:
            self._sort(part)
        keys = self._keys[part]
        start = bisect_left(keys, key)
        return Bucket(self._ordinals[part], start, bisect_right(keys, key, start))

    def _sort(self, part: int) -> None:
        keys, ordinals = self._keys[part], self._ordinals[part]
        order = sorted(range(len(keys)), key=keys.__getitem__)  # stable: equal keys keep order
        self._keys[part] = array("Q", [keys[at] for at in order])
        self._ordinals[part] = array("I", [ordinals[at] for at in order])
        self._sorted[part] = 1

    def __len__(self) -> int:
        return sum(map(len, self._keys))
