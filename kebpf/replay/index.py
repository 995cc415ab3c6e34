"""Finds mocks by hash: keys and offsets are held in memory, never the mocks themselves."""

from __future__ import annotations

from array import array
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from kebpf.protocols.base import Document, ProtocolSpec
from kebpf.recording.model import Endpoint, Mock, TestCase, Tier
from kebpf.replay.call import (
    Call,
    Key,
    Leaves,
    leaves_of,
    make_key,
    make_operation_key,
    make_structure_key,
)

Shape = tuple[str, ...]  # the paths at which a mock's identity holds generated values

MOST_VERIFIED = 64  # mocks of one bucket that are read back for one call
MOST_SAMPLES = 8  # ordinals kept for one operation, to name the nearest candidate


class MockSource(Protocol):
    """What the matcher needs of a test set on disk."""

    def cases(self) -> Iterable[TestCase]:
        """The cases in recorded order."""

    def iter_mocks(self) -> Iterator[tuple[int, Mock]]:
        """Every mock with the offset at which `mock_at` finds it again."""

    def mock_at(self, offset: int) -> Mock:
        """The mock at an offset."""


@dataclass(slots=True)
class Recorded:
    """A mock taken apart, with its number in the recording."""

    ordinal: int
    mock: Mock
    leaves: Leaves
    description: str


@dataclass(slots=True)
class Bucket:
    """Mocks of one key in recorded order: those ``left`` to serve, those ``taken`` from it."""

    left: deque[int] = field(default_factory=deque)
    taken: list[int] = field(default_factory=list)

    def usable(self, is_usable: Callable[[int], bool]) -> Iterator[int]:
        """What is left and usable; used ones at the head are taken out for good."""
        while self.left and not is_usable(self.left[0]):
            self.taken.append(self.left.popleft())
        return filter(is_usable, self.left)

    def latest_first(self) -> Iterator[int]:
        """All of them, the last recorded first."""
        yield from reversed(self.left)
        yield from reversed(self.taken)


class Group:
    """Mocks among which a call is looked for, in recorded order among equal identities."""

    def __init__(self) -> None:
        self._shapes: dict[Key, list[Shape]] = {}  # structure → shapes seen with it
        self._buckets: dict[Key, Bucket] = {}

    def add(self, ordinal: int, mock: Mock, leaves: Leaves, most: int | None = None) -> None:
        """Takes a mock in; ``most`` caps how many of the same key are held."""
        shape = tuple(sorted(mock.generated))
        structure = make_structure_key(mock.destination, mock.protocol, leaves)
        shapes = self._shapes.setdefault(structure, [])
        if shape not in shapes:
            shapes.append(shape)
            shapes.sort(key=len)
        key = make_key(mock.destination, mock.protocol, leaves, shape)
        bucket = self._buckets.setdefault(key, Bucket())
        if most is None or len(bucket.left) < most:
            bucket.left.append(ordinal)

    def buckets(self, call: Call) -> Iterator[Bucket]:
        """The buckets in which the call's mock may be, exact ones first."""
        structure = make_structure_key(call.destination, call.protocol, call.recorded)
        for shape in self._shapes.get(structure, ()):
            key = make_key(call.destination, call.protocol, call.recorded, shape)
            bucket = self._buckets.get(key)
            if bucket is not None:
                yield bucket


class MockIndex:
    """Every mock of a test set: by tier and case, by destination, by operation."""

    def __init__(
        self,
        test_set: MockSource,
        get_spec: Callable[[str], ProtocolSpec],
        set_apart: Collection[str] = (),
    ) -> None:
        self._set_apart = frozenset(set_apart)  # cases that are not run: who made their calls now?
        self._test_set = test_set
        self._get_spec = get_spec
        self._offsets = array("q")
        self.by_case: dict[str, array[int]] = defaultdict(lambda: array("l"))
        self.shared_by_case: dict[str, array[int]] = defaultdict(lambda: array("l"))
        self.possible_by_case: dict[str, array[int]] = defaultdict(lambda: array("l"))
        self.session_by_case: dict[str, array[int]] = defaultdict(lambda: array("l"))
        self.anywhere = Group()  # what cases made or may have made, a few of each identity
        self.startup = Group()
        self.possible = Group()  # calls that cases or left-out requests may have made
        self.background = Group()
        self.outside: list[int] = []  # ordinals of the start-up and background tiers
        self.session = Group()
        self.facts: dict[Endpoint, list[int]] = defaultdict(list)
        self.protocols: dict[Endpoint, dict[str, int]] = defaultdict(dict)
        self._samples: dict[Key, list[int]] = {}
        self._described: dict[Key, int] = {}  # SQL whose columns are known
        self._columnless: dict[Key, int] = {}  # SQL that gave none, or was seen without
        for offset, mock in test_set.iter_mocks():
            self._add(offset, mock)

    def _add(self, offset: int, mock: Mock) -> None:
        ordinal = len(self._offsets)
        self._offsets.append(offset)
        leaves = leaves_of(self._get_spec(mock.protocol).identity(mock.request))
        counts = self.protocols[mock.destination]
        counts[mock.protocol] = counts.get(mock.protocol, 0) + 1
        self._note_columns(ordinal, mock)
        if mock.tier is Tier.SESSION:
            self._add_session(ordinal, mock, leaves)
            return
        self._sample(ordinal, mock, leaves)
        if mock.tier is Tier.CASE:
            self._add_to_case(ordinal, mock, leaves)
        else:
            self._add_outside(ordinal, mock, leaves)

    def _add_outside(self, ordinal: int, mock: Mock, leaves: Leaves) -> None:
        """A call that may be a left-out request's is not for anyone at any time."""
        self.outside.append(ordinal)
        for name in mock.candidates:
            self.possible_by_case[name].append(ordinal)
        if mock.tier is Tier.STARTUP:
            self.startup.add(ordinal, mock, leaves)
        elif mock.candidates:
            self.possible.add(ordinal, mock, leaves)
            self.anywhere.add(ordinal, mock, leaves, MOST_SAMPLES)
        else:
            self.background.add(ordinal, mock, leaves)

    def _add_to_case(self, ordinal: int, mock: Mock, leaves: Leaves) -> None:
        self.anywhere.add(ordinal, mock, leaves, MOST_SAMPLES)
        owners = [mock.case] if mock.case is not None else mock.candidates
        if owners and self._set_apart.issuperset(owners):
            self.possible.add(ordinal, mock, leaves)  # answers whom it fits, asserted of nobody
            return
        if mock.case is not None:
            self.by_case[mock.case].append(ordinal)
        for name in mock.candidates if mock.case is None else ():
            self.shared_by_case[name].append(ordinal)

    def _add_session(self, ordinal: int, mock: Mock, leaves: Leaves) -> None:
        if mock.case is not None:
            self.session_by_case[mock.case].append(ordinal)
        key = make_key(mock.destination, mock.protocol, leaves)
        if key not in self._samples:
            self._samples[key] = [ordinal]
            self.facts[mock.destination].append(ordinal)
        self.session.add(ordinal, mock, leaves, 1)

    def _sample(self, ordinal: int, mock: Mock, leaves: Leaves) -> None:
        operation = str(leaves.get("/operation", ""))
        key = make_operation_key(mock.destination, operation)
        samples = self._samples.setdefault(key, [])
        if len(samples) < MOST_SAMPLES:
            samples.append(ordinal)

    def _note_columns(self, ordinal: int, mock: Mock) -> None:
        sql = mock.request.get("sql")
        if not isinstance(sql, str) or mock.response is None:
            return
        key = _sql_key(mock.destination, sql)
        if _has_columns(mock.response):
            self._described.setdefault(key, ordinal)
        else:
            self._columnless.setdefault(key, ordinal)

    def find_described(self, destination: Endpoint, sql: str) -> Mock | None:
        """A mock of the same SQL whose response tells the columns."""
        key = _sql_key(destination, sql)
        ordinal = self._described.get(key, self._columnless.get(key))
        return None if ordinal is None else self.load(ordinal).mock

    def samples(self, destination: Endpoint, operation: str) -> list[int]:
        """A few mocks of the same operation, ids and numbers apart."""
        return self._samples.get(make_operation_key(destination, operation), [])

    def load(self, ordinal: int) -> Recorded:
        """Reads one mock back."""
        mock = self._test_set.mock_at(self._offsets[ordinal])
        spec = self._get_spec(mock.protocol)
        leaves = leaves_of(spec.identity(mock.request))
        return Recorded(ordinal, mock, leaves, spec.describe(mock.request))

    def __len__(self) -> int:
        return len(self._offsets)


def _has_columns(response: Document) -> bool:
    results = response.get("results")
    return isinstance(results, list) and bool(results) and results[0].get("columns") is not None


def _sql_key(destination: Endpoint, sql: str) -> Key:
    return make_key(destination, "sql", {"/sql": sql})
