"""What a failure comes from, and which failures come from the same."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from kebpf.replay.events import CallFinding, CaseFinished, Mismatch, Verdict
from kebpf.report.calls import describe_call, rank_calls, title_call
from kebpf.report.differences import describe_mismatch
from kebpf.report.requests import show_request
from kebpf.report.values import escape_controls

_VARYING = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|[0-9a-fA-F]{16,}|\d+")

Key = tuple[str, ...]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FailureGroup(Generic[T]):
    """Failed cases with one cause, which is the first one's in its own words.

    ``title`` is the cause without what it differs in, for where that stands below.
    """

    cause: str
    title: str
    cases: list[T]
    rank: tuple[bool, bool] = (True, True)


class Grouping(Generic[T]):
    """Groups failures as they come, so that of each only what a report shows is kept."""

    def __init__(self) -> None:
        self._groups: dict[Key, FailureGroup[T]] = {}

    def group_of(self, case: CaseFinished) -> FailureGroup[T]:
        """The group of its cause, to which the caller adds what it keeps of the case."""
        key = _key_of(case)
        if key not in self._groups:
            self._groups[key] = FailureGroup(
                describe_cause(case), title_cause(case), [], _rank(case)
            )
        return self._groups[key]

    def ranked(self) -> list[FailureGroup[T]]:
        """Errors first, then cases with findings in their calls, then the rest."""
        return sorted(self._groups.values(), key=lambda group: group.rank)


def rank_mismatches(mismatches: Sequence[Mismatch]) -> list[Mismatch]:
    """A status first; otherwise in the order of the response."""
    return sorted(mismatches, key=lambda mismatch: mismatch.path != "/status")


def describe_cause(case: CaseFinished) -> str:
    """One line: an error, else a call and what it led to, else what the response says."""
    if case.error:
        return escape_controls(case.error.strip().splitlines()[0] if case.error.strip() else "")
    symptom = describe_mismatch(rank_mismatches(case.mismatches)[0]) if case.mismatches else ""
    if case.calls:
        cause = describe_call(rank_calls(case.calls)[0])
        return f"{cause}, and so: {symptom}" if symptom else cause
    return symptom or "no reason was given"


def title_cause(case: CaseFinished) -> str:
    """The cause in the fewest words that tell it from others."""
    if case.error or not (case.calls or case.mismatches):
        return describe_cause(case)
    if case.calls:
        first = rank_calls(case.calls)[0]
        places = [field.path for field in first.fields if field.path != "/operation"]
        return title_call(first) + (f", differs in {places[0]}" if places else "")
    symptom = describe_mismatch(rank_mismatches(case.mismatches)[0])
    return f"{symptom}, in the response to {show_request(case.request)}"


def _rank(case: CaseFinished) -> tuple[bool, bool]:
    return case.verdict is not Verdict.ERRORED, not case.calls


def _key_of(case: CaseFinished) -> Key:
    """Equal for causes that are one but for the values that each request has of its own."""
    if case.error:
        return "error", _generalise(describe_cause(case))
    if case.calls:
        return _key_of_call(rank_calls(case.calls)[0])
    if not case.mismatches:
        return ("no reason",)
    first = rank_mismatches(case.mismatches)[0]
    values = (str(first.expected), str(first.actual)) if first.path == "/status" else ()
    place = _generalise(case.request.partition("?")[0])
    return "response", place, first.kind, _generalise(first.path), *values


def _key_of_call(call: CallFinding) -> Key:
    """A changed call and an extra one that is nearly a recorded one are the same change."""
    paths = dict.fromkeys(_generalise(field.path) for field in call.fields)
    operation = call.operation or _generalise(call.call)
    is_other = call.kind in ("changed", "extra") and bool(paths)
    return "other" if is_other else call.kind, call.destination, operation, *paths


def _generalise(text: str) -> str:
    return _VARYING.sub("*", text)
