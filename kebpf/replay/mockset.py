"""The mocks of test sets without their cases, and the choice among them, each served once."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from itertools import islice

from kebpf.protocols.base import Document, Miss, ProtocolSpec
from kebpf.protocols.registry import get_protocol
from kebpf.recording.model import Mock, TestCase, Tier
from kebpf.recording.times import SECOND_NS, Window
from kebpf.replay.answers import are_equal, owners_of
from kebpf.replay.binding import Bindings
from kebpf.replay.call import Call, Key, make_key
from kebpf.replay.case_calls import CaseCalls
from kebpf.replay.events import Mismatch, MissKind
from kebpf.replay.index import (
    MOST_VERIFIED,
    Group,
    MockIndex,
    MockSource,
    PackedSource,
    Recorded,
)
from kebpf.replay.matcher import Matcher
from kebpf.replay.noise import Noise
from kebpf.replay.strays import Stray

MOST_MISSES = 1000  # different ones kept; of the others only the number is
LONGEST_RUN_NS = 366 * 86400 * SECOND_NS  # a command may run for as long as it likes


@dataclass(frozen=True, slots=True)
class MissedCall:
    """A call without an answer, and the sentence it got instead.

    ``cause`` is ``None`` where there was no call, only a connection that could not be served;
    ``nearest`` is the recorded call most like it, ``fields`` in what the two differ.
    """

    destination: str
    protocol: str
    reason: str
    call: str = field(default="", compare=False)
    cause: MissKind | None = field(default=None, compare=False)
    nearest: str | None = field(default=None, compare=False)
    fields: tuple[Mismatch, ...] = field(default=(), compare=False)


class FreeMocks:
    """The mocks of several sets, one set after the other, as if no case had caused them.

    With ``cases``, names or globs, those of other cases are left out; what no case caused (the
    start-up, the background) may then still answer, but need not be used: it is ``optional``.
    """

    def __init__(self, sets: Sequence[MockSource], cases: Sequence[str] = ()) -> None:
        self._sets = sets
        self._packed = [one if isinstance(one, PackedSource) else None for one in sets]
        self._patterns = cases
        self._offsets = array("q")
        self._starts: list[int] = []  # the first number of each set
        self.optional: set[int] = set()

    def cases(self) -> list[TestCase]:
        """None: nothing is sent."""
        return []

    def iter_mocks(self) -> Iterator[tuple[int, Mock]]:
        """Every mock with the number at which `mock_at` finds it again."""
        self._offsets = array("q")
        self._starts = []
        self.optional.clear()
        for one in self._sets:
            self._starts.append(len(self._offsets))
            for offset, mock in one.iter_mocks():
                if not self._is_wanted(mock):
                    continue
                number = len(self._offsets)
                self._offsets.append(offset)
                if self._is_optional(mock):
                    self.optional.add(number)
                yield number, self._free(mock)

    def _is_wanted(self, mock: Mock) -> bool:
        if not self._patterns or mock.tier is Tier.SESSION:
            return True
        owners = owners_of(mock)
        return not owners or any(is_named(owner, self._patterns) for owner in owners)

    def mock_at(self, offset: int) -> Mock:
        """The mock at a number."""
        at = bisect_right(self._starts, offset) - 1
        return self._free(self._sets[at].mock_at(self._offsets[offset]))

    def find_response(self, offset: int, packed: bytes) -> Document | None:
        """The response of the mock at a number, if its request is just that."""
        at = bisect_right(self._starts, offset) - 1
        source = self._packed[at]
        return None if source is None else source.find_response(self._offsets[offset], packed)

    def _is_optional(self, mock: Mock) -> bool:
        return bool(self._patterns) and mock.tier is not Tier.SESSION and not owners_of(mock)

    def _free(self, mock: Mock) -> Mock:
        """The two tiers are no more than two groups here: what is asked for, what is optional."""
        if mock.tier is Tier.SESSION:
            return mock
        tier = Tier.STARTUP if self._is_optional(mock) else Tier.BACKGROUND
        return Mock(
            name=mock.name,
            protocol=mock.protocol,
            destination=mock.destination,
            request=mock.request,
            response=mock.response,
            timing=mock.timing,
            tier=tier,
            connection=mock.connection,
            evidence=mock.evidence,
            generated=mock.generated,
            calls=mock.calls,
            tls=mock.tls,
        )


def is_named(name: str, patterns: Sequence[str]) -> bool:
    """Whether one of the patterns is a name, or a glob for it."""
    return any(name == one or fnmatchcase(name, one) for one in patterns)


class MockMatcher(Matcher):
    """Serves every mock once, equal calls in recorded order, and no call without end.

    A read made more often than it was recorded is answered if all its recorded answers, however
    many, are equal.  Values that the recorded program generated are bound to those of this one.
    """

    def __init__(
        self,
        mocks: FreeMocks,
        get_spec: Callable[[str], ProtocolSpec] = get_protocol,
        watch: Callable[[Mock], None] | None = None,
        noise: Noise | None = None,
        index: MockIndex | None = None,
    ) -> None:
        super().__init__(mocks, Bindings(), get_spec, watch=watch, noise=noise, index=index)
        self.bindings.has_ids = self.index.has_generated
        self._optional = mocks.optional
        self._one_answer: dict[Key, bool] = {}
        self._stray: Stray | None = None  # of the call now being answered
        self.calls = 0  # those of sessions too
        self.missed = 0
        self.misses: Counter[MissedCall] = Counter()

    def begin_run(self, now_ns: int) -> None:
        """The program starts: times that it makes are not before ``now_ns``."""
        self.begin_case(None, now_ns)
        self._current = CaseCalls(None, Window(now_ns, now_ns + LONGEST_RUN_NS))

    def find(self, call: Call) -> Recorded | None:
        """The first mock left that answers the call, one that need not be used last."""
        index = self.index
        for group in self._groups(index):
            item = self._first(group, call, self._is_unused)
            if item is not None:
                return item
        return None

    def is_due(self, call: Call) -> bool:
        """Always: nothing else runs for which a call could wait."""
        return True

    @staticmethod
    def _groups(index: MockIndex) -> tuple[Group, Group]:
        """Of optional mocks and the others, the others first."""
        return index.background, index.startup

    def _known_anywhere(self, call: Call, most: int | None = MOST_VERIFIED) -> Iterator[Recorded]:
        for group in self._groups(self.index):
            yield from self._known(group, call, most=most)

    def find_known(self, call: Call) -> list[Recorded]:
        """Some of the call's mocks, all of which are used up."""
        known = self._known_anywhere(call)
        return [item for item in known if self._used[item.ordinal]][:MOST_VERIFIED]

    def has_one_answer(self, call: Call, known: list[Recorded]) -> bool:
        """Whether all mocks of the call, not only the ``known``, hold the same response."""
        key = make_key(call.destination, call.protocol, call.recorded)
        if key not in self._one_answer:
            self._one_answer[key] = are_equal(self._known_anywhere(call, most=None))
        return self._one_answer[key]

    def note_made(self, call: Call, case: str | None) -> None:
        """Nothing: no call is asserted, so none is ever left out for one that was made."""

    def note_answer(self) -> None:
        """A call was answered, if only with a miss."""
        self.calls += 1
        super().note_answer()

    def note_stray(self, stray: Stray) -> None:
        """Is no finding: who runs a command on mocks may call as often as there are answers."""
        self._stray = stray

    def count_miss(self, call: Call, miss: Miss) -> None:
        """A call got no answer but ``miss``."""
        super().count_miss(call, miss)
        missed = MissedCall(str(call.destination), call.protocol, miss.reason, call.description)
        stray, self._stray = self._stray, None
        if stray is not None and stray.call is call:
            fields = tuple(stray.fields)
            missed = replace(missed, cause=stray.miss, nearest=stray.nearest, fields=fields)
        self.note_miss(missed)

    def note_miss(self, missed: MissedCall) -> None:
        """Counts something that was not answered."""
        self.missed += 1
        if missed in self.misses or len(self.misses) < MOST_MISSES:
            self.misses[missed] += 1

    @property
    def answered(self) -> int:
        """How many calls got a recorded answer, or one of their session."""
        return self.calls - self._misses

    @property
    def total(self) -> int:
        """How many mocks there are to serve, those of sessions and optional ones aside."""
        return len(self.index.outside) - len(self._optional)

    @property
    def used(self) -> int:
        """How many of them were served."""
        return sum(self._used[ordinal] for ordinal in self._asked_for())

    def _asked_for(self) -> Iterator[int]:
        return (one for one in self.index.outside if one not in self._optional)

    def list_unused(self, most: int) -> list[str]:
        """The first of those that were not served, in recorded order, as one line each."""
        unused = (one for one in self._asked_for() if not self._used[one])
        return [self.index.load(one).description for one in islice(unused, most)]
