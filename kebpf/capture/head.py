"""What every event record begins with."""

from __future__ import annotations

import struct
from dataclasses import dataclass

HEAD = struct.Struct("=QQQIIBBBBI")


@dataclass(frozen=True, slots=True)
class Head:
    """What every record begins with; times are CLOCK_MONOTONIC nanoseconds.

    ``overlaps`` is `kebpf.capture.events.Overlap` or 0.
    """

    time_ns: int
    socket: int
    generation: int
    pid: int
    tid: int
    direction: int
    transport: int
    sequence: int
    overlaps: int = 0

    @property
    def connection(self) -> tuple[int, int]:
        """The connection: a socket's address and which life of it."""
        return self.socket, self.generation


def read_text(raw: bytes) -> str:
    """A Unix socket's name as ss(8) writes it: abstract ones begin with ``@``."""
    if raw.startswith(b"\0"):
        name = raw[1:].rstrip(b"\0")
        return "@" + name.decode("utf-8", "backslashreplace") if name else ""
    return raw.partition(b"\0")[0].decode("utf-8", "backslashreplace")
