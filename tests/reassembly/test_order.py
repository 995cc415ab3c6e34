"""Two directions in one order: by time, never against the order of a stream."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kebpf.capture.events import Direction
from kebpf.reassembly.order import TimeOrder
from kebpf.reassembly.stream import Piece

IN, OUT = Direction.INGRESS, Direction.EGRESS


def make_piece(time_ns: int, offset: int = 0) -> Piece:
    return Piece(offset, 3, time_ns, 1, b"abc")


def times_of(given: list[tuple[Direction, Piece]]) -> list[tuple[Direction, int]]:
    return [(direction, piece.time_ns) for direction, piece in given]


def test_both_directions_come_by_time() -> None:
    order = TimeOrder()
    order.add(IN, [make_piece(10), make_piece(30)])
    order.add(OUT, [make_piece(20), make_piece(40)])
    assert times_of(order.take(None)) == [(IN, 10), (OUT, 20), (IN, 30), (OUT, 40)]
    assert order.size == 0


def test_what_came_after_a_piece_that_waits_is_kept() -> None:
    order = TimeOrder()
    order.add(OUT, [make_piece(10), make_piece(20), make_piece(30)])
    assert times_of(order.take(20)) == [(OUT, 10)]
    assert order.size == 6
    order.add(IN, [make_piece(20)])
    assert times_of(order.take(None)) == [(IN, 20), (OUT, 20), (OUT, 30)]


@given(st.lists(st.integers(0, 9)), st.lists(st.integers(0, 9)), st.none() | st.integers(0, 10))
def test_each_stream_keeps_its_order_and_nothing_is_lost(
    ingress: list[int], egress: list[int], before_ns: int | None
) -> None:
    order = TimeOrder()
    for direction, times in ((IN, ingress), (OUT, egress)):
        order.add(direction, [make_piece(time, offset) for offset, time in enumerate(times)])
    given = order.take(before_ns)
    assert before_ns is None or all(piece.time_ns < before_ns for _, piece in given)
    given += order.take(None)
    for direction, times in ((IN, ingress), (OUT, egress)):
        offsets = [piece.offset for one, piece in given if one is direction]
        assert offsets == list(range(len(times)))
    assert order.size == 0
