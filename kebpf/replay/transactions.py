"""Asserts a case's database transactions: how they ended, and the order of the calls in them.

Both are asserted only where the recording is certain of them: a transaction is the case's own
calls on one connection between a BEGIN and its end, with clear evidence for the end.  A
transaction without such calls (a pool's own, one of which only session statements are known, one
that may be another request's) asserts nothing, and neither does one of the application that
served no such call.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from kebpf.protocols.base import Document
from kebpf.recording.model import Evidence, Mock
from kebpf.replay.call import is_read_operation, shape_operation
from kebpf.replay.events import CallFinding, MissKind
from kebpf.replay.index import Recorded

_VERBS = {
    "COMMIT": "COMMIT",
    "END": "COMMIT",
    "ROLLBACK": "ROLLBACK",
    "ABORT": "ROLLBACK",
}
_OPENING = ("BEGIN", "START")
_EMPTY_WORDS = ("WORK", "TRANSACTION")
CHAIN = " AND CHAIN"
MOST_SERVED = 10_000  # calls of one transaction of which the order is known
AGAIN = "BEGIN"  # the step of one that was begun already
_SUPERFLUOUS = ("25001", "25P01")  # warnings: it was begun already, it was ended already
_CLEAR = (Evidence.TASK, Evidence.THREAD, Evidence.CHECKOUT)

Ending = tuple[str, str, str]  # protocol, destination, verb


def _words(request: Document) -> list[str]:
    sql = request.get("sql")
    return sql.upper().replace(";", " ").split() if isinstance(sql, str) else []


def read_ending(request: Document) -> str | None:
    """``COMMIT`` or ``ROLLBACK`` when the request ends a transaction, else ``None``.

    With ``AND CHAIN`` where it begins another.
    """
    words = _words(request)
    if not words or "TO" in words or "PREPARED" in words:
        return None
    verb = _VERBS.get(words[0])
    return f"{verb}{CHAIN}" if verb is not None and words[-2:] == CHAIN.split() else verb


def read_step(request: Document) -> str | None:
    """What else a request says of its transaction: its modes, or that a part is undone.

    A savepoint's name is the connection's own affair; a plain ``BEGIN`` says nothing that the
    end does not.
    """
    words = _words(request)
    if words and words[0] in _OPENING:
        modes = [word for word in words[1:] if word not in _EMPTY_WORDS]
        return " ".join(["BEGIN", *modes]) if modes else None
    is_partial = bool(words) and words[0] in _VERBS and "TO" in words
    return "ROLLBACK TO SAVEPOINT" if is_partial else None


def is_opening(request: Document) -> bool:
    """Whether the request begins a transaction."""
    words = _words(request)
    return bool(words) and words[0] in _OPENING


class Ended(Protocol):
    """A transaction of the application, as `kebpf.replay.trail` follows it."""

    @property
    def served(self) -> list[int]: ...
    @property
    def steps(self) -> list[str]: ...
    @property
    def has_strays(self) -> bool: ...
    @property
    def is_opened(self) -> bool: ...
    @property
    def is_again(self) -> bool: ...


@dataclass(slots=True)
class Transaction:
    """The calls of a case in one transaction, in their order; the ``ending`` if it is certain.

    ``steps`` are the other statements about it, as `read_step` names them; ``repeats`` says how
    often it was ended once more, with nothing in between.
    """

    items: list[Recorded] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    is_opened: bool = False
    ending: Ending | None = None
    repeats: int = 0

    def list_asserted(self) -> list[Ending]:
        """The ending and the steps, if the end is certain."""
        if self.ending is None:
            return []
        protocol, destination, _verb = self.ending
        steps = ((protocol, destination, step) for step in self.steps)
        return [*steps, self.ending, *[self.ending] * self.repeats]


def find_transactions(own: Iterable[Recorded], session: Iterable[Recorded]) -> list[Transaction]:
    """The transactions of a case with calls of its own in them."""
    by_connection: dict[int, list[tuple[Recorded, bool]]] = {}
    for items, is_session in ((own, False), (session, True)):
        for item in items:
            by_connection.setdefault(item.mock.connection, []).append((item, is_session))
    return [
        found
        for line in by_connection.values()
        for found in _split(sorted(line, key=lambda pair: _when(pair[0])))
        if found.items
    ]


def _when(item: Recorded) -> tuple[int, int]:
    return item.mock.timing.start_ns, item.ordinal


def _split(line: Iterable[tuple[Recorded, bool]]) -> Iterator[Transaction]:
    """The transactions of one connection."""
    current = Transaction()
    ended: Transaction | None = None  # by the statement before
    for item, is_session in line:
        mock = item.mock
        before, ended = ended, None
        if not is_session:
            current.items.append(item)
        elif _is_superfluous(mock):
            if before is None:
                current.steps += [AGAIN] if is_opening(mock.request) else []
            elif read_ending(mock.request) is not None:
                before.repeats += 1
                ended = before
        elif (verb := read_ending(mock.request)) is not None:
            if mock.evidence in _CLEAR:
                current.ending = mock.protocol, str(mock.destination), verb
            yield current
            current, ended = Transaction(is_opened=verb.endswith(CHAIN)), current
            continue
        elif is_opening(mock.request):
            current = Transaction(is_opened=True)
        step = read_step(mock.request) if is_session else None
        current.steps += [step] if step is not None else []


def _is_superfluous(mock: Mock) -> bool:
    """Whether the server said that there was nothing to begin or to end."""
    notices = (mock.response or {}).get("notices") or ()
    return any(notice.get("code") in _SUPERFLUOUS for notice in notices)


class Transactions:
    """The transactions a case recorded, and those the application made of the same calls."""

    def __init__(self, recorded: Iterable[Transaction] = ()) -> None:
        self._recorded = [one for one in recorded if one.ending is not None]
        self._of_call = {item.ordinal: one for one in self._recorded for item in one.items}
        self._expected = Counter(each for one in self._recorded for each in one.list_asserted())
        self._actual: Counter[Ending] = Counter()
        self._orders: list[list[int]] = []
        self._unopened: list[Ending] = []

    def note(self, ending: Ending, ended: Ended) -> None:
        """The application ended a transaction; ``served`` mocks answered its calls."""
        known = [self._of_call[ordinal] for ordinal in ended.served if ordinal in self._of_call]
        if ended.is_again:
            self._actual.update([ending] if known else [])
            return
        if ended.has_strays or known:
            steps, is_begun = list(ended.steps), all(one.is_opened for one in known)
            if not is_begun:  # nor does its BEGIN's mode count
                steps = [step for step in steps if not step.startswith("BEGIN")]
            self._actual.update(Transaction(steps=steps, ending=ending).list_asserted())
            if known and is_begun and not ended.is_opened:
                self._unopened.append(ending)
        self._orders.append(ended.served)

    def excuse(self, left_out: set[int]) -> None:
        """Of transactions with no other calls than those left out, no end is expected."""
        for one in self._recorded:
            if all(item.ordinal in left_out for item in one.items):
                self._expected.subtract(one.list_asserted())

    def pending(self) -> list[str]:
        """Endings not yet seen."""
        missing = self._expected - self._actual
        return [verb for (_, _, verb), count in missing.items() for _ in range(count)]

    def findings(
        self,
        is_sometimes: Callable[[Recorded, Recorded], bool],
        own: Sequence[Recorded] = (),
        served: Sequence[int] = (),
    ) -> list[CallFinding]:
        """What is not as recorded; a COMMIT that became a ROLLBACK is one finding.

        ``is_sometimes`` says whether the recording has calls of the operations of two also in
        the order given.  ``own`` are all calls of the case, ``served`` those that it made.
        """
        reordered = [
            _describe_order(*pair)
            for order in self._orders
            if (pair := self._find_inversion(order, is_sometimes)) is not None
        ]
        if self._expected == self._actual:
            orders = [*self._orders, self._find_open(served)]
            splits = (self._find_split(one, own, orders) for one in self._recorded)
            reordered += filter(None, splits)
        if not self._recorded:
            return reordered
        missing = list((self._expected - self._actual).elements())
        extra = list((self._actual - self._expected).elements())
        found = [*reordered, *_pair_changed(missing, extra)]
        missing += [(*ending[:2], "BEGIN") for ending in self._unopened]
        return [*found, *_list_rest(missing, extra)]

    def _find_open(self, served: Sequence[int]) -> list[int]:
        """The calls made in no transaction that has ended."""
        if any(len(order) >= MOST_SERVED for order in self._orders):  # the first are not known
            return []
        ended = {ordinal for order in self._orders for ordinal in order}
        return [ordinal for ordinal in served if ordinal not in ended]

    def _find_split(
        self, transaction: Transaction, own: Iterable[Recorded], orders: Iterable[list[int]]
    ) -> CallFinding | None:
        """Two calls of one recorded transaction of which one was committed without the other."""
        if not transaction.is_opened:
            return None
        inside = {item.ordinal for item in transaction.items}
        elsewhere = {
            shape_of(item) for item in own if item.ordinal not in inside
        }  # calls of these may have changed places
        items = {i.ordinal: i for i in transaction.items if shape_of(i) not in elsewhere}
        parts = [[items[at] for at in order if at in items] for order in orders]
        first, *others = [part for part in parts if part] or [[]]
        for other in others:
            if not (is_read(first[-1]) or is_read(other[0])):
                note = "in two transactions; recorded in one"
                return describe_pair(other[0], first[-1], "behind the end of", note)
        return None

    def _find_inversion(
        self, order: list[int], is_sometimes: Callable[[Recorded, Recorded], bool]
    ) -> tuple[Recorded, Recorded] | None:
        """The first two calls, as made, that were made the other way round when recorded."""
        for at, ordinal in enumerate(order):
            transaction = self._of_call.get(ordinal)
            if transaction is None or not transaction.is_opened:
                continue
            places = {item.ordinal: place for place, item in enumerate(transaction.items)}
            first = transaction.items[places[ordinal]]
            for later in order[at + 1 :]:
                second = transaction.items[places[later]] if later in places else None
                is_inverted = second is not None and _is_certain(second, first)
                if second is not None and is_inverted and not is_sometimes(first, second):
                    return first, second
        return None


def _is_certain(first: Recorded, second: Recorded) -> bool:
    """Whether one call was answered before the other was made, and it matters: one writes."""
    return (
        first.mock.timing.end_ns <= second.mock.timing.start_ns
        and shape_of(first) != shape_of(second)
        and not (is_read(first) and is_read(second))
    )


def shape_of(item: Recorded) -> str:
    """A recorded call's operation, ids and numbers apart."""
    return shape_operation(operation_of(item))


def operation_of(item: Recorded) -> str:
    """A recorded call's operation."""
    return str(item.leaves.get("/operation", ""))


def is_read(item: Recorded) -> bool:
    """Whether a recorded call only reads."""
    return is_read_operation(operation_of(item))


def _describe_order(first: Recorded, second: Recorded) -> CallFinding:
    note = "in one transaction; recorded the other way round"
    return describe_pair(first, second, "before", note)


def describe_pair(first: Recorded, second: Recorded, how: str, note: str) -> CallFinding:
    """The finding for two calls that changed places."""
    mock = first.mock
    return CallFinding(
        "reordered",
        mock.protocol,
        str(mock.destination),
        first.description,
        nearest=second.description,
        mock=mock.name,
        operation=f"{shape_of(first)} {how} {shape_of(second)}",
        note=note,
    )


def _pair_changed(missing: list[Ending], extra: list[Ending]) -> Iterator[CallFinding]:
    """Takes out of both lists what belongs together."""
    for recorded in list(missing):
        actual = next((e for e in extra if e[:2] == recorded[:2]), None)
        if actual is None:
            continue
        missing.remove(recorded)
        extra.remove(actual)
        yield CallFinding("changed", *actual, MissKind.DIFFERENT, nearest=recorded[2])


def _list_rest(missing: list[Ending], extra: list[Ending]) -> Iterator[CallFinding]:
    for protocol, destination, verb in missing:
        yield CallFinding("missing", protocol, destination, verb)
    for protocol, destination, verb in extra:
        yield CallFinding("extra", protocol, destination, verb)
