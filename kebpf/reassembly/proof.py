"""The proof of a connection: what the kernel counted is what was captured and what is missing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from kebpf.capture.events import Direction, Transport
from kebpf.reassembly.connection import Connection

MOST_NAMED = 20

END_UNKNOWN = "the kernel's count of its bytes was lost"

_STREAMS = (Transport.TCP, Transport.UNIX_STREAM)  # others may share a socket, and its counts


@dataclass(frozen=True, slots=True)
class KernelCount:
    """What the kernel says of a connection, in bytes by direction."""

    moved: tuple[int, int]
    lost: tuple[int, int] = (0, 0)


@dataclass(slots=True)
class Proof:
    """Of how many connections it holds, and of which not.

    ``reasons`` counts those by what is wrong, ``named`` are the first of them.
    """

    proven: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    named: list[str] = field(default_factory=list)

    def check(self, connection: Connection, count: KernelCount | None) -> None:
        """Takes a connection at its end; without a count it cannot hold."""
        reason = END_UNKNOWN if count is None else find_discrepancy(connection, count)
        if reason is None:
            self.proven += 1
            return
        self.reasons[reason] += 1
        if len(self.named) < MOST_NAMED:
            self.named.append(f"{connection.name}: {reason}")


def find_discrepancy(connection: Connection, count: KernelCount) -> str | None:
    """What is wrong with the count of a connection that has ended, or ``None``.

    All that moved was given, in order, as bytes or as gaps; nothing came twice; and at least as
    much is missing as the probes, the ring and the reader say that they withheld.
    """
    for direction in Direction:
        stream = connection.streams[direction]
        if stream.overlap_size:
            return "bytes came twice"
        if stream.position > count.moved[direction]:
            return "more bytes came than the kernel counted"
        if stream.position < count.moved[direction]:
            return "fewer bytes came than the kernel counted"
        withheld = connection.declared[direction] + connection.dropped[direction]
        if connection.opened.head.transport in _STREAMS:
            withheld += count.lost[direction]
        if stream.gap_size < withheld:
            return "fewer bytes are missing than were withheld"
    return None
