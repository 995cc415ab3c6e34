"""Finds the connection that each TLS session is on, and gives its plaintext in order.

A session on a socket names its connection with its first bytes.  One on a memory BIO is found by
its records: those it put into its BIO, or took from it, are looked for among the records that
went over connections, whichever was seen first.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Protocol

from kebpf.capture.events import Direction
from kebpf.capture.tlsevents import Mark, Plain, SessionEnd, SessionKey
from kebpf.protocols.tls.records import HEADER_SIZE, MARK_SIZE, find_record
from kebpf.reassembly.stream import Piece, Stream

#: Bytes kept of a session whose connection is not known yet.
MOST_HELD_SIZE = 4 << 20
#: The same of all.
MOST_HELD = 64 << 20
#: Records of connections whose session is not known, and of sessions whose connection is not.
MOST_MARKS = 65_536
#: Sessions that ended before their connection was found.
MOST_ENDED = 1_000
#: How long, in event time, a piece waits for an earlier one of another thread.
PATIENCE_NS = 200_000_000

_SEVERAL = "two TLS sessions on one connection"
_TOO_MUCH = "encrypted (TLS): too much went through it before its connection was found"


class PlainConsumer(Protocol):
    """Takes what sessions give; connections are named by their numbers."""

    def take_plain(self, connection: int, direction: Direction, piece: Piece, pid: int) -> None: ...

    def refuse_plain(self, connection: int, reason: str) -> None:
        """What is on this connection cannot be known."""


@dataclass(slots=True)
class _Session:
    key: SessionKey
    streams: tuple[Stream, Stream] = field(default_factory=lambda: (Stream(), Stream()))
    held: list[tuple[Direction, Piece]] = field(default_factory=list)
    held_size: int = 0
    connection: int | None = None
    is_over: bool = False
    is_dropped: bool = False  # what was held became too much


class Sessions:
    """``unplaced_size`` are the bytes of sessions whose connection was never found."""

    def __init__(self, consumer: PlainConsumer) -> None:
        self._consumer = consumer
        self._sessions: OrderedDict[SessionKey, _Session] = OrderedDict()
        self._by_connection: dict[int, _Session] = {}
        self._records: OrderedDict[bytes, int] = OrderedDict()
        self._wanted: OrderedDict[bytes, SessionKey] = OrderedDict()
        self._seen_since: dict[int, int] = {}  # by process: when its calls began to be seen
        self._waiting: dict[SessionKey, _Session] = {}
        self._ended: OrderedDict[SessionKey, None] = OrderedDict()
        self._held_size = 0
        self.unplaced_size = 0

    def seen_since(self, pid: int) -> int | None:
        """From when on a process's calls to its library are all seen (CLOCK_MONOTONIC ns)."""
        return self._seen_since.get(pid)

    def note_code(self, pid: int, time_ns: int) -> None:
        """From then on they are."""
        self._seen_since.setdefault(pid, time_ns)
        for session in list(self._sessions.values()):
            if session.key[0] == pid:
                self._flush(session)

    def forget_process(self, pid: int) -> None:
        """Another program runs there, or none."""
        self._seen_since.pop(pid, None)

    def is_bound(self, connection: int) -> bool:
        """Whether its session is known."""
        return connection in self._by_connection

    def take_plain(self, event: Plain, connection: int | None) -> None:
        """Bytes of a session, on ``connection`` if that is known; none only tell that."""
        session = self._find(event.key)
        if connection is not None:
            self._bind(session, connection)
        if not event.size:
            return
        head = event.head
        piece = Piece(event.offset, event.size, head.time_ns, head.tid, event.data, event.task)
        direction = Direction(head.direction)
        stream = session.streams[direction]
        for one in stream.add(piece):
            self._give(session, direction, one)
        if stream.is_waiting:
            self._waiting[session.key] = session
        if self._waiting:
            self.release_late(head.time_ns)

    def take_mark(self, event: Mark) -> None:
        """How a record of a session begins."""
        session = self._find(event.key)
        if session.connection is not None:
            return
        for mark in _list_marks(event.data):
            connection = self._records.get(mark)
            if connection is not None:
                self._bind(session, connection)
                return
            self._wanted[mark] = event.key
            if len(self._wanted) > MOST_MARKS:
                self._wanted.popitem(last=False)

    def take_record(self, connection: int, mark: bytes) -> None:
        """How a record begins that went over a connection."""
        if connection in self._by_connection:
            return
        key = self._wanted.pop(mark, None)
        session = self._sessions.get(key) if key is not None else None
        if session is not None and session.connection is None:
            self._bind(session, connection)
            return
        self._records[mark] = connection
        if len(self._records) > MOST_MARKS:
            self._records.popitem(last=False)

    def take_end(self, event: SessionEnd) -> None:
        """A session is no more."""
        session = self._sessions.get(event.key)
        if session is None:
            return
        for direction in Direction:
            stream = session.streams[direction]
            for piece in stream.close(event.moved[direction], event.head.time_ns):
                self._give(session, direction, piece)
        self._waiting.pop(session.key, None)
        session.is_over = True
        if session.connection is not None:
            del self._sessions[session.key]
            return
        self._ended[session.key] = None
        if len(self._ended) > MOST_ENDED:
            self._drop(self._sessions.pop(self._ended.popitem(last=False)[0]))

    def close_connection(self, connection: int) -> None:
        """Nothing more goes over it: gives what waits for what did not come."""
        session = self._by_connection.pop(connection, None)
        if session is None:
            return
        self._flush(session, is_known=True)
        self._give_up(session)
        self._sessions.pop(session.key, None)

    def release_late(self, now_ns: int) -> None:
        """Gives up on pieces that are overdue."""
        for key, session in list(self._waiting.items()):
            since = [one.held_since_ns for one in session.streams if one.is_waiting]
            if not since:
                del self._waiting[key]
            elif min(one for one in since if one is not None) < now_ns - PATIENCE_NS:
                self._give_up(session)

    def finish(self) -> None:
        """The recording ended: what has no connection by now never will."""
        for session in self._sessions.values():
            if session.connection is None:
                self._drop(session)

    def _find(self, key: SessionKey) -> _Session:
        session = self._sessions.get(key)
        if session is None:
            session = self._sessions[key] = _Session(key)
        return session

    def _bind(self, session: _Session, connection: int) -> None:
        if session.connection == connection:
            return
        other = self._by_connection.get(connection)
        if other is not None and not other.is_over:
            self._consumer.refuse_plain(connection, _SEVERAL)
            return
        session.connection = connection
        self._by_connection[connection] = session
        self._ended.pop(session.key, None)
        if session.is_dropped:
            self._consumer.refuse_plain(connection, _TOO_MUCH)
        self._flush(session)
        if session.is_over:
            self._sessions.pop(session.key, None)

    def _give(self, session: _Session, direction: Direction, piece: Piece) -> None:
        pid = session.key[0]
        if session.connection is not None and not session.held and pid in self._seen_since:
            self._consumer.take_plain(session.connection, direction, piece, pid)
        else:
            self._hold(session, direction, piece)

    def _hold(self, session: _Session, direction: Direction, piece: Piece) -> None:
        if session.is_dropped:
            return
        session.held.append((direction, piece))
        session.held_size += piece.size
        self._held_size += piece.size
        if session.held_size > MOST_HELD_SIZE or self._held_size > MOST_HELD:
            self._drop(session)

    def _flush(self, session: _Session, is_known: bool = False) -> None:
        """Gives what was held, once it is known where it belongs and since when it was seen."""
        pid, connection = session.key[0], session.connection
        if connection is None or not (is_known or pid in self._seen_since):
            return
        held, session.held = session.held, []
        self._held_size -= session.held_size
        session.held_size = 0
        for direction, piece in held:
            self._consumer.take_plain(connection, direction, piece, pid)

    def _give_up(self, session: _Session) -> None:
        for direction in Direction:
            while session.streams[direction].is_waiting:
                for piece in session.streams[direction].give_up():
                    self._give(session, direction, piece)
        self._waiting.pop(session.key, None)

    def _drop(self, session: _Session) -> None:
        self.unplaced_size += session.held_size
        self._held_size -= session.held_size
        session.held_size, session.held, session.is_dropped = 0, [], True


def _list_marks(data: bytes) -> list[bytes]:
    """What may be the beginning of a record's body: with its header before it, or without."""
    found = []
    if len(data) >= HEADER_SIZE + MARK_SIZE and find_record(data):
        found.append(data[HEADER_SIZE : HEADER_SIZE + MARK_SIZE])
    if len(data) >= MARK_SIZE:
        found.append(data[:MARK_SIZE])
    return found
