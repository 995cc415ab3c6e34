"""Runs test sets one after the other and yields what happens as run events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Generator, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace

from kebpf.replay.events import (
    RunEvent,
    RunFailed,
    RunFinished,
    RunStarted,
)
from kebpf.replay.noise import NoiseUse
from kebpf.replay.selection import (
    SelectedSet,
    find_idle_patterns,
    select_cases,
    shuffle_cases,
    split_cases,
)
from kebpf.replay.setrun import Environment, RunOptions, SetRun
from kebpf.replay.stages import Recorded
from kebpf.replay.tally import Tally
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
        self.options = options
        self.environment = environment
        self.sets = [self._select(name, recorded) for name, recorded in test_sets]

    def _select(self, name: str, recorded: Recorded) -> SelectedSet:
        selected = select_cases(name, recorded, self.options.cases)
        seed = self.options.shuffle
        return selected if seed is None else shuffle_cases(selected, seed)

    async def events(self) -> AsyncGenerator[RunEvent, None]:
        """Runs; close the iterator (`contextlib.aclosing`) if it is left before its end."""
        options, tally = self.options, Tally()
        yield self.make_start()
        self.tell_notes()
        parts = split_sets(self.sets, options.is_alone)
        async with aclosing(run_parts(parts, options, self.environment, tally)) as events:
            async for event in events:
                yield event
        yield self.make_finish(tally, self.environment.noise.uses())

    def make_start(self, jobs: int = 1) -> RunStarted:
        """The first event; ``jobs`` is how many instances of the application there will be."""
        options = self.options
        command = [options.command] if isinstance(options.command, str) else list(options.command)
        names = [selected.name for selected in self.sets]
        return RunStarted(names, self._count(), command, options.shuffle, options.is_alone, jobs)

    def make_finish(self, tally: Tally, noise: list[NoiseUse]) -> RunFinished:
        """The last event."""
        apart = {name: why for selected in self.sets for name, why in selected.set_apart.items()}
        return replace(tally.finish(self._count()), set_apart=apart, noise=noise)

    def _count(self) -> int:
        return sum(len(selected.cases) for selected in self.sets)

    def run(self) -> Iterator[RunEvent]:
        """The same for a caller without an event loop; an interrupt ends everything in order."""
        return drive(self.events())

    def tell_notes(self) -> None:
        """Tells what a person should know before the first case."""
        if self.options.invoker.note is not None:
            self.options.on_note(self.options.invoker.note)
        self._tell_expired()
        for pattern in find_idle_patterns(self.sets, self.options.cases):
            self.options.on_note(f"no case is called {pattern}")

    def _tell_expired(self) -> None:
        if self.options.is_clock_recorded:
            return
        now_ns = time.time_ns()
        found = [one for each in self.sets for one in find_expired(each.cases, now_ns)]
        if found:
            self.options.on_note(describe_expired(found, now_ns))


def split_sets(sets: Iterable[SelectedSet], is_alone: bool) -> Iterator[SelectedSet]:
    """What one start of the application is for, each."""
    for selected in sets:
        if is_alone:
            yield from split_cases(selected)
        elif selected.cases:
            yield selected


async def run_parts(
    parts: Iterable[SelectedSet], options: RunOptions, environment: Environment, tally: Tally
) -> AsyncGenerator[RunEvent, None]:
    """Runs one after the other, until one does not start or, if asked to, something fails."""
    for selected in parts:
        run = SetRun(selected, options, environment)
        async with aclosing(run.events()) as events:
            async for event in events:
                tally.add(event)
                yield event
        tally.close_part(run.sum_up())
        if tally.has_not_started or (options.is_failing_fast and tally.has_failed):
            return


def drive(events: AsyncGenerator[RunEvent, None]) -> Generator[RunEvent, None, None]:
    """The same events without an event loop; an interrupt ends everything in order."""
    with asyncio.Runner() as loop:
        try:
            while (event := loop.run(_next(events))) is not None:
                yield event
        finally:
            loop.run(events.aclose())


def exit_status(event: RunFinished | RunFailed) -> int:
    """What ``kebpf test`` exits with for the worst that a run ended in.

    A `RunFailed` counts more than the `RunFinished` after it.
    """
    if isinstance(event, RunFailed):
        return ENVIRONMENT_FAILED
    if event.failed or event.errored or event.findings:
        return CASE_FAILED
    return PASSED if event.passed else NOTHING_RAN


async def _next(events: AsyncGenerator[RunEvent, None]) -> RunEvent | None:
    return await anext(events, None)
