"""Asserts the order of calls that one asyncio task made one after the other, on any connections.

A task does one thing after the other: a call that it sent once another was answered, or for which
it then made a task (`asyncio.wait_for` does), can come before that only if the program changed, say
no longer awaits.  So that chance has no part in it, the whole recording must say the same: in every
case that made calls of both operations, two at least unless they work on one key, they were one
task's and in this order.  Two reads have none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise, takewhile

from kebpf.replay.events import CallFinding
from kebpf.replay.index import Recorded
from kebpf.replay.pipelines import CaseRecord, IsUsual, last_and_first, matters, share_key, when
from kebpf.replay.transactions import describe_pair, shape_of

NOTE = "recorded the other way round, one after the other by one asyncio task"
MOST_CALLS = 256  # of a case in which places were changed


def find_overtaken(
    record: CaseRecord, served: Sequence[int], is_usual: IsUsual
) -> Iterator[CallFinding]:
    """One finding for a call that was made before one which it was recorded to follow.

    ``served`` and ``is_usual`` as for `kebpf.replay.pipelines.find_inversions`.
    """
    places = {ordinal: place for place, ordinal in enumerate(served)}
    made = [one for one in sorted(record.own, key=when) if one.ordinal in places]
    if all(places[one.ordinal] < places[other.ordinal] for one, other in pairwise(made)):
        return
    made = made[:MOST_CALLS]
    for at, first in enumerate(made):
        for second in made[at + 1 :]:
            if places[first.ordinal] < places[second.ordinal] or not _follows(first, second):
                continue
            if matters(first, second) and is_usual(first, second):
                yield describe_pair(second, first, "before", NOTE)
                return


def judge_sequence(cases: Iterable[CaseRecord], first: Recorded, second: Recorded) -> bool:
    """Whether the calls of all ``cases`` say that one operation comes after another."""
    wanted, count = (shape_of(first), shape_of(second)), 0
    for case in cases:
        own = sorted(case.own, key=when)
        shapes = {shape_of(item) for item in own}
        if any(shape_of(one) in wanted for one in case.load_doubtful()):
            return False
        if not shapes.issuperset(wanted):
            continue
        if not _follows(*last_and_first(own, *wanted)):
            return False
        count += 1
    return count > 1 or (count == 1 and share_key(first, second))


def _follows(first: Recorded, second: Recorded) -> bool:
    """Whether one task sent the second, or had another made for it, when the first was answered."""
    one, other = first.mock.tasks, second.mock.tasks
    shared = sum(
        1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    )
    if not shared:
        return False
    begun = other[shared] if shared < len(other) else second.mock.timing.start_ns
    return first.mock.timing.end_ns <= begun
