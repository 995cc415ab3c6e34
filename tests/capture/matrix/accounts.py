"""Compares what was put together with what the peer saw, byte by byte, and the kernel's sums."""

from __future__ import annotations

from kebpf.capture.events import Direction
from kebpf.reassembly.stream import Piece
from tests.capture.tap import Capture, Seen

IN, OUT = Direction.INGRESS, Direction.EGRESS


def assert_pieces(pieces: list[Piece], truth: bytes) -> None:
    """The pieces follow one another over the whole of ``truth``, and each holds its bytes."""
    position = 0
    for piece in pieces:
        assert piece.offset == position
        if piece.data is not None:
            assert piece.size == len(piece.data)
            assert piece.data == truth[position : position + piece.size], f"at {position}"
        position += piece.size
    assert position == len(truth)


def assert_accounted(capture: Capture, seen: Seen, egress: bytes, ingress: bytes) -> None:
    """Both streams are the peer's but for gaps, and the kernel's sums are captured and gaps."""
    assert_pieces(seen.pieces[OUT], egress)
    assert_pieces(seen.pieces[IN], ingress)
    connection = seen.connection
    assert connection.captured_size + connection.gap_size == len(egress) + len(ingress)
    key = connection.opened.head.connection
    moved = [close.moved for close in capture.closes if close.head.connection == key]
    if connection.transport == "tcp":
        assert moved == [(len(ingress), len(egress))]
    assert capture.totals.unopened_size == 0
    assert seen.connection.gap_size == sum(
        size for direction in Direction for _, size in seen.gaps(direction)
    )


def assert_whole(capture: Capture, seen: Seen, egress: bytes, ingress: bytes) -> None:
    """The same, and nothing is missing."""
    assert_accounted(capture, seen, egress, ingress)
    assert seen.connection.gap_size == 0
    assert capture.totals.overlap_size == 0
    assert seen.connection.missing_payload == {}
