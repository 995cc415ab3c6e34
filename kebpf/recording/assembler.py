"""The assembler: the process that parses, in the background, what the reader captured."""

from __future__ import annotations

import ctypes
import os
import signal
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from kebpf.capture.backends import Backends
from kebpf.capture.eventlog import EventLogWriter
from kebpf.capture.spool import Spool
from kebpf.protocols.registry import load_protocols
from kebpf.reassembly.proof import KernelCount
from kebpf.recording.channel import (
    Begin,
    Channel,
    ChannelClosedError,
    Drain,
    Failed,
    Finish,
    Finished,
    Message,
    Prepare,
    Prepared,
    Report,
)
from kebpf.recording.errors import TestSetError
from kebpf.recording.pacing import Pace
from kebpf.recording.pipeline import Pipeline
from kebpf.recording.writer import TestSetWriter

_IDLE_SECONDS = 0.05  # how often the spool is looked at while nothing comes
_TELL_SECONDS = 0.25  # between two words on how the writing goes
_TURN_SIZE = 1 << 20  # bytes parsed before the channel is looked at again
_READ_MARGIN_NS = 500_000_000  # between an event's time and its being seen in the ring
_SET_PDEATHSIG = 1  # prctl(2)
_ORPHANED = signal.SIGUSR1


class OrphanedError(Exception):
    """The reader is gone: there is nobody left to assemble for."""


class EventLogError(Exception):
    """The event log cannot be written."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


def run_assembler(channel: Channel, spool: Spool) -> None:
    """Does what the channel says until the test set is written or the reader is gone.

    Whatever ends it early is told to the reader, and nothing is left behind.
    """
    assembler = Assembler(channel, spool)
    try:
        _run(assembler, channel)
    except OrphanedError:  # it may come while another end is dealt with, but once only
        assembler.abort()


def _run(assembler: Assembler, channel: Channel) -> None:
    try:
        assembler.run()
    except ChannelClosedError:
        assembler.abort()
    except OrphanedError:
        raise
    except Exception as error:  # noqa: BLE001 - the boundary of a process: told to the other
        assembler.abort()
        _tell(channel, _describe(error))


def live_in_background() -> None:
    """Shows nothing, and goes when the reader does."""
    devnull = os.open(os.devnull, os.O_RDWR)
    os.dup2(devnull, 0)
    os.dup2(devnull, 1)
    os.close(devnull)
    signal.signal(_ORPHANED, _raise_orphaned)
    ctypes.CDLL(None).prctl(_SET_PDEATHSIG, int(_ORPHANED))


def _raise_orphaned(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)
    raise OrphanedError


def _describe(error: Exception) -> Failed:
    if isinstance(error, TestSetError):
        return Failed("test set", str(error))
    if isinstance(error, EventLogError):
        reason = error.error
        return Failed("event log", reason.strerror or str(reason), reason.errno or 0)
    told = "".join(traceback.format_exception(error))
    return Failed(type(error).__name__, " ".join(str(error).split()), traceback=told)


def _tell(channel: Channel, failed: Failed) -> None:
    try:
        channel.send(failed)
    except ChannelClosedError:
        return


class Assembler:
    """One recording's files, and the pipeline that fills them."""

    def __init__(self, channel: Channel, spool: Spool) -> None:
        self._channel = channel
        self._spool = spool
        self._name = ""
        self._log: EventLogWriter | None = None
        self._writer: TestSetWriter | None = None
        self._pipeline: Pipeline | None = None
        self._next_told = 0.0

    def run(self) -> None:
        """Raises what ends it early; see `run_assembler`."""
        load_protocols()  # now, while the probes are compiled
        due, pace = 0.0, Pace()
        while True:
            message = self._channel.receive(max(0.0, due - time.monotonic()))
            if message is not None and not self._obey(message):
                return
            if time.monotonic() < due:
                continue
            is_busy = self._pipeline is not None and self._take(self._pipeline)
            rest = pace.rest(self._spool.backlog_size / self._spool.quota)
            due = time.monotonic() + max(rest, 0.0 if is_busy else _IDLE_SECONDS)

    def abort(self) -> None:
        """Removes what was written; does nothing once the test set is in its place."""
        if self._writer is not None:
            self._writer.abort()
        if self._log is not None:
            self._log.abort()

    def _obey(self, message: Message) -> bool:
        """Whether to go on."""
        if isinstance(message, Prepare):
            self._prepare(message)
        elif isinstance(message, Begin):
            self._begin(message)
        elif isinstance(message, Report):
            self._channel.send(self._begun.progress())
        elif isinstance(message, Drain):
            while self._take(self._begun):
                pass
            self._channel.send(self._begun.progress())
        elif isinstance(message, Finish):
            self._finish(message)
            return False
        return True

    @property
    def _begun(self) -> Pipeline:
        if self._pipeline is None:
            raise RuntimeError("a recording is begun before it goes on")
        return self._pipeline

    def _prepare(self, message: Prepare) -> None:
        owner = None if message.owner is None else (message.owner[0], message.owner[1])
        unfinished = []
        if message.events is not None:
            with _guarding_log():
                self._log = EventLogWriter(Path(message.events), owner)
            unfinished.append(message.events)
        self._name = message.name
        self._writer = TestSetWriter(Path(message.folder), owner)
        unfinished += map(str, self._writer.unfinished)
        self._channel.send(Prepared(unfinished))

    def _begin(self, message: Begin) -> None:
        if self._writer is None:
            raise RuntimeError("a recording is prepared before it begins")
        head = message.log_head()
        if self._log is not None:
            with _guarding_log():
                self._log.begin(head)
        find_database = Backends().find_database
        self._pipeline = Pipeline(self._writer, self._name, head, find_database)

    def _take(self, pipeline: Pipeline) -> bool:
        """Parses some of the backlog; whether there is more."""
        looked_ns = self._spool.looked_ns  # before the look at what there is
        size = 0
        while size < _TURN_SIZE:
            run = self._spool.read()
            if not run:
                pipeline.settle(max(0, looked_ns - _READ_MARGIN_NS))
                return False
            if self._log is not None:
                with _guarding_log():
                    self._log.write(run)
            pipeline.feed(run)
            size += len(run)
        return True

    def _finish(self, message: Finish) -> None:
        if self._log is not None:
            with _guarding_log():
                self._log.close()
        counts = {
            (one[0], one[1]): KernelCount((one[2], one[3]), (one[4], one[5]))
            for one in message.moved
        }
        pipeline = self._begun
        pipeline.finish(
            counts,
            message.seconds,
            message.lost_events,
            message.lost_bytes,
            message.unfollowed_size,
            self._tell_progress,
        )
        self._channel.send(Finished(pipeline.progress().as_fields()))

    def _tell_progress(self) -> None:
        """Unasked, a few times a second."""
        now = time.monotonic()
        if now >= self._next_told:
            self._next_told = now + _TELL_SECONDS
            self._channel.send(self._begun.progress())


@contextmanager
def _guarding_log() -> Iterator[None]:
    """What the disk says of the event log, told apart from all else."""
    try:
        yield
    except OSError as error:
        raise EventLogError(error) from error


def enter_process(channel: Channel, spool: Spool) -> None:
    """The whole life of the child; never returns."""
    status = 1
    try:
        live_in_background()
        run_assembler(channel, spool)
        status = 0
    finally:
        os._exit(status)  # the parent's own clean-up is the parent's
