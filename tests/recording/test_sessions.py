"""Sessions find their connections by socket or by record, whichever is seen first."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebpf.capture.events import Direction
from kebpf.capture.head import Head
from kebpf.capture.tlsevents import Mark, Plain, SessionEnd
from kebpf.protocols.tls.records import MARK_SIZE
from kebpf.reassembly.stream import Piece
from kebpf.recording.sessions import MOST_HELD_SIZE, PATIENCE_NS, Sessions

IN, OUT = Direction.INGRESS, Direction.EGRESS
PID, OTHER_PID = 100, 200


class Made:
    """Sessions, and what they gave by connection."""

    def __init__(self, is_seen: bool = True) -> None:
        self.given: dict[int, list[tuple[Direction, bytes | None]]] = {}
        self.refused: dict[int, str] = {}
        self.sessions = Sessions(self)
        if is_seen:
            self.sessions.note_code(PID, 1)

    def take_plain(self, connection: int, direction: Direction, piece: Piece, pid: int) -> None:
        assert pid == PID
        self.given.setdefault(connection, []).append((direction, piece.data))

    def refuse_plain(self, connection: int, reason: str) -> None:
        self.refused[connection] = reason


class Session:
    """What one session's events are; ``offsets`` count by direction."""

    def __init__(self, address: int = 0x1000, generation: int = 5) -> None:
        self.address, self.generation = address, generation
        self.offsets = [0, 0]
        self.time_ns = 1000

    def head(self, direction: Direction) -> Head:
        self.time_ns += 1
        return Head(self.time_ns, 0, 0, PID, PID, direction, 0, 0)

    def plain(self, direction: Direction, data: bytes) -> Plain:
        offset = self.offsets[direction]
        self.offsets[direction] += len(data)
        return Plain(
            self.head(direction), self.address, self.generation, offset, len(data), 0, data
        )

    def mark(self, direction: Direction, data: bytes) -> Mark:
        return Mark(self.head(direction), self.address, self.generation, data)

    def end(self, moved: tuple[int, int] | None = None) -> SessionEnd:
        counted = moved or (self.offsets[0], self.offsets[1])
        return SessionEnd(self.head(IN), self.address, self.generation, counted)


def record(body: bytes) -> bytes:
    return b"\x17\x03\x03" + len(body).to_bytes(2, "big") + body


def test_on_a_socket() -> None:
    made, session = Made(), Session()
    made.sessions.take_plain(session.plain(OUT, b"question"), 7)
    made.sessions.take_plain(session.plain(IN, b"answer"), None)
    assert made.given == {7: [(OUT, b"question"), (IN, b"answer")]}
    assert made.sessions.is_bound(7)


@pytest.mark.parametrize("has_header", [True, False])
@pytest.mark.parametrize("is_seen_first", [True, False])
def test_by_a_record(has_header: bool, is_seen_first: bool) -> None:
    made, session, body = Made(), Session(), os.urandom(39)
    mark = session.mark(OUT, record(body) if has_header else body)
    if is_seen_first:
        made.sessions.take_record(7, body[:MARK_SIZE])
    made.sessions.take_mark(mark)
    made.sessions.take_plain(session.plain(OUT, b"question"), None)
    if not is_seen_first:
        assert made.given == {}
        made.sessions.take_record(8, os.urandom(MARK_SIZE))
        made.sessions.take_record(7, body[:MARK_SIZE])
    made.sessions.take_plain(session.plain(IN, b"answer"), None)
    assert made.given == {7: [(OUT, b"question"), (IN, b"answer")]}


def test_no_record_is_found_by_chance() -> None:
    """Not by its header, nor by what begins like it."""
    made, session, body = Made(), Session(), os.urandom(39)
    made.sessions.take_record(7, body[: MARK_SIZE - 1] + bytes([body[MARK_SIZE - 1] ^ 1]))
    made.sessions.take_mark(session.mark(OUT, record(body)))
    made.sessions.take_plain(session.plain(OUT, b"question"), None)
    made.sessions.close_connection(7)
    made.sessions.finish()
    assert (made.given, made.sessions.unplaced_size) == ({}, len(b"question"))


def test_nothing_is_given_before_it_is_known_since_when_calls_are_seen() -> None:
    made, session = Made(is_seen=False), Session()
    made.sessions.take_plain(session.plain(OUT, b"question"), 7)
    made.sessions.note_code(OTHER_PID, 1)
    assert made.given == {}
    made.sessions.note_code(PID, 900)
    assert made.given == {7: [(OUT, b"question")]}
    assert made.sessions.seen_since(PID) == 900


def test_two_sessions_on_one_connection_are_refused() -> None:
    made = Made()
    made.sessions.take_plain(Session(0x1000).plain(OUT, b"one"), 7)
    made.sessions.take_plain(Session(0x2000).plain(OUT, b"two"), 7)
    assert list(made.refused) == [7]
    assert made.given == {7: [(OUT, b"one")]}


def test_one_after_the_other_is_not() -> None:
    made, first, second = Made(), Session(0x1000), Session(0x1000, generation=6)
    made.sessions.take_plain(first.plain(OUT, b"one"), 7)
    made.sessions.take_end(first.end())
    made.sessions.take_plain(second.plain(OUT, b"two"), 7)
    assert (made.refused, made.given) == ({}, {7: [(OUT, b"one"), (OUT, b"two")]})


@given(st.permutations(range(6)), st.integers(0, 5))
def test_order_and_gaps_are_by_offset(order: list[int], lost: int) -> None:
    """Whatever comes when: in order, and what never came is a gap in its place."""
    made, session = Made(), Session()
    events = [session.plain(IN, bytes([65 + number]) * 3) for number in range(6)]
    for number in order:
        if number != lost:
            made.sessions.take_plain(events[number], 7)
    made.sessions.take_end(session.end())
    expected = [None if number == lost else bytes([65 + number]) * 3 for number in range(6)]
    assert made.given[7] == [(IN, data) for data in expected]


def test_what_does_not_come_is_not_waited_for_long() -> None:
    made, session = Made(), Session()
    session.plain(IN, b"lost")
    late = session.plain(IN, b"late")
    made.sessions.take_plain(late, 7)
    assert made.given == {}
    made.sessions.release_late(late.head.time_ns + PATIENCE_NS + 1)
    assert made.given == {7: [(IN, None), (IN, b"late")]}


def test_what_waits_is_bounded() -> None:
    made, session, body = Made(), Session(), os.urandom(39)
    made.sessions.take_mark(session.mark(OUT, record(body)))
    for _ in range(5):
        made.sessions.take_plain(session.plain(OUT, bytes(MOST_HELD_SIZE // 4)), None)
    made.sessions.take_record(7, body[:MARK_SIZE])
    assert made.given == {}
    assert list(made.refused) == [7]


def test_a_connection_that_ends_gives_all_that_there_is() -> None:
    made, session = Made(is_seen=False), Session()
    made.sessions.take_plain(session.plain(OUT, b"question"), 7)
    made.sessions.close_connection(7)
    assert made.given == {7: [(OUT, b"question")]}
    assert not made.sessions.is_bound(7)
