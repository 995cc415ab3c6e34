"""Lets the assembler rest while others want the processors and the backlog has room."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

#: Processors that must be free, what the assembler itself takes among them, to go on at full speed.
LEAST_FREE = 0.75
#: The part of one processor that it takes otherwise, and the backlog from which it does not rest.
LEAST_SHARE = 0.05
MOST_BACKLOG = 0.5

_LOOK_SECONDS = 0.1
_LONGEST_REST = 1.0
_TICK = 1 / os.sysconf("SC_CLK_TCK")


def read_idle_seconds() -> float:
    """How long the host's processors have had nothing to do, summed up; proc(5)."""
    fields = Path("/proc/stat").read_text().partition("\n")[0].split()
    return (int(fields[4]) + int(fields[5])) * _TICK


class Pace:
    """A low priority alone does not do: processors share caches, and some their very core.

    ``read_idle``, ``read_own`` and ``clock`` give seconds: of all processors without work, of
    this process at work, and of the time.
    """

    def __init__(
        self,
        read_idle: Callable[[], float] = read_idle_seconds,
        read_own: Callable[[], float] = time.process_time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read_idle, self._read_own, self._clock = read_idle, read_own, clock
        self._looked = clock()
        self._free = read_idle() + read_own()
        self._own = read_own()
        self._is_crowded = False

    def rest(self, backlog: float) -> float:
        """Seconds to do nothing now, after some work; ``backlog`` is the filled part of it."""
        own = self._read_own()
        spent, self._own = own - self._own, own
        now = self._clock()
        if now - self._looked >= _LOOK_SECONDS:
            free = self._read_idle() + own
            self._is_crowded = free - self._free < LEAST_FREE * (now - self._looked)
            self._looked, self._free = now, free
        if not self._is_crowded or backlog >= MOST_BACKLOG:
            return 0.0
        return min(spent * (1 / LEAST_SHARE - 1), _LONGEST_REST)
