"""A recorder process as the supervisor sees it: started, told, heard, and ended if it must be."""

from __future__ import annotations

import enum
import gc
import os
import select
import signal
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from kebpf.agent.link import Link, LinkClosedError, Message, make_links
from kebpf.agent.recorder import Order, Setup, run_recorder

Run = Callable[[Setup, Link], int]

_RESERVE_SECONDS = 2.0  # a program that starts comes first


class Stage(enum.Enum):
    """Where a recorder process is."""

    STARTING = "starting"
    RECORDING = "recording"
    FINISHING = "writing"
    FINISHED = "finished"  # its set is in its place
    GONE = "gone"  # what it was to record had ended before
    FAILED = "failed"


@dataclass(slots=True)
class Worker:
    """One recorder process; ``progress`` are its newest numbers, ``error`` why it failed.

    ``latencies`` are how long it took from a process's beginning until it was watched, in
    seconds, by process.
    """

    order: Order
    version: str
    pid: int
    link: Link
    handle: int  # a pidfd
    stage: Stage = Stage.STARTING
    started: float = field(default_factory=time.monotonic)
    heard: float = field(default_factory=time.monotonic)
    progress: dict[str, Any] = field(default_factory=dict)
    watched: list[int] = field(default_factory=list)
    error: str = ""
    latencies: dict[int, float] = field(default_factory=dict)
    is_closed: bool = False
    _seen: dict[int, int] = field(default_factory=dict)  # process → CLOCK_MONOTONIC
    _sent: int = 0
    _obeyed: int = 0
    _waiting: list[Message] = field(default_factory=list)

    @property
    def is_idle(self) -> bool:
        """Whether it records and has nothing left to watch."""
        is_told = self._sent == self._obeyed and not self._waiting
        return self.stage is Stage.RECORDING and is_told and not self.watched

    @property
    def has_ended(self) -> bool:
        return self.stage in (Stage.FINISHED, Stage.GONE, Stage.FAILED)

    def note_seen(self, pid: int, seen_ns: int) -> None:
        """When a process's program began, to know how late it was watched."""
        self._seen[pid] = seen_ns

    def watch(self, pid: int, seen_ns: int) -> None:
        """Has it watch a further process."""
        self.note_seen(pid, seen_ns)
        self._send({"watch": [pid]})

    def unwatch(self, pids: Iterable[int]) -> None:
        self._send({"unwatch": list(pids)})

    def finish(self) -> None:
        """Has it write its set and end; told again it does nothing."""
        if self.stage in (Stage.STARTING, Stage.RECORDING):
            self._send({"finish": True})
            if self.stage is Stage.RECORDING:
                self.stage = Stage.FINISHING

    def kill(self) -> None:
        with suppress(OSError):
            signal.pidfd_send_signal(self.handle, signal.SIGKILL)

    def hear(self) -> None:
        """Takes what it said."""
        try:
            for message in self.link.receive():
                self._take(message)
        except LinkClosedError:
            return  # its end is for `reap`

    def reap(self) -> bool:
        """Whether it has ended; ``stage`` says how."""
        if self.is_closed:
            return True
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            pid, status = self.pid, 0
        if not pid:
            return False
        self.hear()
        if not self.has_ended:
            code = os.waitstatus_to_exitcode(status)
            how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
            self.stage = Stage.FAILED
            self.error = self.error or f"the recorder process was ended by {how}"
        self.close()
        return True

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            self.link.close()
            os.close(self.handle)

    def release(self) -> None:
        """In another process: closes the copies there."""
        if not self.is_closed:
            self.is_closed = True
            self.link.release()
            os.close(self.handle)

    def _send(self, message: Message) -> None:
        if self.stage is Stage.STARTING:
            self._waiting.append(message)
            return
        self._sent += 1
        with suppress(LinkClosedError):  # it has ended, as is seen when it is reaped
            self.link.send(message)

    def _take(self, message: Message) -> None:
        self.heard = time.monotonic()
        if "progress" in message:
            self.progress = message["progress"]
            self._obeyed = int(message["obeyed"])
        if "watched" in message:
            self.watched = list(message["watched"])
        if "began" in message:
            self._begin(int(message["began"]))
        elif "watching" in message:
            self._note_latencies(message["watching"], int(message["at_ns"]))
        elif "finished" in message:
            self.progress, self.stage = message["finished"], Stage.FINISHED
        elif "gone" in message:
            self.stage = Stage.GONE
        elif "failed" in message:
            self.stage, self.error = Stage.FAILED, str(message["failed"])

    def _begin(self, at_ns: int) -> None:
        self.stage = Stage.RECORDING
        self._note_latencies(list(self._seen), at_ns)
        waiting, self._waiting = self._waiting, []
        for message in waiting:
            self._send(message)
            if message.get("finish"):
                self.stage = Stage.FINISHING

    def _note_latencies(self, pids: list[int], at_ns: int) -> None:
        for pid in pids:
            seen_ns = self._seen.pop(pid, 0)
            if seen_ns:
                self.latencies[pid] = max(0, at_ns - seen_ns) / 1e9


@dataclass(slots=True)
class Standby:
    """A recorder process with its probes loaded, which waits to be told what to record."""

    pid: int
    link: Link
    handle: int

    def assign(self, order: Order, version: str) -> Worker:
        """Has it record; it is this object's no more."""
        worker = Worker(order, version, self.pid, self.link, self.handle)
        with suppress(LinkClosedError):  # it has ended, as is seen when the worker is reaped
            self.link.send(order.as_message())
        return worker

    def await_ready(self, seconds: float) -> None:
        """Returns when its probes are loaded, it has ended, or so much time is over."""
        select.select([self.link], [], [], seconds)

    def has_ended(self) -> bool:
        """Whether it is of no use any more."""
        return bool(select.select([self.handle], [], [], 0)[0])

    def close(self) -> None:
        """Ends it."""
        self.release()
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)

    def release(self) -> None:
        """In another process: closes the copies there."""
        self.link.release()
        os.close(self.handle)


def start_standby(setup: Setup, release: Callable[[], None], run: Run = run_recorder) -> Standby:
    """A copy of this process, which has one thread only; ``release`` closes there what is not its.

    Raises ``OSError`` where there is no room for another process.
    """
    ours, theirs = make_links()
    gc.freeze()  # what both have stays shared as far as it can
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            ours.release()
            release()
            status = run(setup, theirs)
        finally:
            os._exit(status)  # the parent's own clean-up is the parent's
    theirs.release()
    return Standby(pid, ours, os.pidfd_open(pid))


class Pool:
    """Recorder processes in reserve, one for each setup that is wanted."""

    def __init__(self, release: Callable[[], None], run: Run = run_recorder) -> None:
        self._release = release
        self._run = run
        self._ready: dict[Setup, Standby] = {}
        self._next_start = 0.0

    @property
    def reserve(self) -> list[int]:
        """Their process ids."""
        return [standby.pid for standby in self._ready.values()]

    def take(self, setup: Setup, order: Order, version: str) -> Worker:
        """The one in reserve, else a new one.  Raises ``OSError``."""
        standby = self._ready.pop(setup, None)
        if standby is not None and standby.has_ended():
            standby.close()
            standby = None
        self._next_start = time.monotonic() + _RESERVE_SECONDS
        return (standby or start_standby(setup, self._release, self._run)).assign(order, version)

    def keep(self, wanted: Collection[Setup]) -> None:
        """To be called often: starts what is missing, one at a time, and ends the others."""
        for setup, standby in list(self._ready.items()):
            if setup not in wanted or standby.has_ended():
                del self._ready[setup]
                standby.close()
        now = time.monotonic()
        missing = [setup for setup in wanted if setup not in self._ready]
        if missing and now >= self._next_start:
            self._next_start = now + _RESERVE_SECONDS
            with suppress(OSError):  # it is tried again
                self._ready[missing[0]] = start_standby(missing[0], self._release, self._run)

    def await_ready(self, seconds: float) -> None:
        """Returns when those in reserve have their probes loaded, or so much time is over."""
        deadline = time.monotonic() + seconds
        for standby in self._ready.values():
            standby.await_ready(max(0.0, deadline - time.monotonic()))

    def close(self) -> None:
        """Ends them all."""
        self.keep(())

    def release(self) -> None:
        """In another process: closes the copies there."""
        for standby in self._ready.values():
            standby.release()
