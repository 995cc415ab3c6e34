"""The calls one case is to make: which are still due, which were made, which came unasked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from kebpf.recording.model import TestCase
from kebpf.recording.templates import matches_class
from kebpf.recording.times import Window
from kebpf.replay.binding import Pair, pair_tokens
from kebpf.replay.call import Call, is_same, shape_operation
from kebpf.replay.events import CallFinding, Mismatch
from kebpf.replay.index import Group, Recorded
from kebpf.replay.strays import SAME_OPERATION, Strays, find_nearest
from kebpf.replay.transactions import Transactions


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
        transactions: Transactions | None = None,
        possible: Iterable[Recorded] = (),
    ) -> None:
        self.case = case
        self.window = window
        self.transactions = transactions or Transactions()
        self.recorded = {item.ordinal: item for item in own}
        self.due = dict(self.recorded)
        self.shared = {item.ordinal: item for item in shared}
        self.possible = {item.ordinal: item for item in possible}
        self.group = _make_group(self.recorded.values())
        self.shared_group = _make_group(self.shared.values())
        self.possible_group = _make_group(self.possible.values())
        self.strays = Strays()
        self.timed: list[TimedCall] = []

    def pending(self) -> list[str]:
        """Descriptions of the asserted calls not yet made."""
        return [item.description for item in self.due.values()] + self.transactions.pending()

    def find_nearest(self, call: Call) -> Recorded | None:
        """The due call most like this one, else one of its operation that was already made."""
        made = (item for items in (self.recorded, self.shared) for item in items.values())
        return find_nearest(call, self.due.values()) or find_nearest(call, made, SAME_OPERATION)

    def finish(
        self, end_ns: int, is_sometimes: Callable[[Recorded, Recorded], bool]
    ) -> list[CallFinding]:
        """Everything about the case's calls that is not as recorded.

        ``is_sometimes`` says whether other cases made calls of two operations in that order.
        """
        findings = self._judge_times(Window(self.window.start_ns, end_ns))
        recorded = [*self.recorded.values(), *self.shared.values()]
        findings += self.strays.judge(self.due, recorded)
        findings += map(describe_missing, self.due.values())
        return findings + self.transactions.findings(is_sometimes)

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
    group = Group(is_small=True)
    for item in items:
        group.add(item.ordinal, item.mock, item.leaves)
    return group


def describe_missing(item: Recorded) -> CallFinding:
    """The finding for a recorded call that nobody made."""
    mock = item.mock
    operation = shape_operation(str(item.leaves.get("/operation", "")))
    return CallFinding(
        "missing",
        mock.protocol,
        str(mock.destination),
        item.description,
        mock=mock.name,
        operation=operation,
    )


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
