"""Runs a test's cases in several instances of the application side by side, as one run.

Each instance is a process's, in a network of its own, with its own responder, its own copy of the
mocks of start-up and background, and its own part of the cases.  Their events become one stream.
"""

from __future__ import annotations

import contextlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

from kebpf.kernel.errors import KernelError
from kebpf.replay.division import divide_sets
from kebpf.replay.events import (
    ApplicationReady,
    CallFinding,
    CaseFinished,
    RunEvent,
    RunFailed,
    Verdict,
)
from kebpf.replay.noise import NoiseRule, NoiseUse
from kebpf.replay.runner import Runner, drive, run_parts, split_sets
from kebpf.replay.selection import SelectedSet
from kebpf.replay.setrun import Environment
from kebpf.replay.sharing import SharedCall, judge_shared
from kebpf.replay.tally import Part, Tally
from kebpf.replay.workers import Crew, Ended, Send, Worker


@dataclass(frozen=True, slots=True)
class Instances:
    """How many at most, and what makes and clears away each one's surroundings.

    ``enter`` moves the process that calls it into a network of its own, for good, and gives what
    its part of the run is done with; it raises `KernelError` where there cannot be one.
    ``clean_up`` removes what a process left behind that was killed.
    """

    number: int
    enter: Callable[[], AbstractContextManager[Environment]]
    clean_up: Callable[[int], None] = lambda _pid: None


@dataclass(frozen=True, slots=True)
class _Entered:
    """The worker is in a network of its own."""


@dataclass(frozen=True, slots=True)
class _Refused:
    text: str
    hint: str


@dataclass(frozen=True, slots=True)
class _Line:
    text: str


@dataclass(frozen=True, slots=True)
class _Note:
    text: str


@dataclass(frozen=True, slots=True)
class _Done:
    parts: list[Part]
    noise: list[NoiseUse]


class JobsRunner:
    """The run that ``runner`` would make in one instance, in several."""

    def __init__(self, runner: Runner, instances: Instances) -> None:
        self.runner = runner
        self._instances = instances

    def run(self) -> Iterator[RunEvent]:
        """All events; an interrupt ends every instance in order.

        Raises `KernelError` before the first event where there cannot be an instance.
        """
        runner = self.runner
        divided = divide_sets(
            runner.sets,
            self._instances.number,
            runner.options.is_alone,
            runner.environment.protocols().__getitem__,
        )
        crew = Crew([partial(self._work, sets) for sets in divided])
        merger = _Merger(runner, len(divided))
        try:
            messages = crew.messages()
            early = _await_entered(messages, len(divided))
            yield runner.make_start(len(divided))
            runner.tell_notes()
            self._tell_division(len(divided))
            for worker, message in chain(early, messages):
                yield from merger.take(worker, message)
                if merger.is_over:
                    break
        finally:
            self._clean_up(crew.stop())
        yield runner.make_finish(*merger.finish())

    def _work(self, sets: Sequence[SelectedSet], send: Send) -> None:
        """What a worker does."""
        with ExitStack() as stack:
            try:
                environment = stack.enter_context(self._instances.enter())
            except KernelError as error:
                send(_Refused(str(error), error.hint))
                return
            send(_Entered())
            if environment.note is not None:
                send(_Note(environment.note))
            self._run_part(sets, environment, send)

    def _run_part(self, sets: Sequence[SelectedSet], environment: Environment, send: Send) -> None:
        asked, tally = self.runner.options, Tally()
        options = replace(
            asked,
            is_part=not asked.is_alone,
            on_line=None if asked.on_line is None else lambda text: send(_Line(text)),
            on_note=lambda text: send(_Note(text)),
        )
        parts = run_parts(split_sets(sets, options.is_alone), options, environment, tally)
        with contextlib.closing(drive(parts)) as events:  # an interrupt may come between two
            for event in events:
                send(event)
        send(_Done(tally.parts, environment.noise.uses()))

    def _clean_up(self, killed: Sequence[int]) -> None:
        for pid in killed:
            with contextlib.suppress(KernelError, OSError):  # told was that it was killed
                self._instances.clean_up(pid)

    def _tell_division(self, number: int) -> None:
        cases = sum(len(selected.cases) for selected in self.runner.sets)
        if number < min(self._instances.number, cases):
            many = "one instance" if number == 1 else f"{number} instances"
            self.runner.options.on_note(
                f"the cases depend on one another, so that {many} can run them, "
                f"not {self._instances.number}"
            )


def _await_entered(
    messages: Iterator[tuple[Worker, object]], number: int
) -> list[tuple[Worker, object]]:
    """Nobody is heard before all have a network, so that a refusal is all there is to say."""
    early: list[tuple[Worker, object]] = []
    settled: set[int] = set()
    while len(settled) < number:
        worker, message = next(messages)
        if isinstance(message, _Refused):
            raise KernelError(message.text, message.hint)
        if isinstance(message, _Entered | Ended):
            settled.add(worker.number)
        early.append((worker, message))
    return early


class _Merger:
    """Makes one run's events and sums of what all instances tell."""

    def __init__(self, runner: Runner, number: int) -> None:
        self.is_over = False
        self._options = runner.options
        self._number = number
        self._tally = Tally()
        self._parts: list[Part] = []
        self._noise: Counter[NoiseRule] = Counter()
        self._rules = runner.environment.noise.rules
        self._done: set[int] = set()  # the workers that told what it came to
        self._told: set[str] = set()  # what all instances have to say is said once

    def take(self, worker: Worker, message: object) -> Iterator[RunEvent]:
        """The events that a message leads to; sets ``is_over`` when the run is to end early."""
        match message:
            case _Line(text):
                if self._options.on_line is not None:
                    self._options.on_line(f"{worker.number}: {text}")
            case _Note(text):
                if self._is_new(text):
                    self._options.on_note(text)
            case _Done():
                self._done.add(worker.number)
                self._close(message)
            case Ended(how):
                yield from self._end(worker, how)
            case RunFailed() | CaseFinished() | ApplicationReady():
                yield from self._pass_on(message)

    def _pass_on(self, event: RunFailed | CaseFinished | ApplicationReady) -> Iterator[RunEvent]:
        if isinstance(event, RunFailed) and not self._is_new(event.reason):
            return
        self._tally.add(event)
        yield event
        is_bad = isinstance(event, CaseFinished) and event.verdict is not Verdict.PASSED
        self.is_over = is_bad and self._options.is_failing_fast

    def _is_new(self, text: str) -> bool:
        is_new = text not in self._told
        self._told.add(text)
        return is_new

    def _close(self, done: _Done) -> None:
        self._parts += done.parts
        for part in done.parts:
            self._tally.close_part(part)
        for use in done.noise:
            self._noise[use.rule] += use.count
        is_failing = self._options.is_failing_fast and self._tally.has_failed
        self.is_over = is_failing or not all(part.is_ready for part in done.parts)

    def _end(self, worker: Worker, how: str | None) -> Iterator[RunEvent]:
        """A worker that did not come to its end: its other cases count as skipped."""
        if worker.number in self._done:
            return
        yield RunFailed(
            f"kebpf's process for instance {worker.number} of {self._number} "
            f"{how or 'was interrupted'}: "
            "the rest of its cases were not run"
        )

    def finish(self) -> tuple[Tally, list[NoiseUse]]:
        """The sums, when nobody has more to tell."""
        if not self.is_over:
            self._tally.add_findings(self._judge_shared())
        return self._tally, [NoiseUse(rule, self._noise[rule]) for rule in self._rules]

    def _judge_shared(self) -> Iterator[CallFinding]:
        calls: dict[str, list[SharedCall]] = defaultdict(list)
        for part in self._parts:
            calls[part.test_set] += part.shared
        for of_set in calls.values():
            yield from judge_shared(of_set)
