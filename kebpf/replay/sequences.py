"""What the recording says of the order of calls: how other cases made calls of two operations."""

from __future__ import annotations

from itertools import islice

from kebpf.replay.index import MockIndex, Recorded
from kebpf.replay.pipelines import judge_order
from kebpf.replay.transactions import Transaction, find_transactions, operation_of, shape_of

MOST_COMPARED = 64  # calls whose cases are asked for the order of calls


def is_sometimes(index: MockIndex, first: Recorded, second: Recorded) -> bool:
    """Whether some case recorded calls of two operations in this order, in one transaction."""
    first_shape, second_shape = shape_of(first), shape_of(second)
    for name in _cases_of(index, first):
        for transaction in _transactions_of(index, name):
            shapes = [shape_of(item) for item in transaction.items]
            if first_shape in shapes and second_shape in shapes[shapes.index(first_shape) :]:
                return True
    return False


def is_usual(index: MockIndex, first: Recorded, second: Recorded) -> bool:
    """Whether the recording has calls of two operations together and in this order only."""
    cases = (list(map(index.load, index.own(name))) for name in _cases_of(index, first))
    return judge_order(cases, first, second)


def _cases_of(index: MockIndex, item: Recorded) -> list[str]:
    """The cases that made calls of an operation."""
    ordinals = index.of_operation(item.mock.destination, operation_of(item))
    names = (index.load(ordinal).mock.case for ordinal in islice(ordinals, MOST_COMPARED))
    return list(dict.fromkeys(name for name in names if name))


def _transactions_of(index: MockIndex, case: str) -> list[Transaction]:
    own, session = index.own(case), index.session_of(case)
    return find_transactions(map(index.load, own), map(index.load, session))
