"""Drains the ring in a thread of its own, so that reading never waits for parsing."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterator
from typing import Protocol

_SHORTEST_WAIT = 0.002  # seconds
_LONGEST_WAIT = 0.02


class Ring(Protocol):
    """What is read: `kebpf.kernel.ring.RingBuffer`."""

    def wait(self, seconds: float) -> None: ...

    def drain(self) -> bytes: ...


class Reader:
    """Reads runs of records until stopped; `runs` gives them in order.

    ``backlog_size`` is the number of bytes read and not yet taken.
    """

    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        self._runs: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._read, name="kebpf-reader", daemon=True)
        self.backlog_size = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Takes what is in the ring still, then ends the thread."""
        self._is_stopping.set()
        self._thread.join()

    def runs(self, seconds: float) -> Iterator[bytes]:
        """The runs at hand; waits up to ``seconds`` for the first."""
        with contextlib.suppress(queue.Empty):
            yield self._take(self._runs.get(timeout=seconds))
            while True:
                yield self._take(self._runs.get_nowait())

    def _take(self, run: bytes) -> bytes:
        self.backlog_size -= len(run)
        return run

    def _read(self) -> None:
        wait = _SHORTEST_WAIT
        while True:
            is_last = self._is_stopping.is_set()
            had_any = False
            while run := self._ring.drain():
                had_any = True
                self.backlog_size += len(run)
                self._runs.put(run)
            if is_last:
                return
            wait = _SHORTEST_WAIT if had_any else min(2 * wait, _LONGEST_WAIT)
            self._ring.wait(wait)
