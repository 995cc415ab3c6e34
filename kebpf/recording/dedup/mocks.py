"""Which mocks stay: those of cases that stay, and of the others what a test can ask for again.

Calls of no case that were made alike and answered alike stay so many times only; what opens a
connection stays once for each thing that was asked, as tests look up no more than that.
"""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict
from dataclasses import replace

from kebpf.recording.dedup.traits import GetSpec
from kebpf.recording.mockfile import pack_document
from kebpf.recording.model import Mock, Tier

MOST_EQUAL = {Tier.STARTUP: 64, Tier.BACKGROUND: 16}
MOST_DIFFERENT = 20_000  # calls of no case: of further ones none is kept
MOST_OUTSIDE = 50_000  # in all
MOST_CANCELS = 1_000
MOST_DECIDED = 10_000  # cases that went, remembered
MOST_PENDING = 10_000  # cases that are to come, remembered

_FACTS = ("startup", "cancel")  # kinds of session exchanges of which each tells something


class MockKeeper:
    """Told of every mock when it is made and of every case when it is decided.

    ``revise`` then says what becomes of a mock.
    """

    def __init__(self, get_spec: GetSpec) -> None:
        self._get_spec = get_spec
        self._kept: set[str] = set()  # cases
        self._gone: OrderedDict[str, None] = OrderedDict()
        self._pending: OrderedDict[str, None] = OrderedDict()
        self._equal: Counter[bytes] = Counter()
        self._facts: dict[bytes, int] = {}  # identities of session exchanges: which connection
        self._outside: set[str] = set()  # mocks that stay though they are of no case

    def add_case(self, name: str) -> None:
        """A case is kept, for now."""
        self._pending.pop(name, None)
        self._kept.add(name)

    def has_case(self, name: str) -> bool:
        """Whether a case is kept, so far."""
        return name in self._kept

    def drop_case(self, name: str) -> None:
        """A case goes, which may have been kept before."""
        self._pending.pop(name, None)
        self._kept.discard(name)
        self._gone[name] = None
        if len(self._gone) > MOST_DECIDED:
            self._gone.popitem(last=False)

    def add_mock(self, mock: Mock) -> bool:
        """Whether the mock is worth writing."""
        for name in _owners(mock):
            if name not in self._kept and name not in self._gone:
                self._pending[name] = None
        while len(self._pending) > MOST_PENDING:
            self._pending.popitem(last=False)
        if mock.tier is Tier.SESSION:
            self._note_session(mock)
        elif mock.tier is not Tier.CASE and not mock.candidates:
            self._note_outside(mock)
        return self._find(mock) is not None

    def revise(self, mock: Mock) -> Mock | None:
        """The mock as it is to be, the same object if it stays, ``None`` if it goes."""
        return self._find(mock)

    def end(self) -> None:
        """What was still to come does not."""
        self._pending.clear()

    def _find(self, mock: Mock) -> Mock | None:
        owners = _owners(mock)
        if not owners:
            return mock if mock.name in self._outside or mock.tier is Tier.CASE else None
        left = [name for name in owners if self._stays(name)]
        if len(left) == len(owners):
            return mock
        if mock.tier is Tier.SESSION:
            return replace(mock, case=None) if mock.name in self._outside else None
        if not left:
            return None
        # it may be the call of one that went: as for requests that were left out
        tier = Tier.BACKGROUND if mock.tier is Tier.CASE else mock.tier
        return replace(mock, tier=tier, candidates=left)

    def _stays(self, name: str) -> bool:
        return name in self._kept or name in self._pending

    def _note_session(self, mock: Mock) -> None:
        """The same that `kebpf.replay.index` looks up: the first of each, and what was pushed."""
        if len(self._outside) >= MOST_OUTSIDE:
            return
        kind = str(mock.request.get("kind"))
        if kind in _FACTS:
            self._equal[kind.encode()] += 1
            if self._equal[kind.encode()] <= MOST_CANCELS:
                self._outside.add(mock.name)
        key = self._hash(mock, self._get_spec(mock.protocol).identity(mock.request))
        if key not in self._facts and len(self._facts) < MOST_DIFFERENT:
            self._facts[key] = mock.connection
            self._outside.add(mock.name)
        elif mock.request.get("pushed") and self._facts.get(key) == mock.connection:
            self._outside.add(mock.name)

    def _note_outside(self, mock: Mock) -> None:
        key = self._hash(mock, [mock.request, mock.response])
        is_full = len(self._outside) >= MOST_OUTSIDE
        if is_full or (key not in self._equal and len(self._equal) >= MOST_DIFFERENT):
            return
        self._equal[key] += 1
        if self._equal[key] <= MOST_EQUAL.get(mock.tier, 1):
            self._outside.add(mock.name)

    def _hash(self, mock: Mock, tree: object) -> bytes:
        place = [mock.tier.value, mock.protocol, str(mock.destination), tree]
        return hashlib.blake2b(pack_document({"key": place}), digest_size=12).digest()


def _owners(mock: Mock) -> list[str]:
    return [mock.case] if mock.case is not None else mock.candidates
