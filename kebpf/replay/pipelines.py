"""Asserts the order of calls that a case sent in one piece, without waiting for answers between.

Only where it is the program's own: calls of different operations, one of which writes, that stand
in one segment in that order in every case that made both, in two cases at least, or that work
on one key.  Branches of one request that run side by side may have met in one segment by chance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from kebpf.replay.events import CallFinding
from kebpf.replay.index import Recorded
from kebpf.replay.transactions import describe_pair, is_read, shape_of

NOTE = "sent together; recorded the other way round"

IsUsual = Callable[[Recorded, Recorded], bool]


def find_segments(own: Iterable[Recorded]) -> list[list[Recorded]]:
    """The calls of a case that went out together, each list in its order."""
    segments: dict[tuple[int, int], list[Recorded]] = {}
    for item in sorted(own, key=lambda one: one.ordinal):
        mock = item.mock
        segments.setdefault((mock.connection, mock.timing.start_ns), []).append(item)
    return [items for items in segments.values() if len(items) > 1]


def find_inversions(
    segments: Iterable[Sequence[Recorded]], served: Sequence[int], is_usual: IsUsual
) -> Iterator[CallFinding]:
    """One finding for each segment of which two calls changed places.

    ``served`` are the mocks in the order in which they were served; ``is_usual`` says whether
    the whole recording has two calls of such operations in that order only.
    """
    places = {ordinal: place for place, ordinal in enumerate(served)}
    for segment in segments:
        made = [item for item in segment if item.ordinal in places]
        for first, second in _pairs(made):
            is_inverted = places[first.ordinal] > places[second.ordinal]
            if is_inverted and _matters(first, second) and is_usual(first, second):
                yield describe_pair(second, first, "before", NOTE)
                break


def _pairs(items: Sequence[Recorded]) -> Iterator[tuple[Recorded, Recorded]]:
    return ((first, second) for at, first in enumerate(items) for second in items[at + 1 :])


def _matters(first: Recorded, second: Recorded) -> bool:
    return shape_of(first) != shape_of(second) and not (is_read(first) and is_read(second))


def judge_order(cases: Iterable[Sequence[Recorded]], first: Recorded, second: Recorded) -> bool:
    """Whether the calls of all ``cases`` say that the order of two is the program's own."""
    wanted = shape_of(first), shape_of(second)
    count = 0
    for own in cases:
        if set(wanted) <= {shape_of(item) for item in own}:
            if not any(_has_order(segment, *wanted) for segment in find_segments(own)):
                return False
            count += 1
    return count > 1 or _share_key(first, second)


def _has_order(segment: Sequence[Recorded], first: str, second: str) -> bool:
    shapes = [shape_of(item) for item in segment]
    if first not in shapes or second not in shapes:
        return False
    last = len(shapes) - 1 - shapes[::-1].index(first)
    return last < shapes.index(second)


def _share_key(first: Recorded, second: Recorded) -> bool:
    key = _key_of(first)
    return key is not None and key == _key_of(second)


def _key_of(item: Recorded) -> Any:
    """The first argument of a command."""
    command = item.mock.request.get("command")
    return command[1] if isinstance(command, list) and len(command) > 1 else None
