"""Follows all connections of a recording: events in, ordered pieces out to a consumer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from kebpf.capture.events import (
    MOST_RECORD_SIZE,
    PIECE_HEAD_SIZE,
    PIECE_RECORD,
    Close,
    Data,
    Direction,
    End,
    Event,
    GivenUp,
    Held,
    Kind,
    Listen,
    Loss,
    Lost,
    Open,
    Process,
    ProcessChange,
    SocketRole,
    Task,
    Transport,
    take_event,
)
from kebpf.capture.head import Head
from kebpf.capture.tlsevents import SessionEvent
from kebpf.reassembly.connection import Connection
from kebpf.reassembly.proof import KernelCount, Proof
from kebpf.reassembly.stream import MOST_HELD_SIZE, Piece, unwrap

#: How long, in event time, a piece waits for an earlier one of another thread or processor.
PATIENCE_NS = 200_000_000
#: Inodes of sockets that were there before, or whose life was ended.
MOST_REMEMBERED = 65_536
#: Events kept for a connection whose opening record has not come yet.
MOST_EARLY_EVENTS = 256

#: Door A does not see splice out of a socket, door B io_uring, neither of them mapped memory.
UNSEEN = "by splice, io_uring or another way that no probe sees"
_CONTESTED = "by several threads at once, whose order is not known"

Key = tuple[int, int]

# Looked up for every event: an enumeration's own attributes are slow.
_DIRECTIONS = (Direction.INGRESS, Direction.EGRESS)
_DATA = Kind.DATA.value
_TCP = Transport.TCP.value
_STREAMS = (Transport.TCP.value, Transport.UNIX_STREAM.value)
_UNKNOWN = SocketRole.UNKNOWN
_SEQUENCES = (1 << 32) - 1


class Consumer(Protocol):
    """Takes what the tracker gives, in order for each connection."""

    def open_connection(self, connection: Connection) -> None: ...

    def take_piece(self, connection: Connection, direction: Direction, piece: Piece) -> None: ...

    def end_stream(self, connection: Connection, direction: Direction, time_ns: int) -> None: ...

    def close_connection(self, connection: Connection, time_ns: int) -> None: ...

    def give_up_connection(self, connection: Connection, time_ns: int) -> None:
        """None of its later bytes will come."""

    def lose_events(self, connection: Connection | None, since_ns: int, time_ns: int) -> None:
        """Of a connection (or of some, nobody knows which) bytes were lost in that time."""

    def link_tasks(self, pid: int, task: int, parent: int) -> None:
        """One asyncio task of a process made another; both by when they were made."""

    def note_thread(self, tid: int, maker: int, time_ns: int) -> None:
        """A thread, or a process's first, was made by another; without ``maker`` (0) it ended."""

    def take_session_event(self, event: SessionEvent, connection: Connection | None) -> None:
        """Of a TLS session, on ``connection`` if the kernel knows it."""

    def forget_process(self, pid: int) -> None:
        """It ended, or runs another program now."""


@dataclass(slots=True)
class Totals:
    """Sums over closed and open connections; sizes in bytes."""

    connections: int = 0
    captured_size: int = 0
    gap_size: int = 0
    overlap_size: int = 0
    unopened_size: int = 0  # bytes of connections whose opening record never came
    given_up: int = 0  # connections
    given_up_size: int = 0


class Tracker:
    """``listening`` are the target's listening ports, by which accepted connections are known;

    ``joined`` are the inodes of the sockets that were open before the first event could be.
    """

    def __init__(
        self, consumer: Consumer, listening: Iterable[int] = (), joined: Iterable[int] = ()
    ) -> None:
        self._consumer = consumer
        self._joined = dict.fromkeys(joined)  # in order: there is an end to what is remembered
        self._connections: dict[Key, Connection] = {}
        self._generations: dict[int, int] = {}  # of each open socket
        self._early: dict[Key, list[Data | Lost | End]] = {}
        self._strangers: set[int] = set()  # processes that joined, and what they had is not told
        self._now_ns = 0
        self._closed = Totals()
        self.listening: list[int] = list(listening)
        self.proof = Proof()
        self._placed_size = 0  # lost bytes of which the connection is known

    @property
    def connections(self) -> list[Connection]:
        """Those open now."""
        return list(self._connections.values())

    def totals(self) -> Totals:
        sums = replace(self._closed)
        for connection in self._connections.values():
            _add_up(sums, connection)
        sums.connections = self._closed.connections
        return sums

    @property
    def now_ns(self) -> int:
        """The newest event's time."""
        return self._now_ns

    def feed_run(self, run: bytes, at: int = 0, until_ns: int | None = None) -> tuple[int, int]:
        """Takes ring records from ``at`` on, until one is from after ``until_ns``.

        Gives where the next record begins and how many events were taken.  It does what `feed`
        does with each event of `decode_run`; but a piece of a known connection that comes in
        order, which nearly all do, goes straight to the consumer.  Raises `EventError`.
        """
        count, size = 0, len(run)
        while at < size:
            following = self._take_next(run, at)
            if following:
                count += 1
                at = following
            else:
                event, at = take_event(run, at)
                if event is not None:
                    count += 1
                    self.feed(event)
            if until_ns is not None and self._now_ns > until_ns:
                break
        return at, count

    def _take_next(self, run: bytes, at: int) -> int:
        """Takes a record if it is a piece that comes in order; gives where the next begins, or 0.

        What is unusual in any way is left to `feed`, and what is damaged to the decoder.
        """
        if len(run) - at < PIECE_RECORD.size:
            return 0
        (length, _, time_ns, socket, generation, _, tid, kind, way, transport, _, sequence, _, size,
         _, _, _, task) = PIECE_RECORD.unpack_from(run, at)  # fmt: skip
        if kind != _DATA or length != PIECE_HEAD_SIZE + size or length > MOST_RECORD_SIZE:
            return 0
        if way > 1 or transport != _TCP:
            return 0
        connection = self._connections.get((socket, generation))
        start = at + PIECE_RECORD.size
        if connection is None or connection.role is _UNKNOWN or start + size > len(run):
            return 0
        ingress, egress = connection.streams
        stream = egress if way else ingress
        position = stream.position
        is_next = (connection.bases[way] + position) & _SEQUENCES == sequence
        if not is_next or ingress.held or egress.held or connection.ends:
            return 0
        stream.position = position + size
        stream.captured_size += size
        piece = Piece(position, size, time_ns, tid, run[start : start + size], task)
        self._consumer.take_piece(connection, _DIRECTIONS[way], piece)
        if time_ns > self._now_ns:
            self._now_ns = time_ns
        following: int = (start + size + 7) & ~7
        return following

    def feed(self, event: Event) -> None:
        """Takes one event."""
        if isinstance(event, Data | Lost):
            self._take(event, event.data if isinstance(event, Data) else None)
        elif isinstance(event, Listen):
            self._note_port(event.local_port)
        elif isinstance(event, Open):
            self._open(event)
        elif isinstance(event, End):
            self._end(event)
        elif isinstance(event, Close):
            self._close(event)
        elif isinstance(event, GivenUp):
            self._give_up(event)
        elif isinstance(event, Process):
            self._follow(event)
        elif isinstance(event, Held):
            self._take_held(event)
        elif isinstance(event, Task | Loss):
            self._tell(event)
        else:
            connection = self._connections.get(event.head.connection)
            self._consumer.take_session_event(event, connection)
        self._now_ns = max(self._now_ns, event.head.time_ns)

    def _tell(self, event: Task | Loss) -> None:
        if isinstance(event, Task):
            self._consumer.link_tasks(event.head.pid, event.task, event.parent)
            return
        connection = self._connections.get(event.head.connection)
        self._consumer.lose_events(connection, event.since_ns, event.head.time_ns)

    def release_late(self) -> None:
        """Gives up on pieces that are overdue; to be called between runs of events."""
        for connection in self._connections.values():
            for direction in Direction:
                since = connection.streams[direction].held_since_ns
                if since is not None and since < self._now_ns - PATIENCE_NS:
                    self._pass_on(connection, direction, connection.streams[direction].give_up())
            for direction, (end, time_ns) in list(connection.ends.items()):
                if time_ns < self._now_ns - PATIENCE_NS:
                    stream = connection.streams[direction]
                    self._pass_on(connection, direction, stream.close(end, time_ns))

    def finish(self, counts: dict[Key, KernelCount] | None, lost_size: int = 0) -> None:
        """The recording ended; ``counts`` are the kernel's, of the connections that are open.

        Without them (a log has none) nothing is held against those.  ``lost_size`` are the bytes
        that the kernel says found no room: some may be of connections of which nothing came.
        """
        known = counts or {}
        for key in known.keys() | self._early.keys():
            if key not in self._connections:
                self._forget_unopened(key, sum(known[key].moved) if key in known else 0)
        for key, connection in list(self._connections.items()):
            count = known.get(key)
            self._end_connection(key, count, self._now_ns)
            if counts is not None:
                self.proof.check(connection, count)
        self._closed.unopened_size += max(0, lost_size - self._placed_size)

    def _open(self, event: Open) -> None:
        key = event.head.connection
        if key in self._connections and event.head.transport in _STREAMS:
            return  # two threads moved its first bytes at one time
        self._end_earlier(key, event)
        self._closed.connections += 1
        role, is_joined = self._choose_role(event), self._is_joined(event)
        connection = Connection(self._closed.connections, event, role, is_joined)
        self._connections[key] = connection
        self._generations[event.head.socket] = event.head.generation
        if event.head.transport != Transport.TCP:  # whose counters go on over peers
            connection.streams[Direction.INGRESS].position = event.ingress_before
            connection.streams[Direction.EGRESS].position = event.egress_before
        self._consumer.open_connection(connection)
        for early in self._early.pop(key, ()):
            self.feed(early)

    def _end_earlier(self, key: Key, event: Open) -> None:
        """What the same socket was: its end was lost, or it is a datagram socket's last peer."""
        socket, generation = key
        last = (socket, self._generations.get(socket, generation))
        if last in self._connections:
            connection = self._connections[last]
            before = KernelCount((event.ingress_before, event.egress_before))
            count = before if last == key else None
            self._end_connection(last, count, event.head.time_ns)
            self.proof.check(connection, count)

    def _is_joined(self, event: Open) -> bool:
        is_unix = event.head.transport == Transport.UNIX_STREAM
        is_older = event.inode in self._joined or event.head.pid in self._strangers
        return event.has_moved or (is_unix and is_older)

    def _follow(self, event: Process) -> None:
        """Keeps whose sockets may be older than their being targets; children inherit them."""
        if event.change in (ProcessChange.EXEC, ProcessChange.EXIT):
            self._consumer.forget_process(event.head.pid)
        inherits = event.change is ProcessChange.FORK and event.head.pid in self._strangers
        if inherits or event.change is ProcessChange.JOIN:
            self._strangers.add(event.child)
        elif event.change is ProcessChange.EXIT:
            self._strangers.discard(event.head.pid)
        if event.change in (ProcessChange.THREAD, ProcessChange.FORK):
            self._consumer.note_thread(event.child, event.head.tid, event.head.time_ns)
        elif event.change is ProcessChange.THREAD_EXIT:
            self._consumer.note_thread(event.head.tid, 0, event.head.time_ns)
        elif event.change is ProcessChange.EXIT:
            self._consumer.note_thread(event.head.pid, 0, event.head.time_ns)

    def _note_port(self, port: int) -> None:
        if port not in self.listening:
            self.listening.append(port)

    def _take_held(self, event: Held) -> None:
        if event.inode:
            self._remember(event.inode)
        if event.port:
            self._note_port(event.port)
        if event.is_last:
            self._strangers.discard(event.head.pid)

    def _choose_role(self, event: Open) -> SocketRole:
        if event.role != SocketRole.UNKNOWN:
            return event.role
        if event.head.transport != Transport.TCP:
            return SocketRole.UNKNOWN  # who speaks first is the client
        if event.local_port in self.listening:
            return SocketRole.SERVER
        # a connect by the target would have been seen, unless it was before the recording; it
        # counts as a byte then (the SYN)
        is_older = event.ingress_before > 0 or event.egress_before > 0
        if is_older and event.head.pid in self._strangers:
            return SocketRole.UNKNOWN  # where that listens is not known yet
        return SocketRole.CLIENT if is_older else SocketRole.SERVER

    def _take(self, event: Data | Lost, data: bytes | None) -> None:
        connection = self._find(event)
        if connection is None:
            return
        head = event.head
        direction = Direction(head.direction)
        stream = connection.streams[direction]
        if head.transport == Transport.TCP:
            offset = unwrap(head.sequence, connection.bases[direction], stream.position)
        else:
            offset = event.offset
        if isinstance(event, Lost):
            missing = connection.missing_payload
            missing[event.cause] = missing.get(event.cause, 0) + event.size
            connection.declared[direction] += event.size
        if connection.role == SocketRole.UNKNOWN:
            is_first_out = direction == Direction.EGRESS
            connection.role = SocketRole.CLIENT if is_first_out else SocketRole.SERVER
        piece = Piece(offset, event.size, head.time_ns, head.tid, data, event.task)
        writes = connection.writes
        if writes is None or not (writes.is_shared or head.overlaps or head.sequence):
            given = stream.add(piece)
        elif stream is writes:
            # a call's gap is its last record
            behind = 0 if isinstance(event, Lost) else event.call_size - event.call_offset
            end = offset + max(event.size, behind)
            given = writes.take(piece, end, head.overlaps, head.sequence)
        else:
            self._settle_by_answer(connection, head)
            given = stream.add(piece)
        self._pass_on(connection, direction, given)

    def _settle_by_answer(self, connection: Connection, head: Head) -> None:
        writes = connection.writes
        if writes is not None:
            given = writes.answer(head.tid, head.time_ns)
            self._pass_on(connection, Direction.EGRESS, given)

    def _find(self, event: Data | Lost | End) -> Connection | None:
        key = event.head.connection
        connection = self._connections.get(key)
        if connection is None:
            early = self._early.setdefault(key, [])
            if len(early) < MOST_EARLY_EVENTS:
                early.append(event)
        return connection

    def _end(self, event: End) -> None:
        connection = self._find(event)
        if connection is None:
            return
        head, direction = event.head, Direction(event.head.direction)
        stream = connection.streams[direction]
        base = connection.bases[direction] if head.transport == Transport.TCP else 0
        end = unwrap(head.sequence, base, stream.position)
        self._settle_by_answer(connection, head)
        connection.ends[direction] = (end, head.time_ns)
        self._give(connection)

    def _close(self, event: Close) -> None:
        key, connection = event.head.connection, self._connections.get(event.head.connection)
        if connection is None:
            self._forget_unopened(key, sum(event.moved))
            return
        count = KernelCount(event.moved, event.lost)
        connection.is_gone = True
        self._end_connection(key, count, event.head.time_ns)
        self.proof.check(connection, count)
        if event.head.transport == Transport.UNIX_STREAM:
            self._remember(connection.opened.inode)

    def _remember(self, inode: int) -> None:
        """If it is seen again, it is in its middle: another process may hand it to a target."""
        self._joined[inode] = None
        if len(self._joined) > MOST_REMEMBERED:
            del self._joined[next(iter(self._joined))]

    def _give_up(self, event: GivenUp) -> None:
        connection = self._connections.get(event.head.connection)
        if connection is None:
            return
        connection.dropped[:] = event.dropped
        if connection.is_given_up:
            return
        connection.is_given_up = True
        for direction in Direction:
            while connection.streams[direction].is_waiting:
                self._pass_on(connection, direction, connection.streams[direction].give_up())
        self._consumer.give_up_connection(connection, event.head.time_ns)

    def _forget_unopened(self, key: Key, moved_size: int) -> None:
        """What moved is lost, whether or not its events came."""
        events = self._early.pop(key, ())
        came = sum(event.size for event in events if not isinstance(event, End))
        self._closed.unopened_size += max(came, moved_size)
        self._placed_size += max(came, moved_size)

    def _end_connection(self, key: Key, count: KernelCount | None, time_ns: int) -> None:
        connection = self._connections[key]
        for direction in Direction:
            stream = connection.streams[direction]
            end = stream.position if count is None else count.moved[direction]
            connection.order.add(direction, stream.close(end, time_ns))
            if stream.contested_size:
                missing = connection.missing_payload
                missing[_CONTESTED] = missing.get(_CONTESTED, 0) + stream.contested_size
        self._give(connection)
        if count is not None and connection.opened.head.transport == Transport.TCP:
            _name_unseen(connection, sum(count.lost))
        del self._connections[key]
        del self._generations[connection.opened.head.socket]
        connection.is_closed = True
        missing_size = connection.gap_size - sum(connection.declared)
        self._placed_size += missing_size if count is None else sum(count.lost)
        _add_up(self._closed, connection)
        self._consumer.close_connection(connection, time_ns)

    def _pass_on(self, connection: Connection, direction: Direction, pieces: list[Piece]) -> None:
        connection.order.add(direction, pieces)
        if connection.order.size > MOST_HELD_SIZE:
            for each in Direction:
                connection.order.add(each, connection.streams[each].give_up())
            for each, (end, time_ns) in connection.ends.items():
                connection.order.add(each, connection.streams[each].close(end, time_ns))
        self._give(connection)

    def _give(self, connection: Connection) -> None:
        """Gives what is certain to come next: while one direction waits, so does the other.

        An answer handed over before its question, which was late, would be taken for another's;
        and one whose end is handed over before its last bytes, or their gap, for a whole one.
        """
        waits_since_ns = _find_waiting(connection)
        for direction, piece in connection.order.take(waits_since_ns):
            self._consumer.take_piece(connection, direction, piece)
        if waits_since_ns is not None:
            return
        for direction, (_, time_ns) in list(connection.ends.items()):
            del connection.ends[direction]
            self._consumer.end_stream(connection, direction, time_ns)


def _find_waiting(connection: Connection) -> int | None:
    """The time of the oldest piece, or end, that waits for an earlier piece of its stream."""
    times = [stream.held_since_ns for stream in connection.streams]
    for direction, (end, time_ns) in connection.ends.items():
        if connection.streams[direction].position < end:
            times.append(time_ns)
    return min((time for time in times if time is not None), default=None)


def _name_unseen(connection: Connection, lost_size: int) -> None:
    """Gaps that only the sequence numbers tell of, and nothing else accounts for."""
    contested_size = sum(stream.contested_size for stream in connection.streams)
    known_size = contested_size + sum(connection.declared) + sum(connection.dropped) + lost_size
    unseen_size = sum(stream.gap_size for stream in connection.streams) - known_size
    if unseen_size > 0:
        connection.missing_payload[UNSEEN] = unseen_size


def _add_up(sums: Totals, connection: Connection) -> None:
    sums.captured_size += connection.captured_size
    sums.gap_size += connection.gap_size
    sums.given_up += connection.is_given_up
    sums.given_up_size += connection.given_up_size
    sums.overlap_size += sum(stream.overlap_size for stream in connection.streams)
