"""Drains the ring in a thread of its own, so that reading never waits for parsing."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Protocol

_SHORTEST_WAIT = 0.002  # seconds
_LONGEST_WAIT = 0.02

#: Bytes read and not yet parsed that are held; the ring's size comes on top of it.
MOST_BACKLOG_SIZE = 128 << 20


class Ring(Protocol):
    """What is read: `kebpf.kernel.ring.RingBuffer`."""

    def wait(self, seconds: float) -> None: ...

    def drain(self) -> bytes: ...


class Reader:
    """Reads runs of records until stopped; `runs` gives them in order.

    It reads no further while `backlog_size` is above ``most_backlog_size``: the ring fills up
    then, and what finds no room in it is counted as lost.
    """

    def __init__(self, ring: Ring, most_backlog_size: int = MOST_BACKLOG_SIZE) -> None:
        self._ring = ring
        self._most_backlog_size = most_backlog_size
        self._runs: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._read, name="kebpf-reader", daemon=True)
        self._read_size = 0  # of the thread's own
        self._taken_size = 0  # of the taker's own

    @property
    def backlog_size(self) -> int:
        """Bytes read and not yet taken."""
        return self._read_size - self._taken_size

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Takes what is in the ring still, then ends the thread."""
        self._is_stopping.set()
        self._thread.join()

    def runs(self, seconds: float) -> Iterator[bytes]:
        """The runs at hand now; waits up to ``seconds`` for the first."""
        try:
            first = self._runs.get(timeout=seconds)
        except queue.Empty:
            return
        more = self._runs.qsize()  # not those that come meanwhile: that may never end
        yield self._take(first)
        for _ in range(more):
            yield self._take(self._runs.get())

    def _take(self, run: bytes) -> bytes:
        self._taken_size += len(run)
        return run

    def _read(self) -> None:
        wait = _SHORTEST_WAIT
        while True:
            is_last = self._is_stopping.is_set()
            has_read = False
            while (is_last or self.backlog_size < self._most_backlog_size) and self._read_run():
                has_read = True
            if is_last:
                return
            wait = _SHORTEST_WAIT if has_read else min(2 * wait, _LONGEST_WAIT)
            if self.backlog_size < self._most_backlog_size:
                self._ring.wait(wait)
            else:
                self._is_stopping.wait(_LONGEST_WAIT)

    def _read_run(self) -> bool:
        run = self._ring.drain()
        if run:
            self._read_size += len(run)
            self._runs.put(run)
        return bool(run)
