"""Replays a recording against the version that was recorded, and mends what a class can mend.

Each round runs the set several times, first in recorded order, then shuffled.  Values that
differ in recorded order are generalised from all values seen; calls before responses, since a
wrong answer is what follows from a wrong call.  What no class mends is set apart, one case after
another, because what is wrong with one is often felt by the next.  It ends with a round in which
everything passed.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kebpf.recording.generalise import Seen, generalise
from kebpf.recording.loose import PERMUTATION
from kebpf.recording.model import Strength, TestCase, Tier
from kebpf.recording.revision import Finding, Original, Place, RevisedSet, describe_finding
from kebpf.recording.times import Window
from kebpf.replay.binding import Bindings
from kebpf.replay.events import CaseFinished, Mismatch, RunEvent, RunFailed, RunFinished, Verdict
from kebpf.replay.observations import ORDER, History, Observation, observe_case, observe_outside
from kebpf.replay.runner import Runner
from kebpf.replay.setrun import Environment, RunOptions

MOST_ROUNDS = 12
LEAST_ORDERED_RUNS = 4  # in recorded order, to tell chance from the order
MOST_EXAMPLES = 3
STRICT_PATHS = ("/operation", "/method", "/path")  # of a call: what is done, not with what


@dataclass(frozen=True, slots=True)
class RunDone:
    """One run of all cases; ``seed`` is ``None`` for the recorded order."""

    number: int
    round: int
    seed: int | None
    passed: int
    failed: int
    seconds: float


@dataclass(frozen=True, slots=True)
class CaseSetApart:
    """A case that cannot be made to pass."""

    case: str
    reason: str


@dataclass(frozen=True, slots=True)
class Verified:
    """The end: how many cases pass, of what strength, and what still stands in the way."""

    passed: int
    runs: int
    rounds: int
    strength: Strength
    generalised: list[Finding] = field(default_factory=list)
    set_apart: dict[str, str] = field(default_factory=dict)
    order_dependent: list[str] = field(default_factory=list)
    unresolved: list[str] = field(default_factory=list)


VerifyEvent = RunDone | Finding | CaseSetApart | Verified


class VerifyError(Exception):
    """The runs say nothing of the recording; ``output`` is the application's last lines."""

    def __init__(self, reason: str, output: Sequence[str] = ()) -> None:
        super().__init__(reason)
        self.output = list(output)


@dataclass(slots=True)
class _Round:
    """What the runs of a round showed of each case that did not pass."""

    number: int
    cases: dict[str, list[tuple[bool, Observation]]] = field(default_factory=dict)
    outside: list[tuple[bool, Observation]] = field(default_factory=list)

    def is_clean(self, ignored: set[str]) -> bool:
        """Whether everything passed, but for what depends on the order in another one."""
        cases = (
            is_in_order or name not in ignored
            for name, found in self.cases.items()
            for is_in_order, _ in found
        )
        return not any(cases) and not any(in_order for in_order, _ in self.outside)


class Verifier:
    """One verification of one test set; ``revised`` is the set as it came out."""

    def __init__(
        self,
        name: str,
        test_set: Original,
        options: RunOptions,
        environment: Environment,
        runs: int,
        make_seed: Callable[[], int] = lambda: random.randrange(1, 1 << 31),
    ) -> None:
        self.revised = RevisedSet(test_set)
        self._name = name
        self._options = options
        self._environment = replace(environment, compare=self._compare)
        self._really_compare = environment.compare
        self._runs = runs
        self._make_seed = make_seed
        self._history = History()
        self._windows: dict[str, Window] = {}
        self._done = 0
        self._ever_passed: set[str] = set()
        self._order_dependent: set[str] = set()
        self._most_apart = 1

    def events(self) -> Iterator[VerifyEvent]:
        """Runs to the end.  Raises `VerifyError`; what was revised is of no use then."""
        orders = self._usual_orders()
        for number in range(1, MOST_ROUNDS + 1):
            round_ = _Round(number)
            for seed in orders:
                yield self._run(round_, seed)
            if round_.is_clean(self._order_dependent):
                break
            changes = list(self._mend(round_, is_last=number == MOST_ROUNDS))
            yield from changes
            orders = self._usual_orders()
            if not changes:
                suspects = self._suspect(round_)
                if not suspects:
                    break
                orders = [None] * max(self._runs, LEAST_ORDERED_RUNS)
        yield self._finish(round_)

    def _usual_orders(self) -> list[int | None]:
        return [None, *(self._make_seed() for _ in range(self._runs - 1))]

    def _compare(
        self, case: TestCase, expected: Any, actual: Any, bindings: Bindings, window: Window
    ) -> tuple[Sequence[Mismatch], Strength]:
        self._windows[case.name] = window
        return self._really_compare(case, expected, actual, bindings, window)

    def _run(self, round_: _Round, seed: int | None) -> RunDone:
        self._done += 1
        start_ns = time.time_ns()
        options = replace(self._options, shuffle=seed)
        runner = Runner(options, [(self._name, self.revised)], self._environment)
        intake = _RunIntake(self, round_, seed is None, start_ns)
        events = runner.run()
        for event in events:
            intake.take(event)
        finished = intake.end()
        bad = finished.failed + finished.errored
        return RunDone(self._done, round_.number, seed, finished.passed, bad, finished.seconds)

    def note_case(self, round_: _Round, finished: CaseFinished, is_in_order: bool) -> None:
        """Takes in what a run showed of a case."""
        name = finished.case
        self._history.plays[name] += 1
        if finished.verdict is Verdict.PASSED:
            self._ever_passed.add(name)
            return
        if is_in_order:
            self._order_dependent.discard(name)
        found = observe_case(finished)
        round_.cases.setdefault(name, []).append((is_in_order, found))
        window = self._windows.get(name) or Window(time.time_ns(), time.time_ns())
        for difference in (*found.differences, *found.calls):
            self._history.add(difference, self._done, window, is_in_order)

    def note_end(
        self, round_: _Round, finished: RunFinished, is_in_order: bool, start_ns: int
    ) -> None:
        """Takes in what a run showed of calls that belong to no one case."""
        self._history.plays[None] += 1
        if not finished.findings:
            return
        found = observe_outside(finished.findings)
        round_.outside.append((is_in_order, found))
        window = Window(start_ns, time.time_ns())
        for difference in found.calls:
            if self.revised.tier_of(difference.place.owner) is not Tier.CASE:
                self._history.add(difference, self._done, window, is_in_order)

    # What a round leads to.

    def _mend(self, round_: _Round, *, is_last: bool) -> Iterator[VerifyEvent]:
        if not is_last:
            found = list(self._generalise_all(round_))
            yield from found
            if found:
                return
        yield from self._set_apart(round_, is_last)

    def _generalise_all(self, round_: _Round) -> Iterator[Finding]:
        tried: set[Place] = set()
        observations = [found for _, found in round_.outside]
        observations += [found for rows in round_.cases.values() for _, found in rows]
        for found in observations:
            is_caused = found.has_wrong_calls  # then the response may only follow from them
            for difference in found.calls if is_caused else found.differences:
                place = difference.place
                if place in tried or place not in self._history.in_recorded_order:
                    continue
                tried.add(place)
                finding = self._generalise(place)
                if finding is not None:
                    self.revised.generalise(finding)
                    yield finding

    def _generalise(self, place: Place) -> Finding | None:
        seen = self._history.sightings.get(place)
        if seen is None:
            return None
        before = self.revised.template_at(place)
        template = PERMUTATION if seen.kind == ORDER else self._choose(place, before)
        if template is None or template == before:
            return None
        owner = self.revised.case_of(place)
        examples = tuple(dict.fromkeys(map(_show, [seen.recorded, *seen.values])))
        return Finding(
            place, owner, before, template, 1 + len(seen.values), len(seen.runs),
            examples[:MOST_EXAMPLES],
        )  # fmt: skip

    def _choose(self, place: Place, before: str | None) -> str | None:
        seen = self._history.sightings[place]
        owner = self.revised.case_of(place)
        made = self._window_of(owner, seen.windows[0])
        owners = {other: self.revised.case_of(other) for other in self._history.sightings}
        is_strict = place.is_call and place.path in STRICT_PATHS
        return generalise(
            Seen(
                [seen.recorded, *seen.values],
                [made, *seen.windows],
                self._history.pool(place, owners) if before is None else (),
                before,
                is_strict,
            )
        )

    def _window_of(self, owner: str | None, default: Window) -> Window:
        if owner is None:
            manifest = self.revised.manifest
            start_ns = manifest.created_ns - int(manifest.seconds * 1e9)
            return Window(start_ns, manifest.created_ns) if manifest.created_ns else default
        timing = self.revised.case(owner).timing
        return Window(timing.start_ns, timing.end_ns)

    def _set_apart(self, round_: _Round, is_last: bool) -> Iterator[CaseSetApart]:
        """All whose own response is at fault; of those with wrong calls a few, then look again."""
        failing = [
            (name, reason)
            for name in self._in_order(round_.cases)
            if (reason := self._find_reason(name, round_.cases[name])) is not None
        ]
        alone = [pair for pair in failing if not _has_wrong_calls(round_.cases[pair[0]])]
        chosen = failing if is_last else alone or failing[: self._most_apart]
        self._most_apart *= 1 if alone else 2
        if chosen and not self._ever_passed:
            raise VerifyError(
                f"no case passed, so this is not taken for the recorded version: {chosen[0][1]}"
            )
        for name, reason in chosen:
            self.revised.set_apart(name, reason)
            yield CaseSetApart(name, reason)

    def _in_order(self, names: dict[str, Any]) -> list[str]:
        return sorted(names, key=lambda name: self.revised.case(name).order)

    def _find_reason(self, name: str, rows: list[tuple[bool, Observation]]) -> str | None:
        """Why a case fails in recorded order; ``None`` if it only does in another."""
        for is_in_order, found in rows:
            if is_in_order:
                return _say_reason(found)
        return None

    def _suspect(self, round_: _Round) -> set[str]:
        """Cases that fail in another order only: what they do depends on it, unless they differ
        in recorded order too when it is tried more often.
        """
        new = round_.cases.keys() - self._order_dependent
        self._order_dependent |= new
        return new

    def _finish(self, round_: _Round) -> Verified:
        cases = self.revised.cases()
        outside = [found for is_in_order, found in round_.outside if is_in_order]
        unresolved = [text for found in outside for text in found.blockers]
        unresolved += [
            f"a call differs in {one.place.path} ({one.place.owner})"
            for found in outside
            for one in found.calls
        ]
        manifest = self.revised.manifest
        result = Verified(
            len(cases),
            self._done,
            round_.number,
            _add_up(cases),
            self.revised.findings,
            {case.name: case.set_apart or "" for case in self.revised.apart()},
            sorted(self._order_dependent - manifest.set_apart.keys()),
            list(dict.fromkeys(unresolved)),
        )
        manifest.verified = _describe(result)
        return result


class _RunIntake:
    """Takes the events of one run; a crash is the fault of the case that was being run."""

    def __init__(
        self, verifier: Verifier, round_: _Round, is_in_order: bool, start_ns: int
    ) -> None:
        self._verifier = verifier
        self._round = round_
        self._is_in_order = is_in_order
        self._start_ns = start_ns
        self._cases: list[CaseFinished] = []
        self._failed: RunFailed | None = None
        self._finished: RunFinished | None = None

    def take(self, event: RunEvent) -> None:
        """Keeps what matters of an event."""
        if isinstance(event, CaseFinished):
            is_good = event.verdict is Verdict.PASSED
            self._cases.append(replace(event, expected=None, actual=None) if is_good else event)
        elif isinstance(event, RunFailed):
            self._failed = event
        elif isinstance(event, RunFinished):
            self._finished = event

    def end(self) -> RunFinished:
        """Hands all of it over.  Raises `VerifyError` if the application did not start."""
        if self._finished is None:
            raise VerifyError("the run was cut short")
        if self._failed is not None and not self._cases:
            raise VerifyError(self._failed.reason, self._failed.output)
        for case in self._cases:
            self._verifier.note_case(self._round, case, self._is_in_order)
            if self._failed is not None and case.verdict is Verdict.ERRORED:
                break  # those after it were not sent
        self._verifier.note_end(self._round, self._finished, self._is_in_order, self._start_ns)
        return self._finished


def _has_wrong_calls(rows: list[tuple[bool, Observation]]) -> bool:
    return any(found.has_wrong_calls for _, found in rows)


def _say_reason(found: Observation) -> str:
    if found.blockers:
        return found.blockers[0]
    difference = (found.calls or found.differences)[0]
    path = difference.place.path
    if difference.place.is_call:
        return f"a call differs each time, in {path}, more than a class can say: {difference.call}"
    return f"{path} is of no one class, or is not the value it was before"


def _show(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _add_up(cases: Sequence[TestCase]) -> Strength:
    return Strength(
        sum(case.strength.exact for case in cases),
        sum(case.strength.by_class for case in cases),
        sum(case.strength.not_compared for case in cases),
    )


def _describe(result: Verified) -> dict[str, Any]:
    """The manifest's account of a verification; each case's file has its own classes."""
    outside = [describe_finding(one) for one in result.generalised if one.case is None]
    return {
        "runs": result.runs,
        "passed": result.passed,
        "generalised": len(result.generalised),
        "set_apart": len(result.set_apart),
        "order_dependent": result.order_dependent,
        "outside_cases": outside,
    }
