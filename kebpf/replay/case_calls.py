"""The calls one case is to make: which are still due, which were made, which came unasked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from kebpf.recording.model import Mock, TestCase
from kebpf.recording.templates import matches_class
from kebpf.recording.times import Window
from kebpf.replay.binding import Pair, pair_tokens
from kebpf.replay.call import Call, find_differences, is_same
from kebpf.replay.events import CallFinding, Mismatch, MissKind
from kebpf.replay.index import Group, Recorded
from kebpf.replay.transactions import TransactionEndings


@dataclass(slots=True)
class Stray:
    """A call that was not served as one of the case's own."""

    call: Call
    kind: str
    miss: MissKind | None
    nearest: str | None = None
    fields: list[Mismatch] = field(default_factory=list)
    mock: str | None = None


@dataclass(slots=True)
class TimedCall:
    """A served call with the values bound for it, so that its times can be judged afterwards."""

    call: Call
    pairs: list[Pair]


class CaseCalls:
    """The state of the case now running, or of the time between cases (``case`` is ``None``)."""

    def __init__(
        self,
        case: TestCase | None,
        window: Window,
        own: Iterable[Recorded] = (),
        shared: Iterable[Recorded] = (),
        endings: TransactionEndings | None = None,
        possible: Iterable[Recorded] = (),
    ) -> None:
        self.case = case
        self.window = window
        self.endings = endings or TransactionEndings()
        self.recorded = {item.ordinal: item for item in own}
        self.due = dict(self.recorded)
        self.shared = {item.ordinal: item for item in shared}
        self.possible = {item.ordinal: item for item in possible}
        self.group = _make_group(self.recorded.values())
        self.shared_group = _make_group(self.shared.values())
        self.possible_group = _make_group(self.possible.values())
        self.strays: list[Stray] = []
        self.timed: list[TimedCall] = []

    def pending(self) -> list[str]:
        """Descriptions of the asserted calls not yet made."""
        return [item.description for item in self.due.values()] + self.endings.pending()

    def find_nearest(self, call: Call) -> Recorded | None:
        """The due call with the same operation, else most like this one at its destination."""
        best: tuple[int, Recorded] | None = None
        for item in self.due.values():
            if not is_same_place(item.mock, call):
                continue
            score = likeness(item, call)
            if score > 0 and (best is None or score > best[0]):
                best = (score, item)
        return best[1] if best else None

    def finish(self, end_ns: int) -> list[CallFinding]:
        """Everything about the case's calls that is not as recorded."""
        findings = self._judge_times(Window(self.window.start_ns, end_ns))
        for stray in self.strays:
            findings.append(self._describe_stray(stray))
        for item in self.due.values():
            mock = item.mock
            findings.append(
                CallFinding(
                    "missing",
                    mock.protocol,
                    str(mock.destination),
                    item.description,
                    mock=mock.name,
                )
            )
        return findings + self.endings.findings()

    def _describe_stray(self, stray: Stray) -> CallFinding:
        """Pairs a call that matched nothing with the due call nearest to it."""
        call, nearest = stray.call, None
        if stray.kind == "extra":
            nearest = self.find_nearest(call)
        if nearest is not None:
            del self.due[nearest.ordinal]
            stray.kind, stray.miss = "changed", MissKind.DIFFERENT
            stray.nearest = nearest.description
            stray.fields = list_differences(nearest, call)
            stray.mock = nearest.mock.name
        return CallFinding(
            stray.kind, call.protocol, str(call.destination), call.description,
            stray.miss, stray.nearest, stray.fields, mock=stray.mock,
        )  # fmt: skip

    def note_times(self, call: Call, pairs: list[Pair]) -> None:
        """Remembers the fresh times of a served call until the end of the case is known."""
        fresh = [pair for pair in pairs if _is_fresh_time(pair, self.window)]
        if fresh:
            self.timed.append(TimedCall(call, fresh))

    def _judge_times(self, window: Window) -> list[CallFinding]:
        """Times later than the end of the case were not made by it."""
        findings = []
        for timed in self.timed:
            late = [pair for pair in timed.pairs if not _is_fresh_time(pair, window)]
            if late:
                call = timed.call
                fields = [Mismatch("", "changed", old, new) for _, old, new in late]
                place = str(call.destination)
                findings.append(
                    CallFinding("changed", call.protocol, place, call.description, fields=fields)
                )
        return findings


def _is_fresh_time(pair: Pair, window: Window) -> bool:
    class_name, _recorded, actual = pair
    return class_name.startswith("time:") and matches_class(actual, class_name, window)


def _make_group(items: Iterable[Recorded]) -> Group:
    group = Group()
    for item in items:
        group.add(item.ordinal, item.mock, item.leaves)
    return group


def is_same_place(mock: Mock, call: Call) -> bool:
    """Whether a mock is of the call's destination and protocol."""
    return mock.destination == call.destination and mock.protocol == call.protocol


def likeness(item: Recorded, call: Call) -> int:
    """How near a recorded call is: equal leaves, an equal operation before everything.

    Zero when neither the operation nor half of the leaves agree.
    """
    differing = {m.path for m in find_differences(item.leaves, call, item.mock.generated)}
    total = len(item.leaves.keys() | call.recorded.keys())
    equal = total - len(differing)
    is_same_operation = "/operation" in item.leaves and "/operation" not in differing
    if not is_same_operation and 2 * equal < total:
        return 0
    return equal + (1000 if is_same_operation else 0)


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


def pair_call(item: Recorded, call: Call) -> list[Pair] | None:
    """The values to be bound if the call is the recorded one, ``None`` if it cannot be."""
    templates = item.mock.generated
    if item.leaves.keys() != call.recorded.keys():
        return None
    pairs: list[Pair] = []
    for path, expected in item.leaves.items():
        if path not in templates:
            if not is_same(expected, call.recorded[path]):
                return None
            continue
        found = pair_tokens(templates[path], expected, call.actual.get(path))
        if found is None:
            return None
        pairs += found
    return pairs if templates.keys() <= item.leaves.keys() else None
