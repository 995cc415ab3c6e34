"""Writes of several threads to a Unix socket: right, or a gap where they met; whole if in turn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from kebpf.capture.events import Direction, Overlap, Transport
from kebpf.reassembly.stream import Piece
from kebpf.reassembly.tracker import PATIENCE_NS
from kebpf.reassembly.unixstream import UnixStream
from tests.capture.records import Socket
from tests.reassembly.test_tracker import Made

IN, OUT = Direction.INGRESS, Direction.EGRESS
CONTESTED = "by several threads at once, whose order is not known"
MS = 1_000_000


@dataclass
class Kernel:
    """A socket with threads that write to it, and a probe at each call's end, step by step.

    ``truth`` is what the peer reads; ``records`` what the probe sends, in the order of sending.
    """

    truth: bytearray = field(default_factory=bytearray)
    records: list[tuple[Piece, int, int]] = field(default_factory=list)
    moved: int = 0
    under_way: int = 0
    now_ns: int = 0
    calls: int = 0

    def write(self, tid: int, parts: list[int]) -> Iterator[None]:
        """One call, which queues its bytes in parts; others may do so between two steps."""
        self.under_way += 1
        self.calls += 1
        letter = bytes([self.calls % 256])
        for size in parts:
            yield
            self.truth += letter * size
        yield
        offset = self.moved
        end = offset + sum(parts)
        yield
        self.moved += sum(parts)
        yield
        overlaps = self.under_way - 1
        yield
        if self.moved != end:
            overlaps = Overlap.MANY
        for part in parts:  # the record's chunks have nothing to do with the queue's
            yield
            self.now_ns += 1
            piece = Piece(offset, part, self.now_ns, tid, letter * part)
            self.records.append((piece, end, overlaps))
            offset += part
        yield
        self.under_way -= 1


def put_together(kernel: Kernel) -> tuple[UnixStream, list[Piece]]:
    stream = UnixStream()
    given = []
    for piece, call_end, overlaps in kernel.records:
        given += stream.take(piece, call_end, overlaps, 0)
    return stream, given + stream.close(kernel.moved, kernel.now_ns)


def assert_right(given: list[Piece], truth: bytes) -> None:
    position = 0
    for piece in given:
        assert piece.offset == position
        if piece.data is not None:
            assert piece.data == truth[position : position + piece.size]
        position += piece.size
    assert position == len(truth)


PARTS = st.lists(st.integers(1, 3), min_size=1, max_size=3)


@given(st.data())
def test_whatever_the_order_it_is_right_or_a_gap(data: st.DataObject) -> None:
    kernel = Kernel()
    running: dict[int, Iterator[None]] = {}
    for tid in data.draw(st.lists(st.integers(1, 3), max_size=150)):
        if tid not in running:
            running[tid] = kernel.write(tid, data.draw(PARTS))
        if next(running[tid], "over") == "over":
            del running[tid]
    for steps in running.values():
        list(steps)
    stream, given = put_together(kernel)
    assert_right(given, bytes(kernel.truth))
    assert stream.contested_size == stream.gap_size
    assert (stream.overlap_size, stream.is_waiting) == (0, False)


@given(st.lists(st.tuples(st.integers(1, 3), PARTS)))
def test_what_is_written_in_turn_is_whole_and_given_at_once(
    calls: list[tuple[int, list[int]]],
) -> None:
    kernel, stream = Kernel(), UnixStream()
    for tid, parts in calls:
        list(kernel.write(tid, parts))
    given = []
    for record in kernel.records:
        passed = stream.take(*record, 0)
        assert passed == [record[0]]
        given += passed
    assert_right(given, bytes(kernel.truth))
    assert stream.gap_size == 0


def make_piece(start: int, end: int, tid: int = 1, time_ns: int = MS) -> Piece:
    return Piece(start, end - start, time_ns, tid, b"x" * (end - start))


def spans_of(pieces: list[Piece]) -> list[tuple[int, int, bool]]:
    """Start, end, and whether the bytes are there."""
    return [(one.offset, one.offset + one.size, one.data is not None) for one in pieces]


def test_one_thread_alone_is_settled_by_an_answer() -> None:
    """Its descriptor is another process's too, so that nobody knows who else writes."""
    stream = UnixStream()
    assert stream.take(make_piece(0, 5), 5, 1, 0) == []
    assert (stream.is_waiting, stream.held_since_ns) == (True, MS)
    assert stream.answer(9, MS - 1) == []
    assert spans_of(stream.answer(9, MS + 1)) == [(0, 5, True)]
    assert (stream.is_waiting, stream.held_since_ns) == (False, None)


def test_several_threads_are_not_settled_by_an_answer() -> None:
    stream = UnixStream()
    stream.take(make_piece(0, 5), 5, 1, 0)
    stream.take(make_piece(5, 9, tid=2), 9, Overlap.LATE, 0)
    assert spans_of(stream.answer(9, 2 * MS)) == [(0, 9, False)]
    assert stream.contested_size == 9
    stream.take(make_piece(9, 12), 12, 1, 0)
    assert stream.answer(9, 3 * MS) == []  # what was seen once may be so again
    assert spans_of(stream.give_up()) == [(9, 12, True)]


def test_where_a_probe_looks_late_no_write_settles_others() -> None:
    stream = UnixStream()
    late = Overlap.LATE.value
    assert stream.take(make_piece(0, 5), 5, late, 0) == []
    assert stream.take(make_piece(5, 7, tid=2), 7, late, 0) == []
    assert spans_of(stream.answer(1, 2 * MS)) == [(0, 5, True), (5, 7, True)]


class TestSleeper:
    """Thread 9 waits for an answer while others write in turn."""

    def test_its_call_is_not_taken_for_a_write(self) -> None:
        stream = UnixStream()
        stream.take(make_piece(0, 5), 5, 1, 9)
        stream.take(make_piece(5, 7, tid=2), 7, 1, 0)  # it was awake for a moment
        assert spans_of(stream.take(make_piece(7, 8, tid=3), 8, 0, 0)) == [
            (0, 5, True),
            (5, 7, True),
            (7, 8, True),
        ]

    def test_its_own_write_may_have_begun_before(self) -> None:
        stream = UnixStream()
        stream.take(make_piece(0, 5), 5, 1, 9)
        assert spans_of(stream.take(make_piece(5, 7, tid=9), 7, 0, 0)) == [(0, 7, False)]

    def test_once_it_has_read_the_other_call_is_anybodys(self) -> None:
        stream = UnixStream()
        stream.take(make_piece(0, 5), 5, 0, 9)
        stream.answer(9, 2 * MS)
        stream.take(make_piece(5, 7, time_ns=3 * MS), 7, 1, 0)
        given = stream.take(make_piece(7, 8, tid=3, time_ns=3 * MS), 8, 0, 0)
        assert spans_of(given) == [(5, 8, False)]

    def test_a_look_from_before_it_read_tells_nothing(self) -> None:
        stream = UnixStream()
        stream.answer(9, 2 * MS)
        stream.take(make_piece(0, 5, time_ns=2 * MS + 1), 5, 0, 9)
        stream.take(make_piece(5, 7, time_ns=3 * MS), 7, 1, 0)
        given = stream.take(make_piece(7, 8, tid=3, time_ns=3 * MS), 8, 0, 0)
        assert spans_of(given) == [(5, 8, False)]

    def test_of_two_others_none_is_known(self) -> None:
        stream = UnixStream()
        stream.take(make_piece(0, 5), 5, 0, 9)
        stream.take(make_piece(5, 7), 7, 2, 0)
        given = stream.take(make_piece(7, 8, tid=3), 8, 0, 0)
        assert spans_of(given) == [(5, 8, False)]


def test_what_comes_late_of_a_contest_was_given() -> None:
    stream = UnixStream()
    stream.take(make_piece(0, 5), 10, 1, 0)
    stream.take(make_piece(5, 9, tid=2), 9, 1, 0)
    assert spans_of(stream.give_up()) == [(0, 14, False)]
    assert stream.take(make_piece(5, 10), 10, 1, 0) == []
    assert stream.overlap_size == 0


def test_declared_gaps_are_not_contested() -> None:
    stream = UnixStream()
    stream.take(Piece(0, 5, MS, 1, None), 5, 1, 0)
    stream.take(make_piece(5, 9, tid=2), 9, 0, 0)
    assert (stream.gap_size, stream.contested_size) == (9, 4)


def test_there_is_an_end_to_what_is_held() -> None:
    stream = UnixStream()
    with mock.patch("kebpf.reassembly.unixstream.MOST_HELD_SIZE", 6):
        assert stream.take(make_piece(0, 5), 5, 1, 0) == []
        assert spans_of(stream.take(make_piece(5, 9), 9, 1, 0)) == [(0, 5, True), (5, 9, True)]


def test_there_is_an_end_to_the_threads_remembered() -> None:
    stream = UnixStream()
    with mock.patch("kebpf.reassembly.unixstream._MOST_SEEN", 2):
        for tid in (1, 2, 3):
            stream.answer(tid, MS)
    assert list(stream._seen_ns) == [3]


class TestThroughTheTracker:
    def open_one(self) -> tuple[Socket, Made]:
        one = Socket(transport=Transport.UNIX_STREAM)
        return one, Made().feed(one.open(paths=(b"", b"/run/db"), family=1))

    def test_of_several_threads_at_once_are_a_gap(self) -> None:
        one, made = self.open_one()
        one.overlaps = 1
        made.feed(one.send(b"question"))
        one.overlaps, one.tid = 0, 102
        made.feed(one.send(b"another"), one.receive(b"answer"), one.close())
        assert (made.only.gaps(OUT), made.only.ingress) == ([(0, 15)], b"answer")
        assert made.only.connection.missing_payload == {CONTESTED: 15}
        assert made.tracker.proof.proven == 1

    def test_of_one_thread_wait_for_the_answer_where_others_may_write(self) -> None:
        one, made = self.open_one()
        one.overlaps = 1
        made.feed(one.send(b"ques"), one.send(b"tion"))
        assert made.only.egress == b""
        made.feed(one.receive(b"answer"))
        assert (made.only.egress, made.only.ingress) == (b"question", b"answer")
        assert made.feed(one.send(b"more"), one.end(IN)).only.egress == b"questionmore"

    def test_do_not_wait_for_ever(self) -> None:
        one, made = self.open_one()
        one.overlaps = 1
        made.feed(one.send(b"question"))
        one.time_ns += PATIENCE_NS + 1
        made.feed(Socket(address=1, time_ns=one.time_ns).open())
        made.tracker.release_late()
        assert made.seen[0].egress == b"question"


def test_a_life_that_two_threads_begin_is_one() -> None:
    for transport in (Transport.TCP, Transport.UNIX_STREAM):
        one = Socket(transport=transport)
        made = Made().feed(one.open(), one.send(b"ques"), one.open(), one.send(b"tion"))
        assert made.feed(one.close()).only.egress == b"question"
