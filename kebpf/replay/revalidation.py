"""HTTP reads that a cache of the program makes conditional: which case asks how depends on order.

A program that remembers an answer with its entity tag asks plainly first and conditionally after
that (RFC 9110 section 13).  Both are one read in two forms where the recording proves it: all
plain answers are equal, every condition names their tag, every conditional answer is an equal 304,
and one route asked conditionally once a plain answer had come to it.  Then a case that recorded one
such read may make the other form of it instead, conditionally only if this start of the application
was answered before, plainly no oftener than the whole recording did.

Where all cases that read something ran at once, each plainly, no conditional answer was recorded.
Then the recorded plain answer is given to a conditional request for it, as a server may that has
something newer to say, if this destination did confirm conditions in the recording.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from kebpf.recording.model import Mock, Tier
from kebpf.replay.answers import owners_of
from kebpf.replay.assignment import answer_key
from kebpf.replay.call import Call, Key, Leaves, hash_text, leaves_of
from kebpf.replay.index import MockIndex, Recorded, key_of

MOST_OF_OPERATION = 4000  # mocks of one method and path
_CONDITIONS = {"if-none-match": "etag", "if-modified-since": "last-modified"}
_READS = frozenset(("GET", "HEAD"))


@dataclass(slots=True)
class Family:
    """The mocks of one read in both forms; ``members`` counts those of each case."""

    plain: dict[Key, int] = field(default_factory=dict)
    conditional: set[Key] = field(default_factory=set)
    members: Counter[str] = field(default_factory=Counter)

    @property
    def keys(self) -> set[Key]:
        return {*self.plain, *self.conditional}


class Revalidations:
    """The reads in two forms, and who made which in one start of the application."""

    def __init__(self, index: MockIndex, routes: Mapping[str, str]) -> None:
        self._index = index
        self._routes = routes
        self._families: dict[Key, Family | None] = {}
        self._seen: set[int] = set()  # the mocks that were looked at
        self._made: Counter[Key] = Counter()
        self._of_case: dict[str, Counter[Key]] = defaultdict(Counter)
        self._swapped: dict[str, set[Key]] = defaultdict(set)

    def note_made(self, call: Call, case: str | None) -> None:
        """A read was answered."""
        self._made[call.key()] += 1
        if case is not None and call.protocol == "http":
            self._of_case[case][call.key()] += 1

    def may_make(self, call: Call, item: Recorded, case: str) -> bool:
        """Whether a case may make a read in a form that only others recorded, like ``item``."""
        family, key = self._find(item), call.key()
        if family is None or family.members[case] != 1 or self._made_by(case, family):
            return False
        if key in family.plain:
            return self._made[key] < family.plain[key]
        return any(self._made[one] for one in family.plain)

    def may_answer_plainly(self, item: Recorded, call: Call, plain: Call) -> bool:
        """Whether a conditional call may have the plain answer of a case's own mock."""
        is_known = self._made[plain.key()] > 0 and is_named_by(item, call)
        return is_known and item.mock.destination in self._index.confirming

    def note_swapped(self, call: Call, case: str) -> None:
        """A case made a read that only others recorded, maybe in the other form of its own."""
        family = self._families.get(call.key())
        if family is not None and family.members[case] == 1:
            self._swapped[case].add(call.key())

    def is_made_twice(self, call: Call, case: str) -> bool:
        """Whether a case that made a read in the other form made it in the recorded one too."""
        family = self._families.get(call.key())
        if family is None or call.key() not in self._swapped.get(case, ()):
            return False
        return sum(self._of_case[case][key] for key in family.keys) > family.members[case]

    def may_leave_out(self, item: Recorded) -> bool:
        """Whether a case need not make its recorded read, since it made the other form of it."""
        swapped = self._swapped.get(str(item.mock.case))
        family = self._find(item) if swapped else None
        return family is not None and bool(swapped) and not family.keys.isdisjoint(swapped or ())

    def limit_of(self, key: Key) -> int | None:
        """How often a read of two forms may be made in this form; ``None``: no such read."""
        family = self._families.get(key)
        if family is None:
            return None
        return family.plain.get(key, sum(family.members.values()))

    def _made_by(self, case: str, family: Family) -> bool:
        return any(self._of_case[case][key] for key in family.keys)

    def _find(self, item: Recorded) -> Family | None:
        if item.mock.protocol != "http" or item.leaves.get("/method") not in _READS:
            return None
        key = key_of(item.mock, item.leaves)
        if key not in self._families:
            self._look_at(item)
        return self._families.get(key)

    def _look_at(self, item: Recorded) -> None:
        operation = str(item.leaves.get("/operation", ""))
        ordinals = self._index.of_operation(item.mock.destination, operation)
        if len(ordinals) > MOST_OF_OPERATION or item.ordinal in self._seen:
            return
        self._seen.update(ordinals)
        groups: dict[Key, list[Recorded]] = defaultdict(list)
        for other in map(self._index.load, ordinals):
            if other.mock.tier is Tier.CASE and other.mock.destination == item.mock.destination:
                groups[_form_key(other.leaves)].append(other)
        for items in groups.values():
            family = self._prove(items)
            self._families.update((key_of(one.mock, one.leaves), family) for one in items)

    def _prove(self, items: list[Recorded]) -> Family | None:
        plain = [one for one in items if not _conditions(one.leaves)]
        conditional = [one for one in items if _conditions(one.leaves)]
        if not plain or not conditional or any(one.mock.generated for one in items):
            return None
        if len(set(map(answer_key, plain))) > 1 or len(set(map(answer_key, conditional))) > 1:
            return None
        if not all(_is_confirmed(one, plain[0]) for one in conditional):
            return None
        if not self._is_in_order(plain, conditional):
            return None
        counts = Counter(key_of(one.mock, one.leaves) for one in plain)
        forms = {key_of(one.mock, one.leaves) for one in conditional}
        return Family(dict(counts), forms, Counter(str(one.mock.case) for one in items))

    def _is_in_order(self, plain: Iterable[Recorded], conditional: Iterable[Recorded]) -> bool:
        """Whether a route asked conditionally when it had an answer to what it asked plainly.

        By the times of the calls: of requests that are served at once, the later may ask first.
        """
        answered: dict[str, int] = {}
        for mock in (one.mock for one in plain):
            route, end_ns = self._route_of(mock), mock.timing.end_ns
            answered[route] = min(answered.get(route, end_ns), end_ns)
        answered.pop("", None)
        asked = ((self._route_of(one.mock), one.mock.timing.start_ns) for one in conditional)
        return any(route in answered and answered[route] <= start_ns for route, start_ns in asked)

    def _route_of(self, mock: Mock) -> str:
        """The one route that made a call; empty if that is not certain."""
        routes = {self._routes.get(name, "") for name in owners_of(mock)}
        return routes.pop() if len(routes) == 1 else ""


def without_conditions(call: Call) -> Call | None:
    """The same read in its plain form; ``None`` if it is no conditional one."""
    if call.protocol != "http" or call.recorded.get("/method") not in _READS:
        return None
    if not _conditions(call.recorded):
        return None
    return replace(call, actual=_strip(call.actual), recorded=_strip(call.recorded), _key=None)


def _strip(leaves: Leaves) -> Leaves:
    kept = [pair for pair in _headers(leaves) if pair[0] not in _CONDITIONS]
    rest = {path: value for path, value in leaves.items() if not path.startswith("/headers")}
    return {**rest, **leaves_of({"headers": kept})}


def is_named_by(item: Recorded, call: Call) -> bool:
    """Whether a call's conditions all name the tag or the time of a recorded answer."""
    told = _validators(item.mock)
    return all((_CONDITIONS[name], value) in told for name, value in _conditions(call.recorded))


def _form_key(leaves: Leaves) -> Key:
    """Equal for one read in both forms."""
    rest = sorted((p, repr(v)) for p, v in leaves.items() if not p.startswith("/headers"))
    headers = sorted(pair for pair in _headers(leaves) if pair[0] not in _CONDITIONS)
    return hash_text(repr((rest, headers)))


def _headers(leaves: Leaves) -> list[tuple[str, str]]:
    names = [path for path in leaves if path.startswith("/headers/") and path.endswith("/0")]
    return [(str(leaves[path]), str(leaves.get(f"{path[:-1]}1"))) for path in names]


def _conditions(leaves: Leaves) -> list[tuple[str, str]]:
    return [pair for pair in _headers(leaves) if pair[0] in _CONDITIONS]


def _is_confirmed(conditional: Recorded, plain: Recorded) -> bool:
    """Whether a request names the tag or time of a plain answer and was told it still holds."""
    told = _validators(plain.mock)
    pairs = _conditions(conditional.leaves)
    status = (conditional.mock.response or {}).get("status")
    return status == 304 and all((_CONDITIONS[name], value) in told for name, value in pairs)


def _validators(mock: Mock) -> set[tuple[str, str]]:
    headers = (mock.response or {}).get("headers") or ()
    return {(str(name).lower(), str(value)) for name, value in headers}
