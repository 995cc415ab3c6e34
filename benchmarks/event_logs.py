"""Makes event logs of made-up traffic: ring records as the probes write them (bpf/events.h)."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from kebpf.capture.events import OPEN_TAIL, PIECE_TAIL, Direction, Kind, SocketRole, Transport
from kebpf.capture.head import HEAD

RUN_SIZE = 256 << 10  # bytes of records that are read at a time
PIECE_NS = 10_000  # between two records

_RING_HEAD = struct.Struct("=II")
_BEGUN_NS = 1_000_000_000


def ring_record(payload: bytes) -> bytes:
    """A record with the ring's own head and padding."""
    return _RING_HEAD.pack(len(payload), 0) + payload + bytes(-len(payload) % 8)


@dataclass
class Line:
    """One connection of the target; the times of its records come from ``clock``."""

    number: int
    role: SocketRole
    port: int
    clock: Iterator[int]
    moved: list[int] = field(default_factory=lambda: [0, 0])

    def _head(self, kind: Kind, direction: int = 0) -> bytes:
        socket, sequence = 0xFFFF888800000000 + 64 * self.number, self.moved[direction]
        return HEAD.pack(
            next(self.clock), socket, 1000, 100, 101, kind, direction, Transport.TCP, 0, sequence
        )

    def open(self) -> bytes:
        """The record that announces it."""
        ports = (self.port, 40_000 + self.number)
        local, remote = ports if self.role == SocketRole.SERVER else ports[::-1]
        host = bytes([127, 0, 0, 1]).ljust(16, b"\0")
        tail = (0, 0, 0, 0, self.number, host, host, local, remote, 2, self.role, 0, b"", b"", b"")
        return ring_record(self._head(Kind.OPEN) + OPEN_TAIL.pack(*tail))

    def _piece(self, direction: Direction, data: bytes) -> bytes:
        tail = PIECE_TAIL.pack(self.moved[direction], len(data), len(data), 0, 0, 0)
        record = ring_record(self._head(Kind.DATA, direction) + tail + data)
        self.moved[direction] += len(data)
        return record

    def ask(self, data: bytes) -> bytes:
        """Bytes of the client, whichever end the target is."""
        is_client = self.role == SocketRole.CLIENT
        return self._piece(Direction.EGRESS if is_client else Direction.INGRESS, data)

    def answer(self, data: bytes) -> bytes:
        """Bytes of the server."""
        is_client = self.role == SocketRole.CLIENT
        return self._piece(Direction.INGRESS if is_client else Direction.EGRESS, data)


@dataclass(frozen=True)
class Traffic:
    """What a load is made of; ``turn`` gives the n-th request's pieces and its answer's.

    ``exchanges`` is how many of them a turn holds, ``lead`` the turns that open a connection;
    ``is_counted`` if what the target serves makes no test cases and is only counted.
    """

    name: str
    role: SocketRole
    port: int
    connections: int
    turn: Callable[[int], tuple[list[bytes], list[bytes]]]
    exchanges: int = 1
    lead: tuple[tuple[bytes, bytes], ...] = ()
    is_counted: bool = False


def make_log(traffic: Traffic, exchanges: int) -> list[bytes]:
    """Runs of records: all connections in turn, until there are ``exchanges`` (or a few more)."""
    clock = itertools.count(_BEGUN_NS, PIECE_NS)
    lines = [
        Line(number, traffic.role, traffic.port, clock)
        for number in range(1, traffic.connections + 1)
    ]
    return list(_cut(_records(traffic, lines, -(-exchanges // traffic.exchanges))))


def _records(traffic: Traffic, lines: list[Line], turns: int) -> Iterator[bytes]:
    for line in lines:
        yield line.open()
        for asked, answered in traffic.lead:
            yield line.ask(asked)
            yield line.answer(answered)
    for number in range(turns):
        line = lines[number % len(lines)]
        asked_pieces, answered_pieces = traffic.turn(number)
        yield from map(line.ask, asked_pieces)
        yield from map(line.answer, answered_pieces)


def _cut(records: Iterator[bytes]) -> Iterator[bytes]:
    run, size = [], 0
    for record in records:
        run.append(record)
        size += len(record)
        if size >= RUN_SIZE:
            yield b"".join(run)
            run, size = [], 0
    if run:
        yield b"".join(run)
