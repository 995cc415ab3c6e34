"""Drains the ring into the spool in a thread of its own, so that reading never waits."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from typing import Protocol

from kebpf.capture.spool import Spool

_SHORTEST_WAIT = 0.002  # seconds
_LONGEST_WAIT = 0.02
_MOST_RUN_SIZE = 1 << 20
_LEAST_RUN_SIZE = 64 << 10
_URGENCY = -5  # nice: a thousandth of a processor, but at once


class Ring(Protocol):
    """What is read: `kebpf.kernel.ring.RingBuffer`."""

    def wait(self, seconds: float) -> None: ...

    def drain(self, most: int) -> bytes: ...


class Reader:
    """Moves runs of records from the ring to the spool until stopped.

    It reads no further while the spool has no room: the ring fills up then, and what finds no
    room in it is counted as lost.
    """

    def __init__(self, ring: Ring, spool: Spool) -> None:
        self._ring = ring
        self._spool = spool
        self._run_size = min(_MOST_RUN_SIZE, max(_LEAST_RUN_SIZE, spool.quota // 64))
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._read, name="kebpf-reader", daemon=True)
        self._failure: OSError | None = None
        self._is_abandoned = False

    def start(self) -> None:
        self._thread.start()

    def check(self) -> None:
        """Raises the ``OSError`` that ended the thread, if one did."""
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Has the thread take what is in the ring still, as there is room, and then end."""
        self._is_stopping.set()

    def abandon(self) -> None:
        """Ends the thread, whatever is in the ring."""
        self._is_abandoned = True
        self._is_stopping.set()
        self._thread.join()

    def join(self, seconds: float) -> bool:
        """Waits for the thread's end for so long; whether it came."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _read(self) -> None:
        with suppress(OSError):  # without the privilege it is as any other
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _URGENCY)
        try:
            self._read_on()
        except OSError as error:
            self._failure = error

    def _read_on(self) -> None:
        wait = _SHORTEST_WAIT
        while True:
            is_last = self._is_stopping.is_set()
            has_read = self._read_all()
            has_room = self._has_room()
            if self._is_abandoned or (is_last and has_room):
                return
            wait = _SHORTEST_WAIT if has_read else min(2 * wait, _LONGEST_WAIT)
            if has_room and not is_last:
                self._ring.wait(wait)
            else:
                time.sleep(_LONGEST_WAIT)

    def _read_all(self) -> bool:
        has_read = False
        while self._has_room():
            looked_ns = time.monotonic_ns()
            run = self._ring.drain(self._run_size)
            if not run:
                self._spool.note_look(looked_ns)
                return has_read
            self._spool.write(run)
            has_read = True
        return has_read

    def _has_room(self) -> bool:
        return self._spool.room >= 2 * self._run_size
