"""Decides, case after case, which stay: bounded in memory, whatever comes.

Of each shape the first, the newest and the largest stay; of failures of the server (5xx) the first
`MOST_FAILURES_OF_SHAPE` of a shape and `MOST_FAILURES` in all; the slowest hundredth of all, at
most `MOST_SLOW`; and the cases on which any of these rest.  The newest `ATTIC_SIZE` cases stay
for a while whatever they are, so that one that rests on them finds them.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from kebpf.recording.dedup.groups import Group, Shape
from kebpf.recording.dedup.routes import Routes
from kebpf.recording.dedup.traits import Traits

MOST_SHAPES = 50_000  # the requests of further ones are counted, not kept
MOST_FAILURES_OF_SHAPE = 20
MOST_FAILURES = 1_000
FAILURE = 500  # status, and those above
MOST_SLOW = 100
SLOW_SHARE = 100  # one in so many is among the slowest
ATTIC_SIZE = 1_000  # cases
ATTIC_BYTES = 8 << 20  # of their bodies
MOST_DEPTH = 16  # of cases that rest on cases that rest on cases


@dataclass(slots=True, eq=False)
class Kept:
    """A case that is kept for so many ``reasons``; ``needs`` are those it rests on.

    ``is_rooted``: all of them are kept.  ``size`` is that of its bodies in bytes.
    """

    name: str
    number: int
    size: int
    duration_ns: int
    shape: Shape
    needs: list[Kept] = field(default_factory=list)
    is_rooted: bool = True
    depth: int = 0
    reasons: int = 0


@dataclass(slots=True)
class _Exemplars:
    """Those of one shape."""

    first: Kept
    newest: Kept
    largest: Kept
    failures: list[Kept] = field(default_factory=list)

    def list_slots(self) -> Iterator[Kept]:
        yield from (self.first, self.newest, self.largest, *self.failures)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A case as it comes: its number grows; ``needs`` are numbers of cases it rests on.

    It stands for ``weight`` requests, of a ``shape`` that was found before, if it has a name.
    """

    name: str
    number: int
    traits: Traits
    duration_ns: int
    needs: Iterable[int] = ()
    weight: int = 1
    shape: str = ""


class Stream:
    """Takes cases in their order and says which are to go."""

    def __init__(
        self,
        attic_size: int = ATTIC_SIZE,
        attic_bytes: int = ATTIC_BYTES,
        most_shapes: int = MOST_SHAPES,
    ) -> None:
        self.seen = 0
        self.shapes = 0
        self.beyond = 0  # requests of shapes there was no room for
        self.is_news = False  # whether the last case is the first of its shape, or a failure
        self._attic_size = attic_size
        self._most_attic_bytes = attic_bytes
        self._most_shapes = most_shapes
        self._routes = Routes()
        self._named: dict[str, Shape] = {}  # as they were called before
        self._kept: dict[int, Kept] = {}
        self._attic: deque[Kept] = deque()
        self._attic_bytes = 0
        self._slow: list[tuple[int, int, Kept]] = []
        self._failures = 0
        self._dropped: list[str] = []
        self._settled: list[str] = []

    def __len__(self) -> int:
        """How many cases are kept at the moment."""
        return len(self._kept)

    def take(self, arrival: Arrival) -> list[str]:
        """The names of the cases that are to go now, perhaps this one's."""
        self.seen += arrival.weight
        shape = self._find_shape(arrival)
        if shape is None:
            self.beyond += arrival.weight
            return [*self._take_dropped(), arrival.name]
        shape.seen += arrival.weight
        self._place(self._make(arrival, shape), shape, arrival.traits.status)
        return self._take_dropped()

    def _find_shape(self, arrival: Arrival) -> Shape | None:
        """That of a case, perhaps a new one; ``None``: there is no room for it."""
        if arrival.shape in self._named:
            return self._named[arrival.shape].final()
        traits = arrival.traits
        group = self._routes.find(traits.method, traits.segments, traits.rest, traits.evidence)
        while self._routes.changed:
            changed = self._routes.changed.pop()
            changed.regroup()
            self._join_shapes(changed)
        shape = group.find(traits.rest, traits.fields)
        self._join_shapes(group)
        if shape is None and self.shapes < self._most_shapes:
            self.shapes += 1
            shape = group.add(traits.rest, traits.fields)
            self._join_shapes(group)
            shape = shape.final()
        if shape is not None and arrival.shape:
            shape.name = shape.name or arrival.shape
            self._named[arrival.shape] = shape
        return shape

    def finish(self) -> list[str]:
        """No more will come: the names of those that are to go still."""
        for _, group in self._routes.groups():
            group.settle()
            self._join_shapes(group)
        while self._attic:
            self._settle()
        while len(self._slow) > self.seen // SLOW_SHARE:
            self._release(heapq.heappop(self._slow)[2])
        return self._take_dropped()

    def take_settled(self) -> list[str]:
        """The names of the cases that stay though they are no longer of the newest."""
        settled, self._settled = self._settled, []
        return settled

    def list_kept(self) -> Iterator[tuple[str, int, str]]:
        """The names of what is kept, the requests of its shape, and the name of that."""
        names = {
            id(shape): shape.name or _name_shape(template, shape)
            for template, group in self._routes.groups()
            for shape in group.shapes.values()
        }
        for kept in self._kept.values():
            shape = kept.shape.final()
            yield kept.name, shape.seen, names[id(shape)]

    def list_shapes(self) -> Iterator[tuple[str, int]]:
        """The route of each shape, and how often it came."""
        for template, group in self._routes.groups():
            for shape in group.shapes.values():
                yield template, shape.seen

    def _make(self, arrival: Arrival, shape: Shape) -> Kept:
        needs = [self._kept.get(number) for number in arrival.needs]
        known = [one for one in needs if one is not None]
        depth = max((one.depth + 1 for one in known), default=0)
        is_rooted = len(known) == len(needs) and depth <= MOST_DEPTH
        kept = Kept(
            arrival.name,
            arrival.number,
            arrival.traits.size,
            arrival.duration_ns,
            shape,
            known if is_rooted else [],
            is_rooted,
            depth if is_rooted else 0,
        )
        self._kept[kept.number] = kept
        for one in kept.needs:
            one.reasons += 1
        return kept

    def _place(self, kept: Kept, shape: Shape, status: int) -> None:
        kept.reasons += 1
        self._attic.append(kept)
        self._attic_bytes += kept.size
        exemplars: _Exemplars | None = shape.kept
        self.is_news = exemplars is None or status >= FAILURE
        if exemplars is None:
            shape.kept = exemplars = _Exemplars(kept, kept, kept)
            kept.reasons += 3
        else:
            self._compare(exemplars, kept)
        if status >= FAILURE and self._has_room_for_failure(exemplars):
            exemplars.failures.append(kept)
            kept.reasons += 1
            self._failures += 1
        self._note_duration(kept)
        while len(self._attic) > self._attic_size or self._attic_bytes > self._most_attic_bytes:
            self._settle()

    def _settle(self) -> None:
        """The oldest of the newest goes, or stays for other reasons."""
        oldest = self._attic.popleft()
        self._attic_bytes -= oldest.size
        if oldest.reasons > 1:
            self._settled.append(oldest.name)
        self._release(oldest)

    def _has_room_for_failure(self, exemplars: _Exemplars) -> bool:
        has_room = len(exemplars.failures) < MOST_FAILURES_OF_SHAPE
        return has_room and self._failures < MOST_FAILURES

    def _compare(self, exemplars: _Exemplars, kept: Kept) -> None:
        """A later case of a shape takes the places it has a right to."""
        if not kept.is_rooted:
            return
        kept.reasons += 1
        replaced, exemplars.newest = exemplars.newest, kept
        self._release(replaced)
        if not exemplars.first.is_rooted:
            kept.reasons += 1
            replaced, exemplars.first = exemplars.first, kept
            self._release(replaced)
        if kept.size > exemplars.largest.size or not exemplars.largest.is_rooted:
            kept.reasons += 1
            replaced, exemplars.largest = exemplars.largest, kept
            self._release(replaced)

    def _note_duration(self, kept: Kept) -> None:
        if not kept.is_rooted:
            return
        entry = kept.duration_ns, -kept.number, kept
        if len(self._slow) < MOST_SLOW:
            kept.reasons += 1
            heapq.heappush(self._slow, entry)
        elif entry[:2] > self._slow[0][:2]:
            kept.reasons += 1
            self._release(heapq.heapreplace(self._slow, entry)[2])

    def _join_shapes(self, group: Group) -> None:
        """Shapes that are one by now have one set of exemplars."""
        for first, other in group.merged:
            self.shapes -= 1
            if first.kept is None:
                first.kept = other.kept
            elif other.kept is not None:
                self._join(first, other)
            other.kept = None
        group.merged.clear()

    def _join(self, shape: Shape, other: Shape) -> None:
        one: _Exemplars = shape.kept
        two: _Exemplars = other.kept
        before = [*one.list_slots(), *two.list_slots()]
        failures = sorted([*one.failures, *two.failures], key=_number_of)
        joined = shape.kept = _Exemplars(
            min(one.first, two.first, key=_rank_first),
            max(one.newest, two.newest, key=_rank_newest),
            max(one.largest, two.largest, key=_rank_largest),
            failures[:MOST_FAILURES_OF_SHAPE],
        )
        self._failures -= len(failures) - len(joined.failures)
        for kept in joined.list_slots():
            kept.reasons += 1
        for kept in before:
            self._release(kept)

    def _release(self, kept: Kept) -> None:
        """One reason less; without any, it goes, and what it rested on has one less too."""
        waiting = [kept]
        while waiting:
            one = waiting.pop()
            one.reasons -= 1
            if not one.reasons:
                del self._kept[one.number]
                self._dropped.append(one.name)
                waiting += one.needs

    def _take_dropped(self) -> list[str]:
        dropped, self._dropped = self._dropped, []
        return dropped


def _number_of(kept: Kept) -> int:
    return kept.number


def _rank_first(kept: Kept) -> tuple[bool, int]:
    return not kept.is_rooted, kept.number


def _rank_newest(kept: Kept) -> tuple[bool, int]:
    return kept.is_rooted, kept.number


def _rank_largest(kept: Kept) -> tuple[bool, int, int]:
    return kept.is_rooted, kept.size, -kept.number


def _name_shape(template: str, shape: Shape) -> str:
    """Twelve hexadecimal digits, the same for the same shape in any recording."""
    text = f"{template} {shape.rest.hex()} {sorted(shape.fields)}"
    return hashlib.blake2b(text.encode(errors="replace"), digest_size=6).hexdigest()
