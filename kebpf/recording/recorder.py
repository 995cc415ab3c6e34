"""Runs a recording: probes and reader here, the assembler beside, until it is told to end."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kebpf.capture.capping import Rate, RateCap
from kebpf.capture.endings import EndWatch
from kebpf.capture.errors import NoTargetError
from kebpf.capture.eventlog import LogHead
from kebpf.capture.filters import FILTER_OPTIONS
from kebpf.capture.javawatch import JavaWatch
from kebpf.capture.joining import JoinWatch, make_join
from kebpf.capture.losses import LossWatch
from kebpf.capture.probes import Probes
from kebpf.capture.reader import Reader
from kebpf.capture.target import Target, refresh_target
from kebpf.capture.tasks import TaskWatch
from kebpf.capture.tlswatch import TlsWatch
from kebpf.kernel.clock import clock_offset_ns
from kebpf.kernel.processes import find_descendants, is_running
from kebpf.recording.assembly import Assembly
from kebpf.recording.channel import Begin, Drain, Finish, Finished, Report
from kebpf.recording.progress import Progress

_TURN_SECONDS = 0.05
_REPORT_SECONDS = 0.2
_MOST_LOOKS = 8


@dataclass(slots=True)
class Ending:
    """How a recording ended."""

    progress: Progress


def begin_recording(
    probes: Probes,
    target: Target,
    assembly: Assembly,
    filters: Sequence[str] = (),
    with_java_agent: bool = False,
    redaction: dict[str, Any] | None = None,
    rate: Rate | None = None,
) -> Recording:
    """Attaches the probes; capturing when it returns.  The assembly was asked for its files.

    ``filters`` are the options that leave connections out, as the manifest is to say them.
    Beyond a ``rate`` whole connections are given up.
    With ``with_java_agent`` one is put into Java programs, which reports their TLS.
    ``redaction`` is as in `Begin`.

    Raises `KernelError`, `NoTargetError` when the target ended meanwhile, and as
    `Assembly.receive`.
    """
    assembly.await_files()
    probes.tell_listening(target.listening)
    # Probes are attached one after the other: with nobody to watch yet, so that none sees an
    # answer, or a question, before the other does.
    probes.attach()
    # A busy target fills the ring in milliseconds, and a host may let a new thread wait for longer.
    cap = None if rate is None else RateCap(rate, target.listening)
    reader = Reader(probes.ring, assembly.spool, cap)
    tls = TlsWatch(probes, reader.note) if probes.with_tls else None
    java = JavaWatch(probes, reader.note, with_java_agent) if probes.with_tls else None
    reader.start()
    try:
        if tls is not None:
            tls.prepare(target.pids)
        if java is not None:
            java.prepare(target.pids)
        head = _begin_watching(probes, target, filters)
    except BaseException:
        if tls is not None:
            tls.close()
        if java is not None:
            java.close()
        reader.abandon()
        raise
    may_join = target.group is not None or target.is_lasting
    joins = JoinWatch(probes, target.pids) if may_join else None
    return Recording(probes, assembly, reader, head, target.is_lasting, joins, tls, java, redaction)


def _begin_watching(probes: Probes, target: Target, filters: Sequence[str]) -> LogHead:
    probes.watch(target.pids)
    probes.watch_groups(target.groups, are_awaited=target.is_lasting)
    watched = set(target.pids)
    refresh_target(target)  # what came and went between the first look and the probes
    probes.watch(target.pids)
    probes.unwatch(watched.difference(target.pids))
    probes.watch_groups(target.groups)
    probes.tell_listening(target.listening)
    if not target.pids and not target.is_lasting:
        raise NoTargetError(f"{target.describe()} ended before the recording began")
    return LogHead(
        clock_offset_ns=clock_offset_ns(),
        pids=target.pids,
        listening=target.listening,
        sockets=target.sockets,
        command=target.facts.command,
        executable=target.facts.executable,
        kernel=platform.release(),
        target=target.describe(),
        filters=list(filters),
        with_tls=probes.with_tls,
    )


class Recording:
    """Records until told to stop or, unless it ``is_lasting``, until no process is left.

    The ``reader`` was started; `close` ends it where `watch` did not.
    """

    def __init__(
        self,
        probes: Probes,
        assembly: Assembly,
        reader: Reader,
        head: LogHead,
        is_lasting: bool = False,
        joins: JoinWatch | None = None,
        tls: TlsWatch | None = None,
        java: JavaWatch | None = None,
        redaction: dict[str, Any] | None = None,
    ) -> None:
        self._probes = probes
        self._is_lasting = is_lasting
        self._assembly = assembly
        self._begun = time.monotonic()
        self._seconds = 0.0
        self._ended: float | None = None
        self._reader = reader
        self._losses = LossWatch(probes)
        self._ends = EndWatch(probes)
        self._joins = joins  # where processes may join that no target has started
        self._tasks = TaskWatch(probes) if probes.with_tasks else None
        self._tls = tls
        self._java = java
        self._newest = Progress()
        self._next_report = 0.0
        self._is_asked = False
        assembly.send(Begin(asdict(head), redaction))

    @property
    def refusals(self) -> list[str]:
        """Why Java programs have no agent that was wanted."""
        return [] if self._java is None else self._java.refusals

    def add(self, pids: Iterable[int]) -> None:
        """Watches further processes with their descendants, in a recording that ``is_lasting``.

        Any thread may call it.  What a process had before is told as of one that joins a group.
        """
        for pid in pids:
            self._join([pid])
            for _ in range(_MOST_LOOKS):  # a child may have been started in between
                known = set(self._probes.watched())
                below = [one for one in find_descendants(pid) if one not in known]
                if not any(map(is_running, below)):
                    break
                self._join(below)

    def _join(self, pids: list[int]) -> None:
        for pid in pids:
            self._reader.lead(make_join(pid))
        self._probes.watch(pids)
        self._probes.unwatch(pid for pid in pids if not is_running(pid))  # its end was not seen

    def remove(self, pids: Iterable[int]) -> None:
        """Watches processes and their descendants no more; any thread may call it."""
        for pid in pids:
            self._probes.unwatch([pid, *find_descendants(pid)])

    def watch(self, should_stop: Callable[[], bool], show: Callable[[Progress], None]) -> Progress:
        """Works until ``should_stop`` or the target's end; ``show`` is called now and then.

        All that was captured is taken when it returns.  Raises as `Assembly.receive`, and
        ``OSError`` when there is no memory for the backlog.
        """
        self._assembly.step_back()
        if self._tls is not None:
            self._tls.start()
        try:
            while not should_stop() and (self._is_lasting or self._probes.watched()):
                self._ends.look()
                if self._java is not None:
                    self._java.look()
                if self._tasks is not None:
                    self._tasks.look()
                for record in self._joins.look() if self._joins else ():
                    self._reader.note(record)
                self._turn(show)
            self._detach()
            self._assembly.hurry()
            self._drain(show)
        finally:
            self.close()
        return self._complete(self._newest)

    def finish(self, show: Callable[[Progress], None] = lambda _: None) -> Ending:
        """Writes the test set, after `watch`.  Raises as that does."""
        moved = [
            (one.socket, one.generation, *one.moved, *one.lost)
            for one in self._probes.open_connections()
        ]
        counts = self._probes.counts()
        lost = (counts["lost_events"], counts["lost_bytes"])
        unfollowed = counts["unfollowed_bytes"]
        self._assembly.send(Finish(self._seconds, *lost, moved, unfollowed))
        while not isinstance(finished := self._assembly.receive(None), Finished):
            if isinstance(finished, Progress):
                show(self._complete(finished))
        self._assembly.settle()
        return Ending(self._complete(Progress(**finished.progress)))

    def close(self) -> None:
        """Nothing is captured or read any more."""
        self._detach()
        self._reader.abandon()

    def _detach(self) -> None:
        self._probes.detach()
        if self._tls is not None:
            self._tls.close()
        if self._java is not None:
            self._java.close()
        if self._tasks is not None:
            self._tasks.close()

    def _drain(self, show: Callable[[Progress], None]) -> None:
        """The backlog's rest, which may take a while."""
        self._ended = time.monotonic()
        self._seconds = self._ended - self._begun
        self._note_losses()
        self._reader.stop()
        while not self._reader.join(0):
            self._turn(show)
        self._reader.check()
        while self._assembly.spool.backlog_size:
            self._ask(show)
        self._assembly.send(Drain())
        wanted = 1 + self._is_asked
        while wanted:
            wanted -= self._listen()
            show(self._complete(self._newest))

    def _turn(self, show: Callable[[Progress], None]) -> None:
        self._reader.check()
        self._note_losses()
        self._ask(show)

    def _ask(self, show: Callable[[Progress], None]) -> None:
        """Asks for news when the last were given, so that no one waits for the other."""
        now = time.monotonic()
        if not self._is_asked and now >= self._next_report:
            counts = self._probes.counts()
            report = Report(counts["lost_events"], counts["unfollowed_bytes"])
            self._assembly.send(report)
            self._is_asked, self._next_report = True, now + _REPORT_SECONDS
        if self._listen():
            self._is_asked = False
        show(self._complete(self._newest))

    def _note_losses(self) -> None:
        for record in self._losses.look():
            self._reader.note(record)

    def _listen(self) -> bool:
        """Whether there was news."""
        message = self._assembly.receive(_TURN_SECONDS)
        if isinstance(message, Progress):
            self._newest = message
        return isinstance(message, Progress)

    def _complete(self, progress: Progress) -> Progress:
        counts = self._probes.counts()
        progress.lost_events = counts["lost_events"]
        progress.filtered = {
            option: counts[name] for name, option in FILTER_OPTIONS.items() if counts[name]
        }
        progress.capped = self._reader.capped
        progress.task_processes = 0 if self._tasks is None else self._tasks.processes
        progress.unfollowed_size = counts["unfollowed_bytes"]
        progress.seconds = self._seconds or time.monotonic() - self._begun
        if self._ended is not None:
            progress.ending_seconds = time.monotonic() - self._ended
            progress.backlog_size = self._assembly.spool.backlog_size
        return progress
