"""Asserts the order of calls that a case sent without waiting for the answers between.

Only where it is the program's own: calls of different operations, one of which writes, that went
out together in that order in every case that made both, in two cases at least, or that work on one
key.  Together means in one segment, or in one *flight*: one after the other on one connection
before the first is answered, by the thread that read the request, while nothing came in that the
second could have been waiting for.  Branches of one request that run side by side may meet by
chance; a flight follows one single answer, so that there is one branch only.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from kebpf.replay.events import CallFinding
from kebpf.replay.index import Recorded
from kebpf.replay.transactions import describe_pair, is_read, shape_of

NOTE = "sent together; recorded the other way round"

IsUsual = Callable[[Recorded, Recorded], bool]
Span = tuple[int, int]  # from a call's first byte to the end of its answer, Unix time, ns


class Order(enum.Enum):
    """What one case says of the order of calls of two operations."""

    TOGETHER = "together"  # in one segment or flight, in that order
    UNCLEAR = "unclear"  # in that order, perhaps of two branches
    OTHER = "other"  # the other way round, or not together


@dataclass
class CaseRecord:
    """What a case was recorded to call: its ``own`` calls, those of the ``session``.

    ``doubtful`` are ordinals, for ``load``, of calls that may be its own.
    """

    own: Sequence[Recorded]
    session: Sequence[Recorded] = ()
    doubtful: Sequence[int] = ()
    load: Callable[[int], Recorded] | None = None

    def load_doubtful(self) -> Iterator[Recorded]:
        """The calls that may be its own."""
        load = self.load
        return iter(()) if load is None else map(load, self.doubtful)

    def find_groups(self) -> list[list[Recorded]]:
        """The calls of the case that went out together, each list in its order."""
        lines: dict[int, list[Recorded]] = {}
        for item in sorted(self.own, key=when):
            lines.setdefault(item.mock.connection, []).append(item)
        return [group for line in lines.values() for group in self._group(line) if len(group) > 1]

    def judge(self, first: Recorded, second: Recorded) -> Order | None:
        """What the case says of two operations; nothing if it did not make both."""
        wanted = shape_of(first), shape_of(second)
        if not set(wanted) <= {shape_of(item) for item in self.own}:
            return None
        groups = [_compare(group, *wanted) for group in self.find_groups()]
        if any(groups):
            return Order.OTHER if False in groups else Order.TOGETHER
        one, other = last_and_first(sorted(self.own, key=when), *wanted)
        is_clear = one.mock.is_by_reader and other.mock.is_by_reader
        in_line = when(one) < when(other) and one.mock.connection == other.mock.connection
        is_unclear = in_line and is_clear and _overlap(_span(one), _span(other))
        return Order.UNCLEAR if is_unclear else Order.OTHER

    def _group(self, line: Sequence[Recorded]) -> Iterator[list[Recorded]]:
        current: list[Recorded] = []
        for item in line:
            if current and not self._goes_on(current, item):
                yield current
                current = []
            current.append(item)
        yield current

    def _goes_on(self, group: Sequence[Recorded], item: Recorded) -> bool:
        """Whether a call went out with those of a group."""
        begin, last, at = _span(group[0])[0], _span(group[-1])[0], _span(item)[0]
        if at == last:
            return True
        is_one_thread = item.mock.is_by_reader and all(one.mock.is_by_reader for one in group)
        answered = min(one.mock.timing.end_ns for one in group)
        if not is_one_thread or at >= answered:
            return False
        return not any(begin < end <= at for _, end in self._spans) and self._has_one_cause(begin)

    def _has_one_cause(self, at_ns: int) -> bool:
        """Whether all other calls were over when the last began that was answered until then."""
        past = sorted((span for span in self._spans if span[1] <= at_ns), key=lambda span: span[1])
        return all(end <= past[-1][0] for _, end in past[:-1])

    @cached_property
    def _spans(self) -> list[Span]:
        return [_span(item) for item in (*self.own, *self.session, *self.load_doubtful())]


def last_and_first(calls: Sequence[Recorded], first: str, second: str) -> tuple[Recorded, Recorded]:
    """The last of some calls of one operation, the first of another."""
    last = next(item for item in reversed(calls) if shape_of(item) == first)
    return last, next(item for item in calls if shape_of(item) == second)


def _compare(group: Sequence[Recorded], first: str, second: str) -> bool | None:
    """Whether all calls of one operation come before those of another, if both are there."""
    if not {first, second} <= {shape_of(item) for item in group}:
        return None
    last, other = last_and_first(group, first, second)
    return group.index(last) < group.index(other)


def when(item: Recorded) -> tuple[int, int]:
    """The place of a call among those of its case."""
    return item.mock.timing.start_ns, item.ordinal


def _span(item: Recorded) -> Span:
    return item.mock.timing.start_ns, item.mock.timing.end_ns


def _overlap(one: Span, other: Span) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def find_inversions(
    record: CaseRecord, served: Sequence[int], is_usual: IsUsual
) -> Iterator[CallFinding]:
    """One finding for each group of calls sent together of which two changed places.

    ``served`` are the mocks in the order in which they were served; ``is_usual`` says whether
    the whole recording has two calls of such operations in that order only.
    """
    places = {ordinal: place for place, ordinal in enumerate(served)}
    for group in record.find_groups():
        made = [item for item in group if item.ordinal in places]
        for first, second in _pairs(made):
            is_inverted = places[first.ordinal] > places[second.ordinal]
            if is_inverted and matters(first, second) and is_usual(first, second):
                yield describe_pair(second, first, "before", NOTE)
                break


def _pairs(items: Sequence[Recorded]) -> Iterator[tuple[Recorded, Recorded]]:
    return ((first, second) for at, first in enumerate(items) for second in items[at + 1 :])


def matters(first: Recorded, second: Recorded) -> bool:
    """Whether the order of two calls is of any account: other operations, one of which writes."""
    return shape_of(first) != shape_of(second) and not (is_read(first) and is_read(second))


def judge_order(cases: Iterable[CaseRecord], first: Recorded, second: Recorded) -> bool:
    """Whether the calls of all ``cases`` say that the order of two is the program's own."""
    count = 0
    for case in cases:
        order = case.judge(first, second)
        if order is Order.OTHER:
            return False
        count += order is Order.TOGETHER
    return count > 1 or (count == 1 and share_key(first, second))


def share_key(first: Recorded, second: Recorded) -> bool:
    """Whether two commands have the same first argument."""
    key = _key_of(first)
    return key is not None and key == _key_of(second)


def _key_of(item: Recorded) -> Any:
    """The first argument of a command."""
    command = item.mock.request.get("command")
    return command[1] if isinstance(command, list) and len(command) > 1 else None
