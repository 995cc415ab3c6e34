"""Runs a recording: events from the ring through the stages into a test set."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from kebpf import __version__
from kebpf.capture.eventlog import EventLog, EventLogWriter, LogHead
from kebpf.capture.events import decode_run
from kebpf.capture.probes import Probes
from kebpf.capture.reader import Reader
from kebpf.capture.target import NoTargetError, Target, refresh_target
from kebpf.kernel.clock import clock_offset_ns
from kebpf.reassembly.tracker import Tracker
from kebpf.recording.builder import RecordingBuilder
from kebpf.recording.model import Losses, Manifest, RecordedExchange
from kebpf.recording.watcher import Watcher
from kebpf.recording.writer import TestSetWriter

_TURN_SECONDS = 0.05
_READ_MARGIN_NS = 500_000_000  # the reader looks at the ring far more often than that

#: How often, in event time, things are settled: a backlog may hold many seconds of events.
_SETTLE_NS = 50_000_000


@dataclass(slots=True)
class Progress:
    """Where a recording stands; sizes in bytes."""

    requests: int = 0
    test_cases: int = 0
    mocks: int = 0
    events: int = 0
    connections: int = 0
    captured_size: int = 0
    lost_size: int = 0
    lost_events: int = 0
    unparsed: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    destinations: dict[str, int] = field(default_factory=dict)
    protocols: dict[str, str] = field(default_factory=dict)  # of each destination
    missing_payload: dict[tuple[int, int], int] = field(default_factory=dict)
    seconds: float = 0.0


class Pipeline:
    """Events in, a test set out; needs no kernel, so a log can be run through it as well.

    The times of events become times of day by ``head.clock_offset_ns``.
    """

    def __init__(self, writer: TestSetWriter, name: str, head: LogHead) -> None:
        self._head = head
        self._builder = RecordingBuilder(writer, name)
        self._watcher = Watcher(self._add, head.clock_offset_ns)
        self.tracker = Tracker(self._watcher, head.listening, head.sockets)
        self._protocols: dict[str, str] = {}
        self._newest_ns = 0
        self._settled_ns = 0
        self.events = 0

    def feed(self, run: bytes) -> None:
        """Takes a run of ring records.  Raises `kebpf.capture.events.EventError`."""
        for event in decode_run(run):
            self.events += 1
            self._newest_ns = max(self._newest_ns, event.head.time_ns)
            self.tracker.feed(event)
            if self._newest_ns - self._settled_ns > _SETTLE_NS:
                self.settle()

    def settle(self, read_until_ns: int = 0) -> None:
        """Gives up on what is overdue, writes what is decided; `feed` does so by event time.

        ``read_until_ns`` (CLOCK_MONOTONIC) says up to when all events were taken, for a time in
        which none came.
        """
        self._newest_ns = self._settled_ns = max(self._newest_ns, read_until_ns)
        self.tracker.release_late()
        if self._newest_ns:
            now_ns = self._newest_ns + self._head.clock_offset_ns
            known_ns = self._watcher.settle(now_ns)
            self._builder.advance(known_ns, self._watcher.open_requests())

    def progress(self) -> Progress:
        totals, stats = self.tracker.totals(), self._builder.stats
        return Progress(
            requests=stats.requests,
            test_cases=stats.test_cases,
            mocks=stats.mocks,
            events=self.events,
            connections=totals.connections,
            captured_size=totals.captured_size,
            lost_size=totals.gap_size + totals.unopened_size,
            unparsed=dict(self._watcher.unparsed),
            left_out=dict(stats.left_out),
            destinations=dict(stats.destinations),
            protocols=self._protocols,
            missing_payload=dict(self._watcher.missing_payload),
        )

    def finish(
        self, moved: dict[tuple[int, int], tuple[int, int]], seconds: float, lost_events: int
    ) -> Manifest:
        """Ends all connections, writes the rest, commits.  Raises ``TestSetError``."""
        self.tracker.finish(moved)
        totals = self.tracker.totals()
        losses = Losses(
            lost_events=lost_events,
            lost_bytes=totals.gap_size + totals.unopened_size,
            unparsed_connections=sum(self._watcher.unparsed.values()),
        )
        return self._builder.finish(
            created_ns=time.time_ns(),
            kebpf_version=__version__,
            kernel=self._head.kernel,
            command=self._head.command,
            executable=self._head.executable,
            ports=self.tracker.listening,
            events=self.events,
            captured_bytes=totals.captured_size,
            seconds=seconds,
            losses=losses,
        )

    def _add(self, recorded: RecordedExchange) -> None:
        self._protocols.setdefault(str(recorded.remote), recorded.exchange.protocol)
        self._builder.add(recorded)


@dataclass(slots=True)
class Ending:
    """How a recording ended."""

    manifest: Manifest
    progress: Progress


def begin_recording(
    probes: Probes, target: Target, writer: TestSetWriter, name: str, log: EventLogWriter | None
) -> Recording:
    """Attaches the probes; capturing when it returns.

    Raises `KernelError`, `NoTargetError` when the target ended meanwhile, and ``OSError`` of the
    log.
    """
    # Probes are attached one after the other: with nobody to watch yet, so that none sees an
    # answer, or a question, before the other does.
    probes.attach()
    probes.watch(target.pids)
    watched = set(target.pids)
    refresh_target(target)  # what came and went between the first look and the probes
    probes.watch(target.pids)
    probes.unwatch(watched.difference(target.pids))
    if not target.pids:
        raise NoTargetError(f"process {target.facts.pid} ended before the recording began")
    head = LogHead(
        clock_offset_ns=clock_offset_ns(),
        pids=target.pids,
        listening=target.listening,
        sockets=target.sockets,
        command=target.facts.command,
        executable=target.facts.executable,
        kernel=platform.release(),
    )
    if log is not None:
        log.begin(head)
    return Recording(probes, Pipeline(writer, name, head), log)


class Recording:
    """Records until told to stop or until the target's last process is gone."""

    def __init__(self, probes: Probes, pipeline: Pipeline, log: EventLogWriter | None) -> None:
        self._probes = probes
        self._pipeline = pipeline
        self._log = log
        self._begun = time.monotonic()
        self._seconds = 0.0
        self._reader = Reader(probes.ring)

    def watch(self, should_stop: Callable[[], bool], show: Callable[[Progress], None]) -> Progress:
        """Works until ``should_stop`` or the target's end; ``show`` is called now and then.

        All that was captured is taken when it returns.  Raises ``TestSetError``, and ``OSError``
        of the log.
        """
        self._reader.start()
        try:
            while not should_stop() and self._probes.watched():
                self._turn(_TURN_SECONDS)
                show(self._progress(time.monotonic() - self._begun))
        finally:
            self._probes.detach()
            self._reader.stop()
        self._seconds = time.monotonic() - self._begun
        self._turn(0)
        return self._progress(self._seconds)

    def finish(self) -> Ending:
        """Writes the test set, after `watch`.  Raises as that does."""
        moved = {(one.socket, one.generation): one.moved for one in self._probes.open_connections()}
        if self._log is not None:
            self._log.close()
        lost_events = self._probes.counts()["lost_events"]
        manifest = self._pipeline.finish(moved, self._seconds, lost_events)
        return Ending(manifest, self._progress(self._seconds))

    def _turn(self, seconds: float) -> None:
        for run in self._reader.runs(seconds):
            if self._log is not None:
                self._log.write(run)
            self._pipeline.feed(run)
        is_empty = self._reader.backlog_size == 0
        self._pipeline.settle(time.monotonic_ns() - _READ_MARGIN_NS if is_empty else 0)

    def _progress(self, seconds: float) -> Progress:
        progress = self._pipeline.progress()
        progress.lost_events = self._probes.counts()["lost_events"]
        progress.seconds = seconds
        return progress


def rebuild(log: EventLog, writer: TestSetWriter, name: str) -> Manifest:
    """Makes a test set from an event log, without a kernel.

    Raises `kebpf.capture.events.EventError` and ``TestSetError``.
    """
    pipeline = Pipeline(writer, name, log.head)
    for run in log.runs():
        pipeline.feed(run)
        pipeline.settle()
    return pipeline.finish({}, 0.0, 0)
