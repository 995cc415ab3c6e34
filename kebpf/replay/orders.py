"""Says what the whole recording tells of the order of two calls: the program's own, or chance."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from kebpf.replay.index import MockIndex, Recorded
from kebpf.replay.pipelines import CaseRecord, judge_order
from kebpf.replay.sequences import judge_sequence
from kebpf.replay.transactions import Transaction, find_transactions, operation_of, shape_of

MOST_COMPARED = 64  # calls whose cases are asked for the order of calls


class Orders:
    """The order of calls in the cases of one recording."""

    def __init__(self, index: MockIndex) -> None:
        self._index = index

    def record_of(self, case: str) -> CaseRecord:
        """What a case was recorded to call."""
        index, load = self._index, self._index.load
        own = list(map(load, index.own(case)))
        session = list(map(load, index.session_of(case)))
        return CaseRecord(own, session, [*index.shared(case), *index.possible(case)], load)

    def is_sometimes(self, first: Recorded, second: Recorded) -> bool:
        """Whether some other case recorded calls of two operations in this order."""
        first_shape, second_shape = shape_of(first), shape_of(second)
        for name in self._cases_with(first):
            for transaction in self._transactions_of(name):
                shapes = [shape_of(item) for item in transaction.items]
                if first_shape in shapes and second_shape in shapes[shapes.index(first_shape) :]:
                    return True
        return False

    def is_usual(self, first: Recorded, second: Recorded) -> bool:
        """Whether the recording has calls of two operations together and in this order only."""
        return judge_order(map(self.record_of, self._cases_with(first)), first, second)

    def is_sequence(self, first: Recorded, second: Recorded) -> bool:
        """Whether one task always makes the calls of two operations, and in this order."""
        return judge_sequence(map(self.record_of, self._cases_with(first)), first, second)

    def _cases_with(self, item: Recorded) -> Iterator[str]:
        """Those that made a call of its operation, the first so many."""
        index = self._index
        ordinals = index.of_operation(item.mock.destination, operation_of(item))
        names = (index.load(ordinal).mock.case for ordinal in islice(ordinals, MOST_COMPARED))
        return (name for name in dict.fromkeys(names) if name is not None)

    def _transactions_of(self, case: str) -> list[Transaction]:
        record = self.record_of(case)
        return find_transactions(record.own, record.session)
