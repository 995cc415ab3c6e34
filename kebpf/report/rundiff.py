"""What is otherwise in one run than in another: verdicts first, then causes, strength, time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from kebpf.report.runfile import FAILING, CaseKey, Entry, RunFile
from kebpf.report.signatures import sign_call, sign_case

SLOWER_TIMES = 4.0  # as long as before, and
SLOWER_S = 0.5  # seconds more: no noise of a busy machine


@dataclass(frozen=True, slots=True)
class Change:
    """A case that is in both runs; ``before`` and ``after`` are its events."""

    key: CaseKey
    before: Entry
    after: Entry


@dataclass(slots=True)
class RunDiff:
    """Cases by what became of them; ``gone`` and ``new`` are events of one run only.

    ``not_reached`` are cases of one run that the other, which was cut short, did not come to.
    ``weaker`` and ``stronger`` pass in both, with fewer or more values compared exactly.
    """

    before: RunFile
    after: RunFile
    failing: list[Change] = field(default_factory=list)
    passing: list[Change] = field(default_factory=list)
    otherwise: list[Change] = field(default_factory=list)  # skipped in one of the runs
    differently: list[Change] = field(default_factory=list)
    as_before: list[Change] = field(default_factory=list)
    gone: list[Entry] = field(default_factory=list)
    new: list[Entry] = field(default_factory=list)
    not_reached: list[CaseKey] = field(default_factory=list)
    weaker: list[Change] = field(default_factory=list)
    stronger: list[Change] = field(default_factory=list)
    slower: list[Change] = field(default_factory=list)
    new_findings: list[Entry] = field(default_factory=list)  # calls of no case
    gone_findings: list[Entry] = field(default_factory=list)
    new_reasons: list[str] = field(default_factory=list)  # why a run failed as a whole
    same: int = 0

    @property
    def has_same_verdicts(self) -> bool:
        """Whether every case of both runs ended alike, and the runs did."""
        differing = (
            *(self.failing, self.passing, self.otherwise, self.gone, self.new, self.not_reached),
            *(self.new_findings, self.gone_findings, self.new_reasons),
        )
        both_whole = self.before.is_whole and self.after.is_whole
        return both_whole and not any(differing)


def compare_runs(before: RunFile, after: RunFile) -> RunDiff:
    """Compares case by case, by name, in whatever order they were run."""
    diff = RunDiff(before, after)
    for key, event in before.cases.items():
        if key in after.cases:
            _compare_case(diff, Change(key, event, after.cases[key]))
        else:
            _note_lone(diff.gone, diff, key, event, after)
    for key, event in after.cases.items():
        if key not in before.cases:
            _note_lone(diff.new, diff, key, event, before)
    both = [Change(key, one, after.cases[key]) for key, one in _passed_in_both(diff)]
    _compare_strength(diff, both)
    _compare_times(diff, both)
    _compare_ends(diff)
    return diff


def _note_lone(
    place: list[Entry], diff: RunDiff, key: CaseKey, event: Entry, other: RunFile
) -> None:
    """Of a run that was cut short nobody knows whether it had the case."""
    if other.is_whole:
        place.append(event)
    else:
        diff.not_reached.append(key)


def _compare_case(diff: RunDiff, change: Change) -> None:
    old, new = change.before["verdict"], change.after["verdict"]
    if old in FAILING and new in FAILING:
        is_same = old == new and sign_case(change.before) == sign_case(change.after)
        (diff.as_before if is_same else diff.differently).append(change)
    elif old == new:
        diff.same += 1
    elif new in FAILING:
        diff.failing.append(change)
    elif old in FAILING and new == "passed":
        diff.passing.append(change)
    else:
        diff.otherwise.append(change)


def _passed_in_both(diff: RunDiff) -> Iterable[tuple[CaseKey, Entry]]:
    for key, event in diff.before.cases.items():
        other = diff.after.cases.get(key)
        if event["verdict"] == "passed" and other is not None and other["verdict"] == "passed":
            yield key, event


def _compare_strength(diff: RunDiff, both: Iterable[Change]) -> None:
    for change in both:
        old, new = change.before, change.after
        if "exact" not in old or "exact" not in new:
            continue
        if new["exact"] < old["exact"] or new.get("not_compared", 0) > old.get("not_compared", 0):
            diff.weaker.append(change)
        elif new["exact"] > old["exact"]:
            diff.stronger.append(change)


def _compare_times(diff: RunDiff, both: list[Change]) -> None:
    """Against the pace of the whole run, so that a slower machine makes no case slower."""
    pairs = [(_seconds(one.before), _seconds(one.after)) for one in both]
    ratios = [new / old for old, new in pairs if old > 0]
    pace = max(1.0, median(ratios)) if ratios else 1.0
    for change, (old, new) in zip(both, pairs, strict=True):
        usual = old * pace
        if new > SLOWER_TIMES * usual and new - usual > SLOWER_S:
            diff.slower.append(change)


def _seconds(event: Entry) -> float:
    value = event.get("seconds")
    return float(value) if isinstance(value, int | float) else 0.0


def _compare_ends(diff: RunDiff) -> None:
    old, new = (_findings_of(run) for run in (diff.before, diff.after))
    diff.new_findings = [call for sign, call in new.items() if sign not in old]
    diff.gone_findings = [call for sign, call in old.items() if sign not in new]
    known = {str(one.get("reason")) for one in diff.before.failures}
    reasons = [str(one.get("reason")) for one in diff.after.failures]
    diff.new_reasons = [reason for reason in dict.fromkeys(reasons) if reason not in known]


def _findings_of(run: RunFile) -> dict[str, Entry]:
    calls: list[Any] = (run.finished or {}).get("findings") or []
    return {sign_call(call): call for call in calls}
