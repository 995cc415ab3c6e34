"""Ring records made by hand, from literal layouts: what the kernel would have written."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from kebpf.capture.events import (
    Direction,
    GapReason,
    Kind,
    Operation,
    ProcessChange,
    SocketRole,
    Transport,
)


def make_record(payload: bytes, flags: int = 0) -> bytes:
    """A record with the ring's own head, padded to eight bytes."""
    padding = -(len(payload)) % 8
    return struct.pack("<II", len(payload) | flags, 0) + payload + bytes(padding)


@dataclass
class Socket:
    """One connection of a made-up target; each method gives one record and moves time on."""

    address: int = 0xFFFF888812345678
    generation: int = 1000
    pid: int = 100
    tid: int = 101
    transport: int = Transport.TCP
    time_ns: int = 1_000_000
    first_sequence: tuple[int, int] = (5000, 7000)
    task: int = 0
    overlaps: int = 0

    def __post_init__(self) -> None:
        self.moved = [0, 0]
        self.lost = [0, 0]

    def head(self, kind: int, direction: int = 0, sequence: int = 0) -> bytes:
        self.time_ns += 1_000
        return struct.pack(
            "<QQQIIBBBBI",
            self.time_ns,
            self.address,
            self.generation,
            self.pid,
            self.tid,
            kind,
            direction,
            self.transport,
            self.overlaps,
            sequence & 0xFFFFFFFF,
        )

    def open(
        self,
        role: int = SocketRole.CLIENT,
        local: tuple[str, int] = ("10.0.0.1", 40000),
        remote: tuple[str, int] = ("10.0.0.2", 80),
        before: tuple[int, int] = (0, 0),
        inode: int = 0,
        kind: int = Kind.OPEN,
        paths: tuple[bytes, bytes] = (b"", b""),
        family: int = 2,
        process: bytes = b"shop",
    ) -> bytes:
        """The record that announces it; addresses are IPv4 unless ``paths`` are used."""
        addresses = [_pack_address(host) for host in (local[0], remote[0])]
        return make_record(
            self.head(kind)
            + struct.pack(
                "<QQIIQ16s16sHHHBB128s128s16s",
                *before,
                *(number & 0xFFFFFFFF for number in self.first_sequence),
                inode,
                *addresses,
                local[1],
                remote[1],
                family,
                role,
                0,
                *paths,
                process,
            )
        )

    def data(self, direction: int, data: bytes) -> bytes:
        """The next bytes of a direction."""
        record = self.piece(Kind.DATA, direction, len(data), data=data)
        self.moved[direction] += len(data)
        return record

    def gap(
        self,
        direction: int,
        size: int,
        reason: int = GapReason.LIMIT,
        operation: int = Operation.SENDFILE,
    ) -> bytes:
        """Bytes that were not copied."""
        record = self.piece(Kind.GAP, direction, size, reason=reason | operation << 16)
        self.moved[direction] += size
        return record

    def lose(self, direction: int, size: int) -> None:
        """Bytes whose record found no room."""
        self.lost[direction] += size
        self.moved[direction] += size

    def piece(
        self, kind: int, direction: int, size: int, reason: int = 0, data: bytes = b""
    ) -> bytes:
        offset = self.moved[direction]
        sequence = self.first_sequence[direction] + offset if self.transport == Transport.TCP else 0
        tail = struct.pack("<QIIIIQ", offset, size, size, 0, reason, self.task)
        return make_record(self.head(kind, direction, sequence) + tail + data)

    def receive(self, data: bytes) -> bytes:
        return self.data(Direction.INGRESS, data)

    def send(self, data: bytes) -> bytes:
        return self.data(Direction.EGRESS, data)

    def end(self, direction: int) -> bytes:
        """Behind all that moved so far."""
        first = self.first_sequence[direction] if self.transport == Transport.TCP else 0
        return make_record(self.head(Kind.END, direction, first + self.moved[direction]))

    def close(self) -> bytes:
        return make_record(self.head(Kind.CLOSE) + struct.pack("<QQQQ", *self.moved, *self.lost))

    def process(self, change: ProcessChange, child: int = 0) -> bytes:
        return make_record(self.head(Kind.PROCESS) + struct.pack("<II", child, change))

    def task_made(self, task: int, parent: int) -> bytes:
        """A task that another made."""
        return make_record(self.head(Kind.TASK) + struct.pack("<QQ", task, parent))

    def held(self, pid: int, inode: int = 0, port: int = 0, is_last: int = 0) -> bytes:
        """What a process had when it joined."""
        self.pid = pid
        return make_record(self.head(Kind.HELD) + struct.pack("<QII", inode, port, is_last))


def _pack_address(host: str) -> bytes:
    if ":" in host:
        raise ValueError("IPv6 addresses are packed by the test that wants them")
    return bytes(int(part) for part in host.split("."))
