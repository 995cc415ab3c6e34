"""The assembler: the process that parses, in the background, what the reader captured."""

from __future__ import annotations

import ctypes
import os
import signal
import time
import traceback
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from kebpf.capture.backends import Backends, End
from kebpf.capture.eventlog import EventLogWriter
from kebpf.capture.spool import Spool
from kebpf.kernel.sandbox import close_the_door, drop_privileges
from kebpf.protocols.registry import load_protocols
from kebpf.reassembly.proof import KernelCount
from kebpf.recording.channel import (
    AskDatabase,
    Begin,
    Channel,
    ChannelClosedError,
    Database,
    Drain,
    Failed,
    Finish,
    Finished,
    Message,
    Prepare,
    Prepared,
    Report,
)
from kebpf.recording.dedup.leaving import Sifting
from kebpf.recording.errors import TestSetError
from kebpf.recording.facts import CUT_OFF
from kebpf.recording.loading import load_everything
from kebpf.recording.marks import Marks
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


def run_assembler(channel: Channel, spool: Spool, is_confined: bool = False) -> None:
    """Does what the channel says until the test set is written or the reader is gone.

    Whatever ends it early is told to the reader, and nothing is left behind.
    """
    assembler = Assembler(channel, spool, is_confined)
    try:
        _run(assembler, channel)
    except OrphanedError:  # it may come while another end is dealt with, but once only
        assembler.abort()


def _run(assembler: Assembler, channel: Channel) -> None:
    try:
        try:
            assembler.run()
        except ChannelClosedError:
            assembler.finish_alone()
    except OrphanedError:
        raise
    except Exception as error:  # noqa: BLE001 - the boundary of a process: told to the other
        assembler.abort()
        _tell(channel, assembler.describe(error))


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


def _describe(error: Exception, is_redacting: bool) -> Failed:
    """An error that was not foreseen may say what was recorded; where it came does not."""
    if isinstance(error, TestSetError):
        return Failed("test set", str(error))
    if isinstance(error, EventLogError):
        reason = error.error
        return Failed("event log", reason.strerror or str(reason), reason.errno or 0)
    kind = type(error).__name__
    if is_redacting:
        return Failed(
            kind, "", traceback="".join([*traceback.format_tb(error.__traceback__), kind])
        )
    told = "".join(traceback.format_exception(error))
    return Failed(kind, " ".join(str(error).split()), traceback=told)


def _tell(channel: Channel, failed: Failed) -> None:
    try:
        channel.send(failed)
    except ChannelClosedError:
        return


class Assembler:
    """One recording's files, and the pipeline that fills them."""

    def __init__(self, channel: Channel, spool: Spool, is_confined: bool = False) -> None:
        self._channel = channel
        self._spool = spool
        self._is_confined = is_confined
        self._waiting: deque[Message] = deque()  # came while an answer was waited for
        self._name = ""
        self._sifting = Sifting()
        self._log: EventLogWriter | None = None
        self._writer: TestSetWriter | None = None
        self._pipeline: Pipeline | None = None
        self._next_told = 0.0
        self._is_redacting = True
        self._lost = Report()
        self._is_finished = False
        self._marks: Marks | None = None

    def run(self) -> None:
        """Raises what ends it early; see `run_assembler`."""
        load_protocols()  # now, while the probes are compiled
        due, pace = 0.0, Pace()
        while True:
            message = self._next(max(0.0, due - time.monotonic()))
            if message is not None and not self._obey(message):
                return
            if time.monotonic() < due:
                continue
            is_busy = self._pipeline is not None and self._take(self._pipeline)
            self._mark()
            rest = pace.rest(self._spool.backlog_size / self._spool.quota)
            due = time.monotonic() + max(rest, 0.0 if is_busy else _IDLE_SECONDS)

    def describe(self, error: Exception) -> Failed:
        """What the other process is told."""
        return _describe(error, self._is_redacting)

    def abort(self) -> None:
        """Removes what was written, but for what is to outlive any end.

        Does nothing once the test set is in its place.
        """
        if self._writer is not None:
            self._writer.leave()
        if self._log is not None:
            self._log.abort()

    def _next(self, seconds: float) -> Message | None:
        return self._waiting.popleft() if self._waiting else self._channel.receive(seconds)

    def _ask_database(self, client: End, server: End) -> str | None:
        """From the recorder, which may look at the servers on this host."""
        try:
            self._channel.send(AskDatabase(client, server))
            while not isinstance(message := self._channel.receive(None), Database):
                if message is not None:
                    self._waiting.append(message)
        except ChannelClosedError:  # it is told again where it does no harm
            return None
        return message.name

    def finish_alone(self) -> None:
        """The recorder is gone: makes a set of what it captured if that is to outlive it."""
        pipeline, marks = self._pipeline, self._marks
        if self._is_finished or pipeline is None or marks is None:
            self.abort()
            return
        while self._take(pipeline):
            self._mark()
        pipeline.said[CUT_OFF] = {"time_ns": time.time_ns()}
        lost = self._lost
        pipeline.finish(None, marks.seconds, lost.lost_events, 0, lost.unfollowed_size)

    def _obey(self, message: Message) -> bool:
        """Whether to go on."""
        if isinstance(message, Prepare):
            self._prepare(message)
        elif isinstance(message, Begin):
            self._begin(message)
        elif isinstance(message, Report):
            self._lost = message
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
        self._name, self._sifting = message.name, message.sifting()
        self._writer = TestSetWriter(Path(message.folder), owner, message.durable)
        if message.durable:
            self._marks = Marks()
            signal.signal(_ORPHANED, signal.SIG_IGN)  # the channel's end says it in time
        unfinished += map(str, self._writer.unfinished)
        self._channel.send(Prepared(unfinished))

    def _begin(self, message: Begin) -> None:
        if self._writer is None:
            raise RuntimeError("a recording is prepared before it begins")
        head = message.log_head()
        if self._log is not None:
            with _guarding_log():
                self._log.begin(head)
        find_database = self._ask_database if self._is_confined else Backends().find_database
        redactor = message.make_redactor()
        self._is_redacting = redactor is not None
        self._pipeline = Pipeline(
            self._writer, self._name, head, find_database, sifting=self._sifting, redactor=redactor
        )
        self._mark()  # before there is a case

    def _mark(self) -> None:
        """Now and then: what a recovery is to know, and what a power cut is to spare."""
        if self._marks is None or self._pipeline is None or self._writer is None:
            return
        written = self._writer.case_count, self._writer.mock_count
        if self._marks.is_due((self._pipeline.events, *written)):
            seconds, lost = self._marks.seconds, self._lost
            self._pipeline.mark(seconds, lost.lost_events, lost.unfollowed_size)
        if self._marks.is_sync_due():
            self._writer.sync()

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
        self._is_finished = True
        self._channel.send(Finished(pipeline.progress().as_fields()))

    def _tell_progress(self) -> None:
        """Unasked, a few times a second."""
        now = time.monotonic()
        if now >= self._next_told:
            self._next_told = now + _TELL_SECONDS
            try:
                self._channel.send(self._begun.progress())
            except ChannelClosedError:
                if self._marks is None:
                    raise


@contextmanager
def _guarding_log() -> Iterator[None]:
    """What the disk says of the event log, told apart from all else."""
    try:
        yield
    except OSError as error:
        raise EventLogError(error) from error


def enter_process(channel: Channel, spool: Spool, ids: tuple[int, int] | None) -> None:
    """The whole life of the child, as another user with ``ids``; never returns."""
    status = 1
    try:
        if ids is not None:
            load_everything()
            drop_privileges(*ids, keep=(channel.descriptor, spool.descriptor))
        live_in_background()
        if ids is not None:
            close_the_door()
        run_assembler(channel, spool, ids is not None)
        status = 0
    finally:
        os._exit(status)  # the parent's own clean-up is the parent's
