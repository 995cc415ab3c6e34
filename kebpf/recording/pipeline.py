"""Runs events through the stages into a test set."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import kebpf
from kebpf.capture.eventlog import EventLog, LogHead
from kebpf.reassembly.proof import KernelCount
from kebpf.reassembly.tracker import Tracker
from kebpf.recording.builder import RecordingBuilder
from kebpf.recording.dedup.leaving import Sifting
from kebpf.recording.facts import Facts
from kebpf.recording.model import Losses, Manifest, RecordedExchange
from kebpf.recording.progress import Progress
from kebpf.recording.redaction.redactor import Redactor
from kebpf.recording.unlearned import UnlearnedStatements
from kebpf.recording.unplaced import UnplacedCalls
from kebpf.recording.watched import FindDatabase
from kebpf.recording.watcher import HTTP2, Watcher
from kebpf.recording.writer import TestSetWriter

#: How often, in event time, things are settled: a backlog may hold many seconds of events.
_SETTLE_NS = 50_000_000


class Pipeline:
    """Events in, a test set out; needs no kernel, so a log can be run through it as well.

    The times of events become times of day by ``head.clock_offset_ns``.  ``find_database`` is asked
    what a connection is for that was open before.  ``sifting`` says which requests are kept.
    Nothing is written but what ``redactor`` makes of it.
    """

    def __init__(
        self,
        writer: TestSetWriter,
        name: str,
        head: LogHead,
        find_database: FindDatabase | None = None,
        *,
        sifting: Sifting | None = None,
        redactor: Redactor | None = None,
    ) -> None:
        self._head = head
        self._redactor = redactor
        self._builder = RecordingBuilder(writer, name, sifting=sifting, redactor=redactor)
        self._watcher = Watcher(self._add, head.clock_offset_ns, self._builder, find_database)
        self._watcher.unread.is_off = not head.with_tls
        self.tracker = Tracker(self._watcher, head.listening, head.sockets)
        self._protocols: dict[str, str] = {}
        self._unlearned = UnlearnedStatements()
        self._unplaced = UnplacedCalls()
        self._newest_ns = 0
        self._settled_ns = 0
        self.events = 0
        self.said: dict[str, Any] = {}  # what else the manifest is to say

    def feed(self, run: bytes) -> None:
        """Takes a run of ring records.  Raises `kebpf.capture.events.EventError`."""
        at = 0
        while at < len(run):
            at, count = self.tracker.feed_run(run, at, self._settled_ns + _SETTLE_NS)
            self.events += count
            self._newest_ns = max(self._newest_ns, self.tracker.now_ns)
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
            unique=stats.unique,
            events=self.events,
            connections=totals.connections,
            captured_size=totals.captured_size,
            lost_size=totals.gap_size + totals.unopened_size,
            given_up=totals.given_up,
            given_up_size=totals.given_up_size,
            proven=self.tracker.proof.proven,
            unbalanced=dict(self.tracker.proof.reasons),
            unbalanced_names=list(self.tracker.proof.named),
            unparsed=dict(self._watcher.unparsed),
            left_out=self._without_secrets(dict(stats.left_out)),
            destinations=dict(stats.destinations),
            protocols=self._protocols,
            served=self._watcher.count_served(),
            set_apart=dict(stats.set_apart),
            unlearned=self._without_secrets(self._unlearned.as_fields()),
            unplaced=self._unplaced.as_fields(),
            redacted={} if self._redactor is None else self._redactor.count_replaced(),
            missing_payload=[(*key, size) for key, size in self._watcher.missing_payload.items()],
        )

    def finish(
        self,
        counts: dict[tuple[int, int], KernelCount] | None,
        seconds: float,
        lost_events: int,
        lost_bytes: int = 0,
        unfollowed_size: int = 0,
        tell: Callable[[], None] = lambda: None,
    ) -> Manifest:
        """Ends all connections, writes the rest, commits.  Raises ``TestSetError``.

        ``counts`` are the kernel's, of the connections that are open; a log has none.  ``tell`` is
        called now and then.
        """
        self.tracker.finish(counts, lost_bytes)
        facts = self._facts(seconds, lost_events, unfollowed_size)
        return self._builder.finish(tell=tell, **facts)

    def mark(self, seconds: float, lost_events: int, unfollowed_size: int) -> None:
        """Says what `finish` would be told now, for the case that the recording is cut off."""
        self._builder.mark(**self._facts(seconds, lost_events, unfollowed_size))

    def _facts(self, seconds: float, lost_events: int, unfollowed_size: int) -> Facts:
        totals = self.tracker.totals()
        losses = Losses(
            lost_events=lost_events,
            lost_bytes=totals.gap_size + totals.unopened_size + unfollowed_size,
            unparsed_connections=sum(self._watcher.unparsed.values()),
            given_up_connections=totals.given_up,
            given_up_bytes=totals.given_up_size,
            unbalanced_connections=sum(self.tracker.proof.reasons.values()),
        )
        return Facts(
            created_ns=time.time_ns(),
            kebpf_version=kebpf.__version__,
            kernel=self._head.kernel,
            command=self._show_command(),
            executable=self._head.executable,
            target=self._head.target,
            filters=self._head.filters,
            ports=self.tracker.listening,
            events=self.events,
            captured_bytes=totals.captured_size,
            seconds=seconds,
            losses=losses,
            extra=self._extra(),
        )

    def _show_command(self) -> list[str]:
        command = self._head.command
        return command if self._redactor is None else self._redactor.redact_command(command)

    def _extra(self) -> dict[str, Any]:
        """What else the manifest says."""
        served = {
            name: {"connections": connections, "bytes": size}
            for name, (connections, size) in self._watcher.count_served().items()
        }
        unlearned = self._unlearned.as_fields()
        said = {
            "served": served,
            "prepared_before": unlearned,
            "database_unknown": self._unplaced.as_fields(),
            "unparsed": dict(self._watcher.unparsed),
            "redacted": {} if self._redactor is None else self._redactor.count_replaced(),
            "not_captured": [
                {"pid": pid, "process": name, "bytes": size, "why": cause}
                for (pid, name, cause), size in self._watcher.missing_payload.items()
            ],
        }
        said = {key: value for key, value in said.items() if value}
        return self._without_secrets(said) | self.said

    def _without_secrets(self, tree: dict[str, Any]) -> dict[str, Any]:
        """What is said of the recording: names of statements and the like may hold anything."""
        redactor = self._redactor
        redacted: dict[str, Any] = tree if redactor is None else redactor.redact_tree(tree)
        return redacted

    def _add(self, recorded: RecordedExchange) -> None:
        is_h2 = recorded.tls is not None and recorded.tls.alpn == "h2"
        protocol = HTTP2 if is_h2 else recorded.exchange.protocol
        self._protocols.setdefault(str(recorded.remote), protocol)
        self._unlearned.note(recorded)
        self._unplaced.note(recorded)
        if self._redactor is not None:
            self._redactor.learn(recorded)
        self._builder.add(recorded)


def rebuild(
    log: EventLog, writer: TestSetWriter, name: str, sifting: Sifting | None = None
) -> Manifest:
    """Makes a test set from an event log, without a kernel.

    Raises `kebpf.capture.events.EventError` and ``TestSetError``.
    """
    pipeline = Pipeline(writer, name, log.head, sifting=sifting)
    for run in log.runs():
        pipeline.feed(run)
        pipeline.settle()
    return pipeline.finish(None, 0.0, 0)
