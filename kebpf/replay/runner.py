"""Runs test sets one after the other and yields what happens as run events."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing

from kebpf.replay.events import (
    CallFinding,
    CaseFinished,
    Ledger,
    RunEvent,
    RunFailed,
    RunFinished,
    RunStarted,
    Verdict,
)
from kebpf.replay.selection import SelectedSet, find_idle_patterns, select_cases
from kebpf.replay.setrun import Environment, RunOptions, SetRun
from kebpf.replay.stages import Recorded

PASSED, CASE_FAILED, ENVIRONMENT_FAILED, NOTHING_RAN = 0, 1, 3, 4


class Runner:
    """One run.  ``RunFinished`` is always its last event, after a ``RunFailed`` too."""

    def __init__(
        self,
        options: RunOptions,
        test_sets: Sequence[tuple[str, Recorded]],
        environment: Environment,
    ) -> None:
        self._options = options
        self._environment = environment
        patterns = options.cases
        self._sets = [select_cases(name, recorded, patterns) for name, recorded in test_sets]

    async def events(self) -> AsyncGenerator[RunEvent, None]:
        """Runs; close the iterator (`contextlib.aclosing`) if it is left before its end."""
        options, tally = self._options, _Tally()
        total = sum(len(selected.cases) for selected in self._sets)
        command = [options.command] if isinstance(options.command, str) else list(options.command)
        yield RunStarted([selected.name for selected in self._sets], total, command)
        self._tell_notes()
        for selected in self._sets:
            if not selected.cases:
                continue
            async with aclosing(self._run_set(selected, tally)) as events:
                async for event in events:
                    yield event
            if tally.has_not_started:
                break
        yield tally.finish(total)

    def run(self) -> Iterator[RunEvent]:
        """The same for a caller without an event loop; an interrupt ends everything in order."""
        with asyncio.Runner() as loop:
            events = self.events()
            try:
                while (event := loop.run(_next(events))) is not None:
                    yield event
            finally:
                loop.run(events.aclose())

    async def _run_set(
        self, selected: SelectedSet, tally: _Tally
    ) -> AsyncGenerator[RunEvent, None]:
        run = SetRun(selected, self._options, self._environment)
        async with aclosing(run.events()) as events:
            async for event in events:
                tally.add(event)
                yield event
        tally.close_set(run)

    def _tell_notes(self) -> None:
        if self._options.invoker.note is not None:
            self._options.on_note(self._options.invoker.note)
        for pattern in find_idle_patterns(self._sets, self._options.cases):
            self._options.on_note(f"no case is called {pattern}")


def exit_status(event: RunFinished | RunFailed) -> int:
    """What ``kebpf test`` exits with for the worst that a run ended in.

    A `RunFailed` counts more than the `RunFinished` after it.
    """
    if isinstance(event, RunFailed):
        return ENVIRONMENT_FAILED
    if event.failed or event.errored or event.findings:
        return CASE_FAILED
    return PASSED if event.passed else NOTHING_RAN


class _Tally:
    """Counts over all sets of a run."""

    def __init__(self) -> None:
        self.has_not_started = False
        self._started = time.monotonic()
        self._verdicts: Counter[Verdict] = Counter()
        self._failed_cases: list[str] = []
        self._findings: list[CallFinding] = []
        self._ledgers: list[Ledger] = []

    def add(self, event: RunEvent) -> None:
        if isinstance(event, CaseFinished):
            self._verdicts[event.verdict] += 1
            if event.verdict in (Verdict.FAILED, Verdict.ERRORED):
                self._failed_cases.append(event.case)

    def close_set(self, run: SetRun) -> None:
        self.has_not_started = not run.is_ready
        self._findings += run.findings
        self._ledgers.append(run.ledger)

    def finish(self, total: int) -> RunFinished:
        """Cases that never got an event, because the application did not start, are skipped."""
        ledger = Ledger(
            used=sum(one.used for one in self._ledgers),
            unused=[name for one in self._ledgers for name in one.unused],
            misses=sum(one.misses for one in self._ledgers),
            more_unused=sum(one.more_unused for one in self._ledgers),
            unasserted=sum(one.unasserted for one in self._ledgers),
        )
        return RunFinished(
            passed=self._verdicts[Verdict.PASSED],
            failed=self._verdicts[Verdict.FAILED],
            errored=self._verdicts[Verdict.ERRORED],
            skipped=total - self._verdicts.total() + self._verdicts[Verdict.SKIPPED],
            misses=ledger.misses,
            unused_mocks=len(ledger.unused) + ledger.more_unused,
            seconds=time.monotonic() - self._started,
            findings=self._findings,
            failed_cases=self._failed_cases,
            ledger=ledger,
        )


async def _next(events: AsyncGenerator[RunEvent, None]) -> RunEvent | None:
    return await anext(events, None)
