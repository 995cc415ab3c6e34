"""Runs a recording: events from the ring through the stages into a test set."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from kebpf import __version__
from kebpf.capture.eventlog import EventLog, EventLogWriter, LogHead
from kebpf.capture.events import Process, ProcessChange, decode_run
from kebpf.capture.probes import Probes
from kebpf.capture.reader import Reader
from kebpf.capture.target import Target, refresh_target
from kebpf.kernel.clock import clock_offset_ns
from kebpf.reassembly.tracker import Totals, Tracker
from kebpf.recording.builder import RecordingBuilder
from kebpf.recording.model import Losses, Manifest, RecordedExchange
from kebpf.recording.watcher import Watcher
from kebpf.recording.writer import TestSetWriter

_TURN_SECONDS = 0.05


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
        self.tracker = Tracker(self._watcher, head.listening)
        self._protocols: dict[str, str] = {}
        self._newest_ns = 0
        self.events = 0
        self.live_processes = set(head.pids)

    def feed(self, run: bytes) -> None:
        """Takes a run of ring records.  Raises `kebpf.capture.events.EventError`."""
        for event in decode_run(run):
            self.events += 1
            self._newest_ns = max(self._newest_ns, event.head.time_ns)
            if isinstance(event, Process):
                self._note_process(event)
            else:
                self.tracker.feed(event)

    def settle(self) -> None:
        """Between runs: gives up on what is overdue, writes what is decided."""
        self.tracker.release_late()
        if self._newest_ns:
            now_ns = self._newest_ns + self._head.clock_offset_ns
            self._builder.advance(now_ns, self._watcher.open_requests())

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

    def totals(self) -> Totals:
        return self.tracker.totals()

    def _add(self, recorded: RecordedExchange) -> None:
        self._protocols.setdefault(str(recorded.remote), recorded.exchange.protocol)
        self._builder.add(recorded)

    def _note_process(self, event: Process) -> None:
        if event.change == ProcessChange.FORK:
            self.live_processes.add(event.child)
        elif event.change == ProcessChange.EXIT:
            self.live_processes.discard(event.head.pid)


@dataclass(slots=True)
class Ending:
    """How a recording ended."""

    manifest: Manifest
    progress: Progress


class Recorder:
    """Records a target until told to stop or until its last process is gone."""

    def __init__(self, probes: Probes, target: Target, writer: TestSetWriter, name: str) -> None:
        self._probes = probes
        self._target = target
        self._writer = writer
        self._name = name
        self._reader = Reader(probes.ring)
        self._log: EventLogWriter | None = None
        self._pipeline: Pipeline | None = None
        self._begun = 0.0

    def begin(self, keep_events: Path | None = None) -> None:
        """Attaches the probes; capturing when it returns.

        Raises `kebpf.kernel.errors.KernelError`, and ``OSError`` for the log.
        """
        self._probes.watch(self._target.pids)
        self._probes.attach()
        refresh_target(self._target)  # what came between the first look and the probes
        self._probes.watch(self._target.pids)
        head = LogHead(
            clock_offset_ns(),
            self._target.pids,
            self._target.listening,
            self._target.facts.command,
            self._target.facts.executable,
            platform.release(),
        )
        self._log = EventLogWriter(keep_events, head) if keep_events else None
        self._pipeline = Pipeline(self._writer, self._name, head)
        self._begun = time.monotonic()
        self._reader.start()

    def run(self, should_stop: Callable[[], bool], show: Callable[[Progress], None]) -> Ending:
        """Works until ``should_stop`` or the target's end; ``show`` is called now and then."""
        assert self._pipeline is not None
        while not should_stop() and self._pipeline.live_processes:
            self._turn(_TURN_SECONDS)
            show(self._progress())
        return self._end()

    def _turn(self, seconds: float) -> None:
        assert self._pipeline is not None
        for run in self._reader.runs(seconds):
            if self._log is not None:
                self._log.write(run)
            self._pipeline.feed(run)
        self._pipeline.settle()

    def _end(self) -> Ending:
        assert self._pipeline is not None
        self._probes.detach()
        self._reader.stop()
        seconds = time.monotonic() - self._begun
        self._turn(0)
        moved = {(one.socket, one.generation): one.moved for one in self._probes.open_connections()}
        lost_events = self._probes.counts()["lost_events"]
        manifest = self._pipeline.finish(moved, seconds, lost_events)
        if self._log is not None:
            self._log.close()
        return Ending(manifest, self._progress(seconds))

    def _progress(self, seconds: float | None = None) -> Progress:
        assert self._pipeline is not None
        progress = self._pipeline.progress()
        progress.lost_events = self._probes.counts()["lost_events"]
        progress.seconds = time.monotonic() - self._begun if seconds is None else seconds
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
