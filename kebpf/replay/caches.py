"""Reads that the program's own caches save it: made by other cases than when recorded.

Whether a program asks again or remembers depends on what its process was asked before, so on the
order of cases and on what ran at the same time when they were recorded.  A read counts as cached
only with evidence in the recording: of one route (the method and path in the names of cases) and
status one case made it and a later one made none of its kind, and all its recorded answers are
equal.  Then, in one start of the application, another case may make it, as long as it is made no
oftener than in the whole recording (what was made anew since is another thing to ask for); and a
case of a route with that evidence may leave it out that made it, if it was made before.  Both are
counted and told; anything else stays a finding.
What a cache asks conditionally is the subject of `revalidation`.
A read that the recorded program gave up (see `givenup`) may be made by each case of a route that
made it, once, or left out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from kebpf.recording.model import TestCase
from kebpf.replay.assignment import answer_key
from kebpf.replay.call import Call, Key, is_read_operation, make_key, shape_operation
from kebpf.replay.events import CallFinding, MissKind
from kebpf.replay.givenup import was_cancelled
from kebpf.replay.index import MockIndex, Recorded, key_of
from kebpf.replay.revalidation import Revalidations
from kebpf.replay.strays import name_some

MOST_EQUAL = 10_000  # mocks of one identity
MOST_PEERS = 64  # later cases of a route that are looked at
_HASH = re.compile(r"-[0-9a-f]{6}(?:-\d+)?$")
_EFFECTS = re.compile(
    r"\bFOR\s+(?:UPDATE|SHARE|NO\s+KEY|KEY)\b|\bINTO\b|\b(?:nextval|setval|pg_notify|pg_\w*lock\w*"
    r"|set_config|random|clock_timestamp)\b",
    re.IGNORECASE,
)


def is_pure_read(protocol: str, operation: str) -> bool:
    """Whether asking once more, or not at all, leaves everything as it is."""
    if protocol == "dns":
        return True
    return is_read_operation(operation) and _EFFECTS.search(operation) is None


def route_of(case: TestCase) -> str:
    """The method and path that a case's name begins with, and how it was answered."""
    return f"{_HASH.sub('', case.name)} {case.response.get('status')}"


@dataclass(frozen=True, slots=True)
class _Cached:
    """What is known of an identity that the program caches."""

    recorded: int
    routes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Overuse:
    """A read that ``cases`` made, though only others recorded it, and how often in all."""

    call: Call
    cases: list[str]
    made: int
    recorded: int


class Caches:
    """The cached reads of one start of the application.

    ``routes`` are those of all recorded cases, by their names, in their order.
    """

    def __init__(self, index: MockIndex, routes: Mapping[str, str]) -> None:
        self._index = index
        self._routes = routes
        self._revalidations = Revalidations(index, routes)
        self._peers: dict[str, list[str]] = {}
        self._places: dict[str, int] = {}
        for name, route in routes.items():
            peers = self._peers.setdefault(route, [])
            self._places[name] = len(peers)
            peers.append(name)
        self._known: dict[Key, _Cached | None] = {}
        self._made: Counter[Key] = Counter()
        self._asked: dict[Key, Counter[Key]] = {}  # by what was asked for in this start's values
        self._borrowed: dict[Key, tuple[Call, list[str]]] = {}
        self._given_up: dict[Key, frozenset[str]] | None = None  # → routes that may make it
        self._racing: set[tuple[Key, str]] = set()  # what was made by which case

    def note_made(self, call: Call, case: str | None) -> None:
        """A read was answered."""
        if is_pure_read(call.protocol, call.operation):
            key = call.key()
            self._made[key] += 1
            self._asked.setdefault(key, Counter())[_actual_key(call)] += 1
            if case is not None:
                self._racing.add((key, case))
            self._revalidations.note_made(call, case)

    def may_make(self, call: Call, item: Recorded, case: str) -> bool:
        """Whether a case may make a read that only others recorded, ``item`` among them."""
        if self._revalidations.may_make(call, item, case) or self.may_race(call, case):
            return True
        known = self._find(item)
        asked: Mapping[Key, int] = self._asked.get(call.key(), {})
        return known is not None and asked.get(_actual_key(call), 0) < known.recorded

    def note_borrowed(self, call: Call, case: str) -> None:
        """A case made a read that only others recorded."""
        self._borrowed.setdefault(call.key(), (call, []))[1].append(case)
        self._revalidations.note_swapped(call, case)

    def may_answer_plainly(self, item: Recorded, call: Call, plain: Call) -> bool:
        """Whether a conditional call may have the plain answer of a case's own mock."""
        return self._revalidations.may_answer_plainly(item, call, plain)

    def is_made_twice(self, call: Call, case: str) -> bool:
        """Whether a case made a read as recorded and in the form of another case too."""
        return self._revalidations.is_made_twice(call, case)

    def may_leave_out(self, item: Recorded) -> bool:
        """Whether a case need not make its recorded read, since it was made before."""
        if not is_pure_read(item.mock.protocol, str(item.leaves.get("/operation", ""))):
            return False
        if self._revalidations.may_leave_out(item):
            return True
        if not self._made[key_of(item.mock, item.leaves)]:
            return False
        known = self._find(item)
        return known is not None and self._routes.get(str(item.mock.case)) in known.routes

    def may_race(self, call: Call, case: str) -> bool:
        """Whether a case may make a read that the recorded program gave up, as it did not yet."""
        routes = self._find_given_up().get(call.key(), frozenset())
        return self._routes.get(case) in routes and (call.key(), case) not in self._racing

    def is_given_up(self, item: Recorded) -> bool:
        """Whether the recorded program gave such a read up, so that nobody need make it."""
        return key_of(item.mock, item.leaves) in self._find_given_up()

    def _find_given_up(self) -> Mapping[Key, frozenset[str]]:
        if self._given_up is None:
            found = {
                key_of(item.mock, item.leaves): item
                for item in map(self._index.load, self._index.given_up.find())
                if not item.mock.generated
                and is_pure_read(item.mock.protocol, str(item.leaves.get("/operation", "")))
            }
            routes = {key: self._routes_of(item) for key, item in found.items()}
            self._given_up = {key: one for key, one in routes.items() if one}
        return self._given_up

    def _routes_of(self, item: Recorded) -> frozenset[str]:
        """The routes that may each have made all of a read's calls; none if answers differ."""
        bucket = self._index.anywhere.bucket_of(item.mock, item.leaves)
        items = [self._index.load(ordinal) for ordinal in islice(bucket, MOST_EQUAL)]
        if len({answer_key(one) for one in items if not was_cancelled(one.mock)}) > 1:
            return frozenset()
        names = (one.mock.candidates or [str(one.mock.case)] for one in items)
        return frozenset.intersection(
            *(frozenset(self._routes.get(one, "") for one in some) for some in names)
        )

    def made_too_often(self) -> Iterator[Overuse]:
        """Reads that were made by other cases, and in all oftener than recorded."""
        for key, (call, cases) in self._borrowed.items():
            if key in self._find_given_up():
                continue  # no case made it twice
            known, limit = self._known.get(key), self._revalidations.limit_of(key)
            recorded = max(known.recorded if known is not None else 0, limit or 0)
            made = max(self._asked[key].values())
            if made > recorded:
                yield Overuse(call, cases, made, recorded)

    def _find(self, item: Recorded) -> _Cached | None:
        key = key_of(item.mock, item.leaves)
        if key not in self._known:
            self._known[key] = self._examine(item)
        return self._known[key]

    def _examine(self, item: Recorded) -> _Cached | None:
        operation = str(item.leaves.get("/operation", ""))
        if item.mock.generated or not is_pure_read(item.mock.protocol, operation):
            return None
        bucket = self._index.anywhere.bucket_of(item.mock, item.leaves)
        if not 0 < len(bucket) <= MOST_EQUAL:
            return None
        items = [self._index.load(ordinal) for ordinal in bucket]
        if len({answer_key(one) for one in items}) != 1:
            return None
        routes = {self._routes[str(one.mock.case)] for one in items if self._has_warm_peer(one)}
        return _Cached(len(items), frozenset(routes)) if routes else None

    def _has_warm_peer(self, item: Recorded) -> bool:
        """Whether a later case of the route of who made a call made none of its kind."""
        case = str(item.mock.case)
        if case not in self._places:
            return False
        later = islice(self._peers[self._routes[case]], self._places[case] + 1, None)
        return any(not self._makes_kind(name, item) for name in islice(later, MOST_PEERS))

    def _makes_kind(self, case: str, item: Recorded) -> bool:
        """Whether a case may have made such a call, whatever its arguments."""
        index, mine = self._index, _without_arguments(item)
        for ordinals in (index.own(case), index.shared(case), index.possible(case)):
            for other in map(index.load, ordinals):
                if other.mock.destination != item.mock.destination:
                    continue
                if _without_arguments(other) == mine:
                    return True
        return False


def _actual_key(call: Call) -> Key:
    if call.actual is call.recorded:
        return call.key()
    return make_key(call.destination, call.protocol, call.actual)


def _without_arguments(item: Recorded) -> str:
    return shape_operation(str(item.leaves.get("/operation", "")))


def describe_overuse(found: Overuse) -> CallFinding:
    """The finding for a read that was made oftener than a cache in another state explains."""
    call = found.call
    return CallFinding(
        "repeated",
        call.protocol,
        str(call.destination),
        call.description,
        MissKind.USED_UP,
        count=found.made - found.recorded,
        recorded=found.recorded,
        made=found.made,
        note=f"made by {name_some(found.cases)} too, unlike when recorded",
        is_read=True,
        operation=shape_operation(call.operation),
    )
