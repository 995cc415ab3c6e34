"""The calls of a case that were not its own: counted, and made into as few findings as will do."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from kebpf.recording.model import Mock
from kebpf.replay.call import DATABASE, Call, Key, find_differences, shape_operation
from kebpf.replay.events import CallFinding, Exact, Mismatch, MissKind
from kebpf.replay.index import Recorded

MOST_STRAYS = 1000  # different ones kept for one case
MOST_EXAMPLES = 3
MOST_NAMES = 3
SAME_OPERATION = 1000  # what an equal operation adds to the likeness of two calls


@dataclass(slots=True)
class Stray:
    """A call that was not served as one of the case's own; ``count`` times by now.

    ``request`` is the call in the recording's terms.
    ``identity`` is equal for calls that one mock could answer; ``answer`` is the mock whose answer
    it got, ``is_unanswered`` says that it got an error; ``recorded`` is how often the call
    was recorded for the case to make, ``made`` how often the case made it as recorded.
    """

    call: Call
    kind: str
    miss: MissKind | None
    identity: Key
    nearest: str | None = None
    fields: list[Mismatch] = field(default_factory=list)
    mock: str | None = None
    note: str | None = None
    recorded: int | None = None
    made: int = 0
    count: int = 1
    is_read: bool = False
    is_unanswered: bool = False
    answer: str | None = None
    request: Any = None


class Strays:
    """The strays of one case in the order they came, equal ones counted."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, Key], Stray] = {}

    def note(self, stray: Stray) -> None:
        """Takes one more; beyond the cap only equal ones are still counted."""
        key = stray.kind, stray.identity
        if key in self._found:
            self._found[key].count += 1
        elif len(self._found) < MOST_STRAYS:
            self._found[key] = stray

    def __len__(self) -> int:
        return len(self._found)

    def judge(
        self, due: dict[int, Recorded], recorded: Collection[Recorded]
    ) -> Iterator[CallFinding]:
        """Findings; a call that was meant to be one of ``due`` is changed, and taken out there.

        ``recorded`` are all calls that the case was to make.
        """
        strays = list(self._found.values())
        for least in (SAME_OPERATION, 1):
            for stray in strays:
                if stray.kind == "extra":
                    yield from _pair(stray, due, least)
        yield from (_describe(stray) for stray in strays if stray.kind != "extra")
        for group in _group(stray for stray in strays if stray.kind == "extra" and stray.count):
            yield _describe_group(group, recorded)


def _pair(stray: Stray, due: dict[int, Recorded], least: int) -> Iterator[CallFinding]:
    """Pairs a call that matched nothing with the due calls nearest to it, each with one."""
    while stray.count:
        nearest = find_nearest(stray.call, due.values(), least)
        if nearest is None:
            return
        del due[nearest.ordinal]
        stray.count -= 1
        call = stray.call
        yield CallFinding(
            "changed",
            call.protocol,
            str(call.destination),
            call.description,
            MissKind.DIFFERENT,
            nearest.description,
            list_differences(nearest, call),
            mock=nearest.mock.name,
            operation=shape_operation(call.operation),
            request=Exact(stray.request),
            is_unanswered=stray.is_unanswered,
            answer=stray.answer,
        )


def _describe(stray: Stray) -> CallFinding:
    call = stray.call
    return CallFinding(
        stray.kind,
        call.protocol,
        str(call.destination),
        call.description,
        stray.miss,
        stray.nearest,
        stray.fields,
        count=stray.count,
        recorded=stray.recorded,
        made=stray.made + stray.count,
        note=stray.note,
        is_read=stray.is_read,
        mock=stray.mock,
        operation=shape_operation(call.operation),
        request=Exact(stray.request),
        is_unanswered=stray.is_unanswered,
        answer=stray.answer,
    )


def _group(strays: Iterable[Stray]) -> list[list[Stray]]:
    """Calls of one operation, whatever their ids and numbers, are one group."""
    groups: dict[tuple[str, str], list[Stray]] = {}
    for stray in strays:
        call = stray.call
        key = str(call.destination), shape_operation(call.operation)
        groups.setdefault(key, []).append(stray)
    return list(groups.values())


def _describe_group(group: list[Stray], recorded: Collection[Recorded]) -> CallFinding:
    first = group[0]
    call, count = first.call, sum(stray.count for stray in group)
    if count == 1:
        return _describe(first)
    times = sum(_is_same_operation(item, call) for item in recorded)
    is_one = len(group) == 1
    return CallFinding(
        "extra",
        call.protocol,
        str(call.destination),
        call.description if is_one else " ".join(call.operation.split()),
        first.miss,
        first.nearest,
        first.fields if is_one else [],
        count=count,
        recorded=times,
        made=times + count,
        note=first.note,
        examples=[] if is_one else [stray.call.description for stray in group[:MOST_EXAMPLES]],
        is_read=first.is_read,
        mock=first.mock,
        operation=shape_operation(call.operation),
        request=Exact(first.request) if is_one else None,
        is_unanswered=any(stray.is_unanswered for stray in group),
        answer=first.answer if is_one else None,
    )


def _is_same_operation(item: Recorded, call: Call) -> bool:
    operation = str(item.leaves.get("/operation", ""))
    return is_same_place(item.mock, call) and (
        shape_operation(operation) == shape_operation(call.operation)
    )


def is_same_place(mock: Mock, call: Call) -> bool:
    """Whether a mock is of the call's destination and protocol."""
    return mock.destination == call.destination and mock.protocol == call.protocol


def find_nearest(call: Call, items: Iterable[Recorded], least: int = 1) -> Recorded | None:
    """The recorded call with the same operation, else most like this one at its destination."""
    best: tuple[int, Recorded] | None = None
    for item in items:
        if not is_same_place(item.mock, call):
            continue
        score = likeness(item, call)
        if score >= least and (best is None or score > best[0]):
            best = (score, item)
    return best[1] if best else None


def likeness(item: Recorded, call: Call) -> int:
    """How near a recorded call is: equal leaves, an equal operation before everything.

    Zero when neither the operation nor half of the leaves agree.
    """
    differing = {m.path for m in find_differences(item.leaves, call, item.mock.generated)}
    paths = (item.leaves.keys() | call.recorded.keys()) - {DATABASE}
    total, is_same_database = len(paths), DATABASE not in differing
    equal = len(paths - differing)
    is_same_operation = "/operation" in item.leaves and "/operation" not in differing
    if not is_same_operation and 2 * equal < total:
        return 0
    return equal + is_same_database + (SAME_OPERATION if is_same_operation else 0)


def list_differences(item: Recorded, call: Call) -> list[Mismatch]:
    """The differing fields, also those that follow their template but may not be bound."""
    found = find_differences(item.leaves, call, item.mock.generated)
    if found:
        return found
    return [
        Mismatch(path, "changed", item.leaves[path], call.actual[path])
        for path in item.mock.generated
        if path in item.leaves and path in call.actual
    ]


def name_some(names: Collection[str]) -> str:
    """``a, b, c and 4 more``."""
    shown = list(names)[:MOST_NAMES]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
