"""Processes that each run a part of the cases and tell what happens to the one that divided them.

A worker is forked, so it has all that its maker read, before either has a second thread or an
event loop.  What it tells goes through a pipe as pickled frames; it ends with its maker, however
that ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import selectors
import signal
import struct
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from kebpf.replay.launch import describe_status

Send = Callable[[Any], None]
Work = Callable[[Send], None]

STOP_S = 30.0  # for what a worker that was interrupted has to undo
_HEAD = struct.Struct("=I")
_PR_SET_PDEATHSIG = 1  # prctl(2)
_READ_SIZE = 1 << 18
_AGAIN_S = 0.001


@dataclass(frozen=True, slots=True)
class Ended:
    """A worker's last word, said by the kernel: ``how`` is the end of a sentence, if it failed."""

    how: str | None


@dataclass(frozen=True, slots=True)
class _Crashed:
    text: str


@dataclass(slots=True)
class Worker:
    """A forked process, by its maker; ``number`` is from 1."""

    number: int
    pid: int
    pipe: int
    has_ended: bool = False
    was_killed: bool = False
    _buffer: bytearray = field(default_factory=bytearray)
    _crash: str | None = None

    def receive(self) -> list[Any] | None:
        """The messages that have come; ``None`` at their end."""
        data = os.read(self.pipe, _READ_SIZE)
        if not data:
            return None
        self._buffer += data
        messages = list(self._take())
        self._crash = next((one.text for one in messages if isinstance(one, _Crashed)), self._crash)
        return [one for one in messages if not isinstance(one, _Crashed)]

    def _take(self) -> Iterator[Any]:
        buffer = self._buffer
        while len(buffer) >= _HEAD.size:
            (size,) = _HEAD.unpack_from(buffer)
            if len(buffer) < _HEAD.size + size:
                return
            body = bytes(buffer[_HEAD.size : _HEAD.size + size])
            del buffer[: _HEAD.size + size]
            yield pickle.loads(body)

    def reap(self) -> Ended:
        """Waits for its end."""
        _, status = os.waitpid(self.pid, 0)
        os.close(self.pipe)
        self.has_ended = True
        code = os.waitstatus_to_exitcode(status)
        self.was_killed = code < 0
        return Ended(self._crash or (describe_status(code) if code else None))


class Crew:
    """The workers of one run; `stop` has to be called however it ends."""

    def __init__(self, works: Sequence[Work]) -> None:
        """Starts a worker for each.  Raises ``OSError``."""
        self._workers: list[Worker] = []
        self._selector = selectors.DefaultSelector()
        try:
            for number, work in enumerate(works, 1):
                worker = _fork(number, work)
                self._workers.append(worker)
                self._selector.register(worker.pipe, selectors.EVENT_READ, worker)
        except BaseException:
            self.stop()
            raise

    def messages(self) -> Iterator[tuple[Worker, Any]]:
        """What each tells, as it comes, the last of each an `Ended`; until all have ended."""
        while self._selector.get_map():
            yield from self._receive(None)

    def _receive(self, timeout_s: float | None) -> Iterator[tuple[Worker, Any]]:
        for key, _ in self._selector.select(timeout_s):
            worker: Worker = key.data
            messages = worker.receive()
            if messages is None:
                self._selector.unregister(worker.pipe)
                messages = [worker.reap()]
            for message in messages:
                yield worker, message

    def stop(self, wait_s: float = STOP_S) -> list[int]:
        """Interrupts those that still work and waits until they have undone what they did.

        Gives the process numbers of all that were killed before they had.
        """
        self._signal(signal.SIGINT)
        deadline = time.monotonic() + wait_s
        while self._selector.get_map() and time.monotonic() < deadline:
            for _ in self._receive(deadline - time.monotonic()):
                pass  # a worker must not wait for a full pipe
        self._signal(signal.SIGKILL)
        for _ in self.messages():
            pass
        self._selector.close()
        return [worker.pid for worker in self._workers if worker.was_killed]

    def _signal(self, number: signal.Signals) -> None:
        for worker in self._workers:
            if not worker.has_ended:
                os.kill(worker.pid, number)  # not reaped yet, so the number is still its own


def _fork(number: int, work: Work) -> Worker:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    reading, writing = os.pipe2(os.O_CLOEXEC)
    maker = os.getpid()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _be_worker(maker, writing, work)
    os.close(writing)
    return Worker(number, pid, reading)


def _be_worker(maker: int, pipe: int, work: Work) -> None:
    """Never returns: what the maker would do at its end is not this process's to do."""
    status = 1
    try:
        _prepare(maker)
        work(lambda message: _send(pipe, message))
        status = 0
    except KeyboardInterrupt:
        status = 0
    except BrokenPipeError:
        pass  # the maker has gone
    except Exception as error:  # noqa: BLE001 - the boundary of the process: it says what it caught
        with contextlib.suppress(OSError):
            _send(pipe, _Crashed(f"met an unexpected {type(error).__name__}: {error}"))
    finally:
        os._exit(status)


def _prepare(maker: int) -> None:
    """A key that is pressed interrupts the maker, which then interrupts its workers: once each."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, _interrupt)
    sys.unraisablehook = _keep_interrupt
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != maker:
        os._exit(1)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    signal.raise_signal(signal.SIGINT)


def _keep_interrupt(lost: sys.UnraisableHookArgs) -> None:
    """An interrupt in a ``__del__`` or a callback of a weak reference would be printed and gone."""
    if isinstance(lost.exc_value, KeyboardInterrupt):
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)
    else:
        sys.__unraisablehook__(lost)


def _send(pipe: int, message: Any) -> None:
    body = pickle.dumps(message)
    rest = memoryview(_HEAD.pack(len(body)) + body)
    while rest:
        rest = rest[os.write(pipe, rest) :]
