"""The calls one case is to make: which are still due, which were made, which came unasked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from kebpf.recording.model import TestCase
from kebpf.recording.templates import matches_class
from kebpf.recording.times import Window
from kebpf.replay.binding import Pair, pair_tokens
from kebpf.replay.call import DATABASE, Call, Leaves, is_same, shape_operation
from kebpf.replay.events import CallFinding, Mismatch
from kebpf.replay.index import Group, Recorded
from kebpf.replay.orders import Orders
from kebpf.replay.pipelines import CaseRecord, find_inversions
from kebpf.replay.sequences import find_overtaken
from kebpf.replay.strays import SAME_OPERATION, Stray, Strays, find_nearest
from kebpf.replay.transactions import Transactions


@dataclass(slots=True)
class TimedCall:
    """A served call with the values bound for it, so that its times can be judged afterwards."""

    call: Call
    pairs: list[Pair]


class Judge(Protocol):
    """What is to be known of the recording and of the run to judge a case's calls."""

    orders: Orders

    def may_leave_out(self, item: Recorded) -> bool:
        """Whether a case need not make a call, because the program remembers the answer."""

    def is_made_twice(self, call: Call, case: str) -> bool:
        """Whether a case made a read as recorded and in the form of another case too."""

    def note_cached(self, call: str) -> None:
        """A call was made or left out because of what the program remembers."""


class CaseCalls:
    """The state of the case now running, or of the time between cases (``case`` is ``None``)."""

    def __init__(
        self,
        case: TestCase | None,
        window: Window,
        record: CaseRecord | None = None,
        shared: Iterable[Recorded] = (),
        transactions: Transactions | None = None,
        possible: Iterable[Recorded] = (),
    ) -> None:
        self.case = case
        self.window = window
        self.transactions = transactions or Transactions()
        self._record = record or CaseRecord(())
        self.recorded = {item.ordinal: item for item in self._record.own}
        self.due = dict(self.recorded)
        self.shared = {item.ordinal: item for item in shared}
        self.possible = {item.ordinal: item for item in possible}
        self.group = _make_group(self.recorded.values())
        self.shared_group = _make_group(self.shared.values())
        self.possible_group = _make_group(self.possible.values())
        self.served: list[int] = []
        self.unplaced = 0  # calls served in whatever database they were made
        self.strays = Strays()
        self.borrowed: list[Stray] = []  # reads of other cases, explained by a cache
        self.timed: list[TimedCall] = []

    def pending(self, may_leave_out: Callable[[Recorded], bool]) -> list[str]:
        """Descriptions of the asserted calls not yet made."""
        due = [item for item in self.due.values() if not may_leave_out(item)]
        return [item.description for item in due] + self.transactions.pending()

    def pending_delay_ns(self) -> int | None:
        """How long after the request the last call not yet made was recorded to begin.

        ``None`` if one may come after the response: recorded so, or the end of a transaction.
        """
        starts = [item.mock.timing.start_ns for item in self.due.values()]
        if self.case is None or self.transactions.pending() or not starts:
            return None
        timing = self.case.timing
        return max(starts) - timing.start_ns if max(starts) <= timing.end_ns else None

    def note_served(self, item: Recorded) -> None:
        """A call got the answer of a mock, which is used up by that."""
        self.served.append(item.ordinal)
        self.due.pop(item.ordinal, None)
        leaves = item.leaves if item.answers is None else item.answers.recorded  # the same ones
        self.unplaced += DATABASE in leaves and not leaves[DATABASE]

    def has_late(self) -> bool:
        """Whether a call of the case was recorded to begin after its response."""
        if self.case is None:
            return False
        end_ns = self.case.timing.end_ns
        return any(item.mock.timing.start_ns > end_ns for item in self.recorded.values())

    def find_nearest(self, call: Call) -> Recorded | None:
        """The due call most like this one, else one of its operation that was already made."""
        made = (item for items in (self.recorded, self.shared) for item in items.values())
        return find_nearest(call, self.due.values()) or find_nearest(call, made, SAME_OPERATION)

    def finish(self, end_ns: int, judge: Judge) -> list[CallFinding]:
        """Everything about the case's calls that is not as recorded."""
        left_out = [item for item in self.due.values() if judge.may_leave_out(item)]
        for item in left_out:
            del self.due[item.ordinal]
        self.transactions.excuse({item.ordinal for item in left_out})
        findings = self._judge_times(Window(self.window.start_ns, end_ns))
        endings = self.transactions.findings(
            judge.orders.is_sometimes, self._record.own, self.served
        )
        endings += self._judge_order(judge.orders)
        has_other = bool(findings or endings or self.strays or self.due)
        if has_other or self._makes_any_twice(judge):  # then no call is explained away
            for stray in self.borrowed:
                self.strays.note(stray)
        elif self.borrowed:
            for stray in self.borrowed:
                judge.note_cached(stray.call.description)
        for item in left_out:
            judge.note_cached(item.description)
        findings += self.strays.judge(self.due, [*self.recorded.values(), *self.shared.values()])
        findings += map(describe_missing, self.due.values())
        return findings + endings

    def _judge_order(self, orders: Orders) -> list[CallFinding]:
        found = list(find_inversions(self._record, self.served, orders.is_usual))
        return found or list(find_overtaken(self._record, self.served, orders.is_sequence))

    def _makes_any_twice(self, judge: Judge) -> bool:
        name = self.case.name if self.case is not None else ""
        return any(judge.is_made_twice(stray.call, name) for stray in self.borrowed)

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


def _are_same(left: Leaves, right: Leaves) -> bool:
    """`is_same` of all leaves; both have the same paths."""
    for path, value in left.items():
        other = right[path]
        if value is not other and not is_same(value, other):
            return False
    return True


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
    if item.answers is call:
        return []
    templates = item.mock.generated
    if item.leaves.keys() != call.recorded.keys():
        return None
    if not templates:
        return [] if _are_same(item.leaves, call.recorded) else None
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
