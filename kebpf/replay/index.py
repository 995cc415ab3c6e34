"""Finds mocks by hash: keys and offsets are held in memory, never the mocks themselves."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from copy import copy
from dataclasses import replace
from itertools import islice
from typing import Protocol, runtime_checkable

from kebpf.protocols.base import Document, ProtocolSpec
from kebpf.recording.loose import is_loose_class
from kebpf.recording.model import Endpoint, Mock, TestCase, Tier
from kebpf.recording.templates import match_template
from kebpf.recording.values import text_of
from kebpf.replay.call import (
    DATABASE,
    Call,
    Key,
    Leaves,
    hash_text,
    leaves_of,
    loosen,
    make_key,
    make_operation_key,
    make_structure_key,
)
from kebpf.replay.encrypted import Encryptions
from kebpf.replay.givenup import GivenUp
from kebpf.replay.noise import Noise
from kebpf.replay.opened import Openings
from kebpf.replay.table import MANY_PARTS, Bucket, Table

Shape = tuple[str, ...]  # the paths at which a mock's identity holds generated values

_NO_ID = ("time:", "seen:", "either:")  # classes of times, and of what another made

MOST_VERIFIED = 64  # mocks of one bucket that are read back for one call
MOST_SAMPLES = 8  # ordinals kept for one operation, to name the nearest candidate
MOST_WALKED = 16  # mocks of a bucket that is walked over from its beginning each time


class MockSource(Protocol):
    """What the matcher needs of a test set on disk."""

    def cases(self) -> Iterable[TestCase]:
        """The cases in recorded order."""

    def iter_mocks(self) -> Iterator[tuple[int, Mock]]:
        """Every mock with the offset at which `mock_at` finds it again."""

    def mock_at(self, offset: int) -> Mock:
        """The mock at an offset."""


@runtime_checkable
class PackedSource(Protocol):
    """A source that tells the response of a mock by the bytes of its request."""

    def find_response(self, offset: int, packed: bytes) -> Document | None:
        """The response, not to be changed, if the request of the mock at an offset is just that.

        ``None`` also where only `MockSource.mock_at` can tell.
        """


class Recorded:
    """A mock taken apart, with its number in the recording.

    ``answers`` is the call that it was found for by the very bytes of its request: the mock
    itself, which holds nothing generated, is read when it is asked for.
    """

    __slots__ = (
        "_describe",
        "_is_whole",
        "_leaves",
        "_mock",
        "_read",
        "_response",
        "answers",
        "ordinal",
    )

    _read: Callable[[int], Recorded]
    _response: Document

    def __init__(
        self, ordinal: int, mock: Mock, leaves: Leaves, describe: Callable[[Document], str]
    ) -> None:
        self.ordinal = ordinal
        self.answers: Call | None = None
        self._mock, self._leaves, self._describe = mock, leaves, describe
        self._is_whole = True

    @classmethod
    def put_off(
        cls, ordinal: int, call: Call, response: Document, read: Callable[[int], Recorded]
    ) -> Recorded:
        """The mock of the same request as ``call``; ``read`` reads the rest."""
        self = cls.__new__(cls)
        self.ordinal, self.answers = ordinal, call
        self._response, self._read = response, read
        self._is_whole = False
        return self

    def _fill(self) -> None:
        read = self._read(self.ordinal)
        self._mock, self._leaves, self._describe = read.mock, read.leaves, read._describe
        self._is_whole = True

    @property
    def mock(self) -> Mock:
        """As it was recorded, but for values that are not to be compared."""
        if not self._is_whole:
            self._fill()
        return self._mock

    @property
    def leaves(self) -> Leaves:
        """What a call's leaves are compared with."""
        if not self._is_whole:
            self._fill()
        return self._leaves

    @property
    def response(self) -> Document | None:
        """What it is answered with, in recorded values."""
        return self._mock.response if self.answers is None else self._response

    @property
    def description(self) -> str:
        """In one line."""
        request = self.mock.request  # which, read when it is first asked for, tells how
        return self._describe(request)


class Group:
    """Mocks among which a call is looked for, in recorded order among equal identities."""

    def __init__(self, is_small: bool = False) -> None:
        self._shapes: dict[Key, list[Shape]] = {}  # structure → shapes seen with it, but for ()
        self._table = Table(1 if is_small else MANY_PARTS)
        self._buckets: dict[Key, Bucket] = {}  # large ones asked for, with what is used up

    def add(self, ordinal: int, mock: Mock, leaves: Leaves, key: Key | None = None) -> None:
        """Takes a mock in; ``key`` is its `key_of`, if that is known."""
        shape = shape_of(mock)
        if shape:
            structure = make_structure_key(mock.destination, mock.protocol, leaves)
            shapes = self._shapes.setdefault(structure, [])
            if shape not in shapes:
                shapes.append(shape)
                shapes.sort(key=len)
        self._table.add(key_of(mock, leaves) if key is None else key, ordinal)

    def buckets(self, call: Call) -> Iterator[Bucket]:
        """The buckets in which the call's mock may be, exact ones first."""
        for key in self._keys(call):
            bucket = self._buckets.get(key)
            if bucket is None:
                bucket = self._table.find(key)
                if not bucket:
                    continue
                if len(bucket) > MOST_WALKED:
                    self._buckets[key] = bucket
            yield bucket

    def bucket_of(self, mock: Mock, leaves: Leaves) -> Bucket:
        """Those with the key of a mock."""
        return self._table.find(key_of(mock, leaves))

    def renew(self) -> Group:
        """The same mocks, none of which is used up; to be asked for when all were added."""
        same = copy(self)
        same._buckets = {}
        return same

    def _keys(self, call: Call) -> Iterator[Key]:
        yield call.key()
        if self._shapes:
            structure = make_structure_key(call.destination, call.protocol, call.recorded)
            for shape in self._shapes.get(structure, ()):
                yield make_key(call.destination, call.protocol, call.recorded, shape)


def shape_of(mock: Mock) -> Shape:
    """The paths of a mock's identity that are no part of its key."""
    return tuple(sorted(mock.generated))


def key_of(mock: Mock, leaves: Leaves) -> Key:
    """Equal for mocks that answer the same call."""
    return make_key(mock.destination, mock.protocol, leaves, mock.generated)


class MockIndex:
    """Every mock of a test set: by tier and case, by destination, by operation.

    ``watch``, if set, is shown each mock while the set is read through.
    """

    def __init__(
        self,
        test_set: MockSource,
        get_spec: Callable[[str], ProtocolSpec],
        watch: Callable[[Mock], None] | None = None,
        set_apart: Collection[str] = (),
        noise: Noise | None = None,
    ) -> None:
        self._noise = noise or Noise()
        self._set_apart = frozenset(set_apart)
        self._test_set = test_set
        self._packed = test_set if isinstance(test_set, PackedSource) else None
        self._get_spec = get_spec
        # Destinations of whose calls some have no database: these answer calls to any.
        self.vague: set[Endpoint] = set()
        self._fill(watch)
        if self._is_late:
            self._fill(None)

    def renew(self) -> MockIndex:
        """The same index for another run, without reading the set again."""
        same = copy(self)
        for name, value in vars(self).items():
            if isinstance(value, Group):
                setattr(same, name, value.renew())
        return same

    def _fill(self, watch: Callable[[Mock], None] | None) -> None:
        """Reads the set through."""
        self._databases: dict[Endpoint, dict[str, None]] = defaultdict(dict)
        self.has_generated = False  # some mock holds values that the program made
        self.given_up = GivenUp()
        self._made = Table(1)  # ids that cases made, by their hash
        self._is_late = False  # a destination was found to be vague when keys for it were made
        self._offsets = array("q")
        self._is_literal = bytearray()  # of each mock: nothing in its request was generated
        self._own, self._shared, self._possible, self._endings = (Table() for _ in range(4))
        self.anywhere = Group()  # what cases made or may have made
        self.startup = Group()
        self.undecided = Group()  # calls that several cases, or left-out requests, may have made
        self.background = Group()
        self.spare = Group()  # calls of cases that were set apart: who makes them now is not known
        self.outside = array("I")  # ordinals of the start-up and background tiers
        self.left_out = array("I")  # those of them that a left-out request may have made
        self.session = Group()
        self.openings = Openings()
        self.encryptions = Encryptions()
        self.facts: dict[Endpoint, list[int]] = defaultdict(list)
        # Of each session exchange the first, by which connection; all that one was pushed is kept.
        self._fact_connections: dict[Key, tuple[int, int]] = {}
        self.confirming: set[Endpoint] = set()  # that answered a conditional HTTP request with 304
        self.protocols: dict[Endpoint, dict[str, int]] = defaultdict(dict)
        self._operations = Table()
        # SQL by what is known of it: columns and types of parameters, columns, types, neither.
        self._described = [Table() for _ in range(4)]
        for offset, mock in self._test_set.iter_mocks():
            if watch is not None:
                watch(mock)
            self._add(offset, mock)

    def _add(self, offset: int, mock: Mock) -> None:
        ordinal = len(self._offsets)
        self._offsets.append(offset)
        self.given_up.note(mock)
        self.encryptions.learn(mock)
        identity = self._identify(mock)
        self._note_database(mock, identity)
        mock, leaves = self._take_apart(mock, identity)
        counts = self.protocols[mock.destination]
        counts[mock.protocol] = counts.get(mock.protocol, 0) + 1
        if mock.protocol == "http" and (mock.response or {}).get("status") == 304:
            self.confirming.add(mock.destination)
        self._note_columns(ordinal, mock)
        self._is_literal.append(not mock.generated)
        self.has_generated = self.has_generated or bool(mock.generated)
        key = key_of(mock, leaves)
        if mock.tier is Tier.SESSION:
            self._add_session(ordinal, mock, leaves, key)
            return
        operation = str(leaves.get("/operation", ""))
        self._operations.add(make_operation_key(mock.destination, operation), ordinal)
        if mock.tier is Tier.CASE:
            self._note_made(ordinal, mock, leaves)
            self._add_to_case(ordinal, mock, leaves, key)
        else:
            self._add_outside(ordinal, mock, leaves, key)

    def _note_made(self, ordinal: int, mock: Mock, leaves: Leaves) -> None:
        for path, template in mock.generated.items():
            for class_name, recorded in (
                match_template(template, text_of(leaves.get(path)) or "") or ()
            ):
                if not (is_loose_class(class_name) or class_name.startswith(_NO_ID)):
                    self._made.add(hash_text(recorded), ordinal)

    def is_made(self, value: str) -> bool:
        """Whether a case of the recording made an id (and sent it somewhere)."""
        return len(self._made.find(hash_text(value))) > 0

    @property
    def has_made(self) -> bool:
        """Whether any case made any."""
        return len(self._made) > 0

    def _note_database(self, mock: Mock, identity: Document) -> None:
        if "database" not in identity or mock.tier is Tier.SESSION:
            return
        place, name = mock.destination, identity["database"]
        if name is not None:
            self._databases[place][str(name)] = None
        elif place not in self.vague:
            self.vague.add(place)
            self._is_late = self._is_late or place in self._databases

    def _add_outside(self, ordinal: int, mock: Mock, leaves: Leaves, key: Key) -> None:
        """A call that may be a left-out request's is not for anyone at any time."""
        self.outside.append(ordinal)
        if mock.tier is Tier.STARTUP:
            self.startup.add(ordinal, mock, leaves, key)
        elif mock.candidates:
            self.left_out.append(ordinal)
            for name in mock.candidates:
                self._possible.add(_name_key(name), ordinal)
            self.undecided.add(ordinal, mock, leaves, key)
            self.anywhere.add(ordinal, mock, leaves, key)
        else:
            self.background.add(ordinal, mock, leaves, key)

    def _add_to_case(self, ordinal: int, mock: Mock, leaves: Leaves, key: Key) -> None:
        self.anywhere.add(ordinal, mock, leaves, key)
        owners = [mock.case] if mock.case is not None else mock.candidates
        if owners and self._set_apart.issuperset(owners):
            self.spare.add(ordinal, mock, leaves, key)
            return
        if mock.case is not None:
            self._own.add(_name_key(mock.case), ordinal)
            return
        self.undecided.add(ordinal, mock, leaves, key)
        for name in mock.candidates:
            self._shared.add(_name_key(name), ordinal)

    def _add_session(self, ordinal: int, mock: Mock, leaves: Leaves, key: Key) -> None:
        self.openings.learn(mock)
        if mock.case is not None:
            self._endings.add(_name_key(mock.case), ordinal)
        first = self._fact_connections.setdefault(key, (ordinal, mock.connection))
        if first[0] == ordinal:
            self.session.add(ordinal, mock, leaves, key)
        if first[0] == ordinal or (mock.request.get("pushed") and first[1] == mock.connection):
            self.facts[mock.destination].append(ordinal)

    def _note_columns(self, ordinal: int, mock: Mock) -> None:
        sql = mock.request.get("sql")
        if not isinstance(sql, str) or mock.response is None:
            return
        rank = 2 * (not _has_columns(mock.response)) + (not _has_types(mock))
        key = _sql_key(mock.destination, sql, mock.request.get("database"))
        self._described[rank].add(key, ordinal)

    def own(self, case: str) -> Bucket:
        """The mocks of a case."""
        return self._own.find(_name_key(case))

    def shared(self, case: str) -> Bucket:
        """The mocks that are one of several cases', this one among them."""
        return self._shared.find(_name_key(case))

    def possible(self, case: str) -> Bucket:
        """The mocks that are the case's or those of a request that was left out."""
        return self._possible.find(_name_key(case))

    def session_of(self, case: str) -> Bucket:
        """The session exchanges of a case."""
        return self._endings.find(_name_key(case))

    def find_described(
        self, destination: Endpoint, sql: str, database: str | None = None
    ) -> Mock | None:
        """The mock of the same SQL that tells most: the columns before all, then the types.

        Of those that tell the columns, and of those that do not, the ones of the same database go
        first, then those of an unknown one (a session's have none), then any.
        """
        places = dict.fromkeys((database, None, *self._databases.get(destination, ())))
        keys = [_sql_key(destination, sql, place) for place in places]
        with_columns, without = self._described[:2], self._described[2:]
        found = (
            one
            for tables in (with_columns, without)
            for key in keys
            for table in tables
            for one in table.find(key)
        )
        return next((self.load(ordinal).mock for ordinal in found), None)

    def of_operation(self, destination: Endpoint, operation: str) -> Bucket:
        """The mocks of an operation, ids and numbers apart."""
        return self._operations.find(make_operation_key(destination, operation))

    def samples(self, destination: Endpoint, operation: str) -> list[int]:
        """A few mocks of the same operation."""
        return list(islice(self.of_operation(destination, operation), MOST_SAMPLES))

    def name_of(self, ordinal: int) -> str:
        """The name of a mock."""
        return self._test_set.mock_at(self._offsets[ordinal]).name

    def load(self, ordinal: int) -> Recorded:
        """Reads one mock back."""
        mock = self._test_set.mock_at(self._offsets[ordinal])
        spec = self._get_spec(mock.protocol)
        mock, leaves = self._take_apart(mock, spec.identity(mock.request))
        return Recorded(ordinal, mock, leaves, spec.describe)

    def load_for(self, ordinal: int, call: Call) -> Recorded:
        """Reads one mock back, of which most is put off if it is of the call's very request."""
        if (
            self._packed is not None
            and self._is_literal[ordinal]
            and call.destination not in self.vague
            and (packed := call.packed) is not None
        ):
            response = self._packed.find_response(self._offsets[ordinal], packed)
            if response is not None:
                return Recorded.put_off(ordinal, call, response, self.load)
        return self.load(ordinal)

    def _identify(self, mock: Mock) -> Document:
        return self._get_spec(mock.protocol).identity(mock.request)

    def _take_apart(self, mock: Mock, identity: Document) -> tuple[Mock, Leaves]:
        """A mock's leaves; what is not to be compared is gone from both."""
        whole = leaves_of(identity)
        if mock.destination in self.vague and mock.tier is not Tier.SESSION:
            whole = loosen(whole)
        leaves = self._noise.clean(mock.destination, whole)
        if len(leaves) == len(whole):
            return mock, whole
        kept = {path: name for path, name in mock.generated.items() if path in leaves}
        return replace(mock, generated=kept), leaves

    def __len__(self) -> int:
        return len(self._offsets)


def _has_columns(response: Document) -> bool:
    """Whether a response or a description tells its columns, or that data is to be copied."""
    results = response.get("results", [response])
    if not isinstance(results, list) or not results:
        return False
    return any(results[0].get(name) is not None for name in ("columns", "copy"))


def _has_types(mock: Mock) -> bool:
    """Whether the type of each parameter is known: a client may leave it to the server (0)."""
    response = mock.response or {}
    return all(response.get("parameter_types") or mock.request.get("parameter_types") or ())


def _sql_key(destination: Endpoint, sql: str, database: object) -> Key:
    return make_key(destination, "sql", {"/sql": sql, DATABASE: database})


def _name_key(name: str) -> Key:
    return hash_text(name)
