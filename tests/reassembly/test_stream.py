"""Streams: whatever order pieces come in, the bytes are right and the gaps exact."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from kebpf.reassembly.stream import MOST_HELD_SIZE, Piece, Stream, unwrap

CONTENT = bytes(range(256)) * 40


def make_piece(start: int, end: int, time_ns: int = 1) -> Piece:
    return Piece(start, end - start, time_ns, 7, CONTENT[start:end])


def make_gap(start: int, end: int) -> Piece:
    return Piece(start, end - start, 1, 7, None)


def spans_of(pieces: list[Piece]) -> list[tuple[int, int, bool]]:
    """Start, end, and whether the bytes are there."""
    return [(one.offset, one.offset + one.size, one.data is not None) for one in pieces]


def test_in_order_passes_straight_through() -> None:
    stream = Stream()
    assert stream.add(make_piece(0, 5)) == [make_piece(0, 5)]
    assert stream.add(make_piece(5, 6)) == [make_piece(5, 6)]
    assert (stream.position, stream.captured_size, stream.gap_size) == (6, 6, 0)
    assert not stream.is_waiting


def test_an_early_piece_waits_for_what_is_before_it() -> None:
    stream = Stream()
    assert stream.add(make_piece(5, 9, time_ns=3)) == []
    assert stream.is_waiting
    assert stream.held_since_ns == 3
    assert stream.add(make_piece(0, 5)) == [make_piece(0, 5), make_piece(5, 9, time_ns=3)]
    assert stream.held_since_ns is None


def test_what_does_not_come_is_a_gap_of_its_exact_size() -> None:
    stream = Stream()
    stream.add(make_piece(0, 2))
    stream.add(make_piece(9, 12))
    stream.add(make_piece(20, 21))
    assert spans_of(stream.give_up()) == [(2, 9, False), (9, 12, True)]
    assert spans_of(stream.close(30, 5)) == [(12, 20, False), (20, 21, True), (21, 30, False)]
    assert (stream.captured_size, stream.gap_size) == (6, 24)
    assert stream.give_up() == []


def test_what_comes_twice_counts_once() -> None:
    stream = Stream()
    stream.add(make_piece(0, 10))
    assert stream.add(make_piece(2, 8)) == []
    assert stream.add(make_piece(8, 13)) == [make_piece(10, 13)]
    assert stream.overlap_size == 8
    assert stream.captured_size == 13


def test_a_close_before_what_came_takes_nothing_back() -> None:
    stream = Stream()
    stream.add(make_piece(0, 10))
    assert stream.close(4, 1) == []
    assert (stream.position, stream.gap_size) == (10, 0)


def test_held_bytes_have_a_cap() -> None:
    stream = Stream()
    size = MOST_HELD_SIZE // 4
    pieces = [Piece(1 + number * size, size, 1, 7, bytes(size)) for number in range(5)]
    given = [stream.add(piece) for piece in pieces]
    assert given[:4] == [[], [], [], []]
    assert spans_of(given[4])[0] == (0, 1, False)
    assert stream.position == 1 + 5 * size


@st.composite
def cut_content(draw: st.DrawFn) -> list[Piece]:
    """All of CONTENT in pieces, some of them gaps."""
    cuts = sorted(draw(st.sets(st.integers(1, len(CONTENT) - 1), max_size=12)))
    bounds = list(zip([0, *cuts], [*cuts, len(CONTENT)], strict=True))
    return [
        make_gap(*bound) if draw(st.integers(0, 9)) == 0 else make_piece(*bound) for bound in bounds
    ]


def check_order(given: list[Piece]) -> None:
    """Adjacent, from 0 on, and every byte the true one."""
    position = 0
    for piece in given:
        assert piece.offset == position
        assert piece.size > 0
        if piece.data is not None:
            assert piece.data == CONTENT[piece.offset : piece.offset + piece.size]
        position += piece.size


@given(cut_content(), st.data())
def test_any_order_with_losses_and_repeats(pieces: list[Piece], data: st.DataObject) -> None:
    lost = data.draw(st.sets(st.integers(0, len(pieces) - 1)))
    kept = [piece for number, piece in enumerate(pieces) if number not in lost]
    repeats = data.draw(st.lists(st.sampled_from(kept), max_size=4)) if kept else []
    overlapping = [
        replace(one, offset=one.offset + 1, size=one.size - 1, data=one.data and one.data[1:])
        for one in repeats
        if one.size > 1
    ]
    order = data.draw(st.permutations([*kept, *repeats, *overlapping]))
    stream, given = Stream(), []
    for piece in order:
        given += stream.add(piece)
    given += stream.close(len(CONTENT), 1)
    check_order(given)
    assert stream.position == len(CONTENT)
    there = {
        at
        for one in kept
        if one.data is not None
        for at in range(one.offset, one.offset + one.size)
    }
    captured = {
        at
        for one in given
        if one.data is not None
        for at in range(one.offset, one.offset + one.size)
    }
    assert captured == there
    assert (stream.captured_size, stream.gap_size) == (len(there), len(CONTENT) - len(there))


@given(cut_content(), st.data())
def test_giving_up_at_any_time_invents_nothing(pieces: list[Piece], data: st.DataObject) -> None:
    order = data.draw(st.permutations(pieces))
    stream, given = Stream(), []
    for piece in order:
        given += stream.add(piece)
        if data.draw(st.booleans()):
            given += stream.give_up()
    given += stream.close(len(CONTENT), 1)
    check_order(given)
    assert stream.captured_size + stream.gap_size == len(CONTENT)


@given(st.integers(0, 2**40), st.integers(0, 2**32 - 1), st.integers(-(2**31), 2**31 - 1))
def test_sequence_numbers_unwrap_to_the_nearest(near: int, base: int, step: int) -> None:
    offset = near + step
    assert unwrap((base + offset) % 2**32, base, near) == offset
