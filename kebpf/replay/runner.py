"""Runs test sets one after the other and yields what happens as run events."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace

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
from kebpf.replay.selection import (
    SelectedSet,
    find_idle_patterns,
    select_cases,
    shuffle_cases,
    split_cases,
)
from kebpf.replay.setrun import Environment, RunOptions, SetRun
from kebpf.replay.stages import Recorded
from kebpf.replay.tokens import describe_expired, find_expired

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
        self._sets = [self._select(name, recorded) for name, recorded in test_sets]

    def _select(self, name: str, recorded: Recorded) -> SelectedSet:
        selected = select_cases(name, recorded, self._options.cases)
        seed = self._options.shuffle
        return selected if seed is None else shuffle_cases(selected, seed)

    async def events(self) -> AsyncGenerator[RunEvent, None]:
        """Runs; close the iterator (`contextlib.aclosing`) if it is left before its end."""
        options, tally = self._options, _Tally()
        total = sum(len(selected.cases) for selected in self._sets)
        command = [options.command] if isinstance(options.command, str) else list(options.command)
        names = [selected.name for selected in self._sets]
        yield RunStarted(names, total, command, options.shuffle, options.is_alone)
        self._tell_notes()
        for part in self._parts():
            async with aclosing(self._run_set(part, tally)) as events:
                async for event in events:
                    yield event
            if tally.has_not_started or (options.is_failing_fast and tally.has_failed):
                break
        apart = {name: why for selected in self._sets for name, why in selected.set_apart.items()}
        noise = self._environment.noise.uses()
        yield replace(tally.finish(total), set_apart=apart, noise=noise)

    def _parts(self) -> Iterator[SelectedSet]:
        """What one start of the application is for, each."""
        for selected in self._sets:
            if self._options.is_alone:
                yield from split_cases(selected)
            elif selected.cases:
                yield selected

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
        self._tell_expired()
        for pattern in find_idle_patterns(self._sets, self._options.cases):
            self._options.on_note(f"no case is called {pattern}")

    def _tell_expired(self) -> None:
        if self._options.is_clock_recorded:
            return
        now_ns = time.time_ns()
        found = [one for each in self._sets for one in find_expired(each.cases, now_ns)]
        if found:
            self._options.on_note(describe_expired(found, now_ns))


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
        self._parts: dict[str, list[tuple[SelectedSet, Ledger]]] = {}  # by test set

    @property
    def has_failed(self) -> bool:
        return bool(self._failed_cases or self._findings)

    def add(self, event: RunEvent) -> None:
        if isinstance(event, CaseFinished):
            self._verdicts[event.verdict] += 1
            if event.verdict in (Verdict.FAILED, Verdict.ERRORED):
                self._failed_cases.append(event.case)

    def close_set(self, run: SetRun) -> None:
        self.has_not_started = not run.is_ready
        self._findings += run.findings
        self._parts.setdefault(run.selected.name, []).append((run.selected, run.ledger))

    def finish(self, total: int) -> RunFinished:
        """Cases that never got an event, because the application did not start, are skipped."""
        ledgers = [ledger for parts in self._parts.values() for _, ledger in parts]
        ledger = Ledger(
            used=sum(one.used for one in ledgers),
            unused=[name for parts in self._parts.values() for name in _list_unused(parts)],
            misses=sum(one.misses for one in ledgers),
            more_unused=sum(one.more_unused for one in ledgers),
            unasserted=sum(one.unasserted for one in ledgers),
            cached=[call for one in ledgers for call in one.cached],
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


def _list_unused(parts: Sequence[tuple[SelectedSet, Ledger]]) -> list[str]:
    """The mocks that a set's one run, or each of its cases' runs, was to use and did not."""
    seen = Counter(name for _, ledger in parts for name in ledger.unused)
    own = {name for selected, _ in parts for case in selected.cases for name in case.calls}
    return [name for name, times in seen.items() if times == len(parts) or name in own]


async def _next(events: AsyncGenerator[RunEvent, None]) -> RunEvent | None:
    return await anext(events, None)
