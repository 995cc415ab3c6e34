"""Drains the ring into the spool in a thread of its own, so that reading never waits."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Protocol

from kebpf.capture.capping import RateCap
from kebpf.capture.events import EventError
from kebpf.capture.shedding import Shedder
from kebpf.capture.spool import Spool

_SHORTEST_WAIT = 0.005  # seconds: the ring's own wake-up comes first where much comes
_LONGEST_WAIT = 0.02
# Nobody else runs where it runs, so where much comes it is to come oftener and stay shorter: with
# 5 ms a saturated redis-server's 99th percentile was 3.5 times what it is alone, with this 2.2.
_BUSY_WAIT = 0.0015
_BUSY_RATE = 4 << 20  # bytes a second
_MOST_RUN_SIZE = 1 << 20
_LEAST_RUN_SIZE = 16 << 10
_RUNS_IN_QUOTA = 256
_URGENCY = -5  # nice: where the next is refused
# It takes a thousandth of a processor, but at once: a busy target fills 4 MiB of ring in 3 ms, and
# where more is runnable than there are processors, a thread that wakes may wait longer.
_POLICY = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
_PRIORITY = 1


class Ring(Protocol):
    """What is read: `kebpf.kernel.ring.RingBuffer`."""

    def wait(self, seconds: float) -> None: ...

    def drain(self, most: int) -> bytes: ...


class Reader:
    """Moves runs of records from the ring to the spool until stopped.

    More than the ``cap`` allows is not taken.  When the backlog nears its quota whole connections
    are given up.  Should that not do, it reads no further while the spool has no room: the ring
    fills up then, and what finds no room in it is counted as lost.
    """

    def __init__(self, ring: Ring, spool: Spool, cap: RateCap | None = None) -> None:
        self._ring = ring
        self._cap = cap
        self._spool = spool
        self._run_size = min(_MOST_RUN_SIZE, max(_LEAST_RUN_SIZE, spool.quota // _RUNS_IN_QUOTA))
        self._shedder = Shedder(spool.quota)
        self._notes: deque[bytes] = deque()
        self._leading: deque[bytes] = deque()
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._read, name="kebpf-reader", daemon=True)
        self._failure: OSError | EventError | None = None
        self._is_abandoned = False

    def start(self) -> None:
        self._thread.start()

    @property
    def capped(self) -> int:
        """How many connections were given up to keep to the cap."""
        return 0 if self._cap is None else self._cap.capped

    def check(self) -> None:
        """Raises what ended the thread, if something did: ``OSError``, `EventError`."""
        if self._failure is not None:
            raise self._failure

    def note(self, record: bytes) -> None:
        """Puts a record of this process's own behind those read so far."""
        self._notes.append(record)

    def lead(self, record: bytes) -> None:
        """Puts a record of this process's own before all that happens from now on."""
        self._leading.append(record)

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
        thread = threading.get_native_id()
        with suppress(OSError):  # without the privileges it is as any other
            os.setpriority(os.PRIO_PROCESS, thread, _URGENCY)
            os.sched_setscheduler(thread, _POLICY, os.sched_param(_PRIORITY))
        try:
            self._read_on()
        except (OSError, EventError) as error:
            self._failure = error

    def _read_on(self) -> None:
        wait = _SHORTEST_WAIT
        while True:
            is_last = self._is_stopping.is_set()
            size = self._read_all()
            has_room = self._has_room()
            if self._is_abandoned:
                return
            if is_last and has_room:
                self._write_last()
                return
            if size:
                wait = _BUSY_WAIT if size > wait * _BUSY_RATE else _SHORTEST_WAIT
            else:
                wait = min(2 * wait, _LONGEST_WAIT)
            if has_room and not is_last:
                self._ring.wait(wait)
            else:
                time.sleep(_LONGEST_WAIT)

    def _read_all(self) -> int:
        """How many bytes were in the ring."""
        size = 0
        while self._has_room():
            looked_ns = time.monotonic_ns()
            run = self._ring.drain(self._run_size)
            while self._leading:  # after the drain: what led to an event was there before it
                self._write(self._leading.popleft())
            if run:
                kept = run if self._cap is None else self._cap.sift(run)
                self._write(self._shedder.sift(kept, self._spool.backlog_size))
                size += len(run)
            while self._notes:
                self._write(self._notes.popleft())
            # what comes meanwhile can wait, but for the end's
            if not run or (len(run) < self._run_size // 2 and not self._is_stopping.is_set()):
                self._spool.note_look(looked_ns)
                break
        return size

    def _write_last(self) -> None:
        capped = [] if self._cap is None else self._cap.finish()
        for record in (*self._leading, *self._notes, *capped, *self._shedder.finish()):
            self._write(record)

    def _write(self, records: bytes) -> None:
        """There is room, but for a crowd of connections that are given up at once."""
        while len(records) > self._spool.room and not self._is_abandoned:
            time.sleep(_SHORTEST_WAIT)
        if records and not self._is_abandoned:
            self._spool.write(records)

    def _has_room(self) -> bool:
        return self._spool.room >= 2 * self._run_size
