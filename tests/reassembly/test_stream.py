"""Streams: whatever order pieces come in, the bytes are right and the gaps exact."""

from __future__ import annotations

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


def test_what_overlaps_is_not_believed() -> None:
    """A record is lost whole or not at all: one that overlaps in part is not where it says."""
    stream = Stream()
    stream.add(make_piece(0, 10))
    assert stream.add(make_piece(2, 8)) == []
    assert stream.add(make_piece(8, 13)) == [make_gap(10, 13)]
    assert stream.overlap_size == 8
    assert (stream.captured_size, stream.contested_size) == (10, 3)


def test_two_threads_that_read_the_same_end_are_a_gap() -> None:
    """4 and 6 bytes, both said to end at 10: which was first cannot be known, what follows can."""
    stream = Stream()
    assert stream.add(Piece(6, 4, 3, 7, b"????")) == []
    assert stream.add(make_piece(10, 12)) == []
    given = stream.add(Piece(4, 6, 2, 8, b"??????"))
    assert spans_of(given) == [(0, 10, False), (10, 12, True)]
    assert given[1].data == CONTENT[10:12]
    assert (stream.contested_size, stream.gap_size, stream.is_waiting) == (10, 10, False)


def test_a_contest_with_a_loss_is_a_gap_to_its_end() -> None:
    stream = Stream()
    stream.add(Piece(6, 4, 3, 7, b"????"))
    stream.add(Piece(8, 2, 2, 8, b"??"))
    assert spans_of(stream.close(20, 1)) == [(0, 10, False), (10, 20, False)]


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
def test_any_order_with_losses(pieces: list[Piece], data: st.DataObject) -> None:
    lost = data.draw(st.sets(st.integers(0, len(pieces) - 1)))
    kept = [piece for number, piece in enumerate(pieces) if number not in lost]
    order = data.draw(st.permutations(kept))
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


@st.composite
def calls_of_threads(draw: st.DrawFn) -> tuple[list[Piece], int]:
    """Calls whose bytes lie in between each other's, with ends read when others had gone on."""
    shares = draw(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 9)), min_size=1, max_size=9))
    contents: dict[int, bytes] = {}
    ends: dict[int, int] = {}
    position = 0
    for call, size in shares:
        contents[call] = contents.get(call, b"") + CONTENT[position : position + size]
        position += size
        ends[call] = position
    later = sorted(ends.values())
    pieces: list[Piece] = []
    for call, content in contents.items():
        read = draw(st.sampled_from([end for end in later if end >= ends[call]]))
        start, half = read - len(content), draw(st.integers(0, len(content)))
        parts = [(start, content[:half]), (start + half, content[half:])]
        pieces += [Piece(at, len(part), 1, call, part) for at, part in parts if part]
    return pieces, position


@given(calls_of_threads(), st.data())
def test_what_is_not_certain_is_never_given(
    calls: tuple[list[Piece], int], data: st.DataObject
) -> None:
    pieces, size = calls
    stream, given = Stream(), []
    for piece in data.draw(st.permutations(pieces)):
        given += stream.add(piece)
    assert not stream.is_waiting  # all came: nothing is left to wait for
    given += stream.close(size, 1)
    check_order(given)
    assert stream.captured_size + stream.contested_size == stream.position == size
    assert stream.overlap_size == 0


@given(st.integers(0, 2**40), st.integers(0, 2**32 - 1), st.integers(-(2**31), 2**31 - 1))
def test_sequence_numbers_unwrap_to_the_nearest(near: int, base: int, step: int) -> None:
    offset = near + step
    assert unwrap((base + offset) % 2**32, base, near) == offset
