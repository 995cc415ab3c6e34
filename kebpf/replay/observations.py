"""What runs of the recorded version showed: values that differ, and what no class can mend."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from kebpf.recording.revision import Place
from kebpf.recording.times import Window
from kebpf.replay.events import CallFinding, CaseFinished, Mismatch
from kebpf.replay.headers import group_headers

ORDER = "order"
_LISTS = ("headers", "trailers")
_FIXED = ("/status", "/body_kind")
_INDEX = re.compile(r"(?<=/)\d+(?=/|$)")
_VARYING = re.compile(r"[0-9a-fA-F-]{8,}|\d+")


@dataclass(frozen=True, slots=True)
class Difference:
    """A recorded value and what came in its place; ``kind`` is ``changed`` or ``order``.

    ``group`` is the same for places that play the same part in cases alike.
    """

    place: Place
    kind: str
    recorded: Any
    actual: Any
    group: tuple[str, ...]
    call: str | None = None  # in one line, where it is a call's


@dataclass(slots=True)
class Observation:
    """One case in one run: its values that differ, its calls that do, and what else is wrong."""

    differences: list[Difference] = field(default_factory=list)
    calls: list[Difference] = field(default_factory=list)
    blockers: list[str] = field(default_factory=list)
    has_wrong_calls: bool = False


def observe_case(finished: CaseFinished) -> Observation:
    """What a case that did not pass shows."""
    found = Observation()
    for mismatch in finished.mismatches:
        difference = _read_mismatch(finished, mismatch)
        if difference is not None:
            found.differences.append(difference)
        else:
            found.blockers.append(_say_mismatch(mismatch))
    _observe_calls(finished.calls, found)
    if finished.error is not None:
        found.blockers.insert(0, finished.error)
    return found


def observe_outside(findings: Iterable[CallFinding]) -> Observation:
    """What calls that belong to no one case show."""
    found = Observation()
    _observe_calls(findings, found, ("changed", "extra"))
    return found


def _observe_calls(
    findings: Iterable[CallFinding], found: Observation, kinds: tuple[str, ...] = ("changed",)
) -> None:
    said = []
    for finding in findings:
        found.has_wrong_calls = True
        differences = list(_read_call(finding)) if finding.kind in kinds else []
        found.calls += differences
        if not differences:
            said.append(_say_call(finding))
    found.blockers = said + found.blockers  # the cause before what follows from it


def _read_mismatch(finished: CaseFinished, mismatch: Mismatch) -> Difference | None:
    path = mismatch.place
    if path is None or path in _FIXED or mismatch.kind not in ("changed", ORDER):
        return None
    group = (_VARYING.sub("*", finished.request), _INDEX.sub("*", path))
    recorded = resolve(finished.expected, path)
    actual = _resolve_shown(finished.actual, mismatch.path, path)
    return Difference(Place(finished.case, path), mismatch.kind, recorded, actual, group)


def _resolve_shown(actual: Any, shown: str, place: str) -> Any:
    """The actual value; header lists are shown by name, a text may be shown by its line."""
    steps = shown.split("/")[1:]
    if steps[0] in _LISTS:
        values = group_headers(actual[steps[0]], steps[0])[steps[1]]
        return values[int(steps[2]) if len(values) > 1 and len(steps) > 2 else 0].value
    return resolve(actual, "/" + "/".join(steps[: place.count("/")]))


def _read_call(finding: CallFinding) -> Iterator[Difference]:
    """Nothing if the call differs in more than values."""
    fields = finding.fields
    if finding.mock is None or any(one.kind != "changed" for one in fields):
        return
    for one in fields:
        what = _VARYING.sub("*", finding.nearest or "")
        group = (finding.protocol, finding.destination, what, _INDEX.sub("*", one.path))
        place = Place(finding.mock, one.path, is_call=True)
        yield Difference(place, "changed", one.expected, one.actual, group, finding.nearest)


def resolve(tree: Any, pointer: str) -> Any:
    """The value at a JSON pointer (RFC 6901).  Raises ``LookupError``."""
    for step in pointer.split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        if isinstance(tree, dict):
            tree = tree[key] if key in tree else _find_key(tree, key)
        else:
            tree = tree[int(key)]
    return tree


def _find_key(tree: dict[Any, Any], text: str) -> Any:
    for key, value in tree.items():
        if str(key) == text:
            return value
    raise LookupError(text)


def _say_mismatch(mismatch: Mismatch) -> str:
    path = mismatch.path or "the response"
    if mismatch.path == "/status":
        return f"the status was {mismatch.expected} and is {mismatch.actual}"
    if mismatch.kind == "missing":
        return f"{path} does not come every time"
    if mismatch.kind == "extra":
        return f"{path} comes and was not recorded"
    return f"{path} is another each time, in more than its value"


_CALL_TEXTS = {
    "missing": "a recorded call is not made every time",
    "extra": "a call is made that was not recorded",
    "changed": "a call differs in more than its values",
    "repeated": "a call is made more often than recorded",
}


def _say_call(finding: CallFinding) -> str:
    return f"{_CALL_TEXTS.get(finding.kind, 'a call could not be served')}: {finding.call}"


@dataclass(slots=True)
class Sightings:
    """The values seen in place of a recorded one: in which runs, and when each was made."""

    kind: str
    recorded: Any
    group: tuple[str, ...]
    values: list[Any] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)
    runs: set[int] = field(default_factory=set)


class History:
    """All that all runs of a verification have shown, by place and by case."""

    def __init__(self) -> None:
        self.sightings: dict[Place, Sightings] = {}
        self.in_recorded_order: set[Place] = set()  # places seen to differ in recorded order
        self.plays: dict[str | None, int] = defaultdict(int)  # case → runs in which it was sent

    def add(self, difference: Difference, run: int, window: Window, is_in_order: bool) -> None:
        """Takes a difference of a run in."""
        empty = Sightings(difference.kind, difference.recorded, difference.group)
        seen = self.sightings.setdefault(difference.place, empty)
        seen.kind = difference.kind
        seen.values.append(difference.actual)
        seen.windows.append(window)
        seen.runs.add(run)
        if is_in_order:
            self.in_recorded_order.add(difference.place)

    def pool(self, place: Place, owners: dict[Place, str | None]) -> list[Any]:
        """All values at places that play the same part, the recorded ones as often as they came."""
        group = self.sightings[place].group
        pool: list[Any] = []
        for other, seen in self.sightings.items():
            if seen.group == group and other.is_call == place.is_call:
                equal = max(0, self.plays[owners.get(other)] - len(seen.values))
                pool += [seen.recorded] * (1 + equal) + seen.values
        return pool
