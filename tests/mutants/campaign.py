"""Runs all mutants of one application and says of each what became of it."""

from __future__ import annotations

import enum
import queue
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path

from tests.mutants.applications import Application, make_application
from tests.mutants.mutant import Mutant, apply, take_sample
from tests.mutants.oracle import Oracle, trace
from tests.mutants.reach import is_reached, measure
from tests.mutants.replaying import Replay, record, replay

CHUNK = 8  # mutants between two runs of the unmutated version
MOST_RECORDINGS = 5  # made until the unmutated version passes one


class Fate(enum.StrEnum):
    """What became of a mutant."""

    CAUGHT = "caught"  # exit status 1
    NOT_STARTED = "not started"  # exit status 3
    EQUIVALENT = "equivalent"  # passed, and nobody can tell it from the original
    ESCAPED = "escaped"  # passed, and somebody can
    NOT_REACHED = "not reached"  # its code does not run
    BROKEN = "broken"  # kebpf ended otherwise


@dataclass(frozen=True)
class Outcome:
    """A mutant's fate; ``why`` is what kebpf found, or what it should have."""

    mutant: Mutant
    fate: Fate
    why: str = ""
    alone: str = ""  # the finding on the recording of one customer, if the other passed


class UnmutatedFailsError(Exception):
    """The original does not pass its own recording."""


class Campaign:
    """One application's mutants, on ``jobs`` copies at a time; scratch files stay in ``folder``.

    Those of which the outcome is ``known`` are not run again.  ``tell_unmutated`` is given what
    each replay of the original found (nothing, as a rule).
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        jobs: int,
        tell: Callable[[Outcome], None],
        known: Callable[[Mutant], Outcome | None] = lambda mutant: None,
        tell_unmutated: Callable[[str], None] = lambda finding: None,
    ) -> None:
        self._name = name
        self._known = known
        self._tell_unmutated = tell_unmutated
        self._folder = folder
        self._jobs = jobs
        self._tell = tell
        self.cases: dict[str, int] = {}
        self.unchosen = 0  # mutants whose code runs and that were not asked for
        self.failed_recordings: list[str] = []
        self._live = threading.Lock()  # the servers serve one live run at a time

    def run(self, choose: Callable[[Sequence[Mutant]], Sequence[Mutant]]) -> list[Outcome]:
        """The outcomes of the mutants chosen, in order.  Raises `UnmutatedFailsError`."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        with ExitStack() as stack:
            application = stack.enter_context(make_application(self._name, self._folder))
            self._prepare(application)
            reached, idle = self._choose(application, choose)
            outcomes = [Outcome(mutant, Fate.NOT_REACHED) for mutant in idle]
            known = [self._known(mutant) for mutant in reached]
            outcomes += [outcome for outcome in known if outcome is not None]
            left = [mutant for mutant, one in zip(reached, known, strict=True) if one is None]
            outcomes += self._run_all(application, left)
        return sorted(outcomes, key=lambda one: (one.mutant.path, one.mutant.edit.start))

    def _prepare(self, application: Application) -> None:
        """Records it, once under concurrent load and once with one customer."""
        self._base = self._folder / "base"
        application.copy_to(self._base)
        self._record(application, "crowd", application.crowd)
        self._record(application, "alone", lambda: _walk(application))
        self._oracle = Oracle(trace(application, self._base), trace(application, self._base))

    def _record(self, application: Application, name: str, drive: Callable[[], None]) -> None:
        """Records again when the unmutated version does not pass; that is noted.

        Raises `UnmutatedFailsError` after some times.
        """
        for number in range(MOST_RECORDINGS):
            self.cases[name] = record(application, self._base, self._set(name), drive)
            done = self._replay(application, self._base, name)
            if done.status == 0:
                return
            self.failed_recordings.append(f"{name}: {done.finding}")
            self._set(name).rename(self._folder / f"failed-{name}-{number}")
        raise UnmutatedFailsError("; ".join(self.failed_recordings))

    def _set(self, name: str) -> Path:
        return self._folder / "recordings" / name

    def _choose(
        self, application: Application, choose: Callable[[Sequence[Mutant]], Sequence[Mutant]]
    ) -> tuple[list[Mutant], list[Mutant]]:
        """Those chosen whose code runs, and all others whose code does not."""
        traced = self._folder / "traced"
        application.copy_to(traced)
        lines = measure(application, traced)
        mutants = application.list_mutants(self._base)
        reached = [mutant for mutant in mutants if is_reached(mutant, lines)]
        idle = [mutant for mutant in mutants if mutant not in reached]
        chosen = list(choose(reached))
        self.unchosen = len(reached) - len(chosen)
        return chosen, idle

    def _run_all(self, application: Application, mutants: Sequence[Mutant]) -> list[Outcome]:
        chunks = [mutants[place : place + CHUNK] for place in range(0, len(mutants), CHUNK)]
        copies: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for number in range(self._jobs):
            copy = self._folder / f"job-{number}"
            application.copy_to(copy)
            copies.put(copy)

        is_over = threading.Event()

        def work(chunk: Sequence[Mutant]) -> list[Outcome]:
            copy = copies.get()
            try:
                outcomes = self._run_chunk(application, copy, chunk)
                return list(takewhile(lambda _: not is_over.is_set(), outcomes))
            finally:
                copies.put(copy)

        with ThreadPoolExecutor(self._jobs) as pool:
            try:
                return [outcome for done in pool.map(work, chunks) for outcome in done]
            finally:
                is_over.set()

    def _run_chunk(
        self, application: Application, copy: Path, chunk: Sequence[Mutant]
    ) -> Iterator[Outcome]:
        self._check_unmutated(application, copy)
        for mutant in chunk:
            with mutated(copy, mutant):
                outcome = self._judge(application, copy, mutant)
            self._tell(outcome)
            yield outcome

    def _check_unmutated(self, application: Application, copy: Path) -> None:
        """Raises `UnmutatedFailsError` when it fails twice in a row; once is noted."""
        for _ in range(2):
            done = self._replay(application, copy, "crowd")
            passed = done.status == 0
            self._tell_unmutated("" if passed else done.finding or f"status {done.status}")
            if passed:
                return
        raise UnmutatedFailsError(f"{application.name}, not mutated: {done.finding}\n{done.output}")

    def _replay(self, application: Application, copy: Path, name: str) -> Replay:
        report = copy.with_name(f"{copy.name}-{name}.jsonl")
        return replay(application, copy, self._set(name), report)

    def _judge(self, application: Application, copy: Path, mutant: Mutant) -> Outcome:
        done = self._replay(application, copy, "crowd")
        if done.is_caught:
            fate = Fate.CAUGHT if done.status == 1 else Fate.NOT_STARTED
            return Outcome(mutant, fate, done.finding)
        if done.status != 0:
            return Outcome(mutant, Fate.BROKEN, f"exit status {done.status}: {done.output[-500:]}")
        alone = self._replay(application, copy, "alone")
        with self._live:
            outcome = self._consult(application, copy, Outcome(mutant, Fate.EQUIVALENT))
        return replace(outcome, alone=alone.finding if alone.is_caught else "")

    def _consult(self, application: Application, copy: Path, outcome: Outcome) -> Outcome:
        """Asks the oracle about a mutant that passed."""
        first = trace(application, copy)
        why = self._oracle.find_difference(first)
        if why is None:
            why = self._oracle.find_frozen(first, trace(application, copy))
        return outcome if why is None else replace(outcome, fate=Fate.ESCAPED, why=why)


def _walk(application: Application) -> None:
    for answer in application.walk():
        assert "gave up" not in answer


@contextmanager
def mutated(copy: Path, mutant: Mutant) -> Iterator[None]:
    """The mutant in place of its file while the block lasts."""
    path = copy / mutant.path
    source = path.read_bytes()
    path.write_bytes(apply(mutant.edit, source))
    try:
        yield
    finally:
        path.write_bytes(source)


def choose_sample(count: int) -> Callable[[Sequence[Mutant]], Sequence[Mutant]]:
    return lambda mutants: take_sample(list(mutants), count)
