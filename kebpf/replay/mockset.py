"""The mocks of test sets without their cases, and the choice among them, each served once."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from kebpf.protocols.base import Miss, ProtocolSpec
from kebpf.protocols.registry import get_protocol
from kebpf.recording.model import Mock, TestCase, Tier
from kebpf.replay.answers import are_equal
from kebpf.replay.binding import Bindings
from kebpf.replay.call import Call, Key, make_key
from kebpf.replay.index import MOST_VERIFIED, MockSource, Recorded
from kebpf.replay.matcher import Matcher

MOST_MISSES = 1000  # different ones kept; of the others only the number is


@dataclass(frozen=True, slots=True)
class MissedCall:
    """A call without an answer, and the sentence it got instead."""

    destination: str
    protocol: str
    reason: str


class FreeMocks:
    """The mocks of several sets, one set after the other, as if no case had caused them."""

    def __init__(self, sets: Sequence[MockSource]) -> None:
        self._sets = sets
        self._offsets = array("q")
        self._starts: list[int] = []  # the first number of each set

    def cases(self) -> list[TestCase]:
        """None: nothing is sent."""
        return []

    def iter_mocks(self) -> Iterator[tuple[int, Mock]]:
        """Every mock with the number at which `mock_at` finds it again."""
        self._offsets = array("q")
        self._starts = []
        for one in self._sets:
            self._starts.append(len(self._offsets))
            for offset, mock in one.iter_mocks():
                self._offsets.append(offset)
                yield len(self._offsets) - 1, _free(mock)

    def mock_at(self, offset: int) -> Mock:
        """The mock at a number."""
        one = self._sets[bisect_right(self._starts, offset) - 1]
        return _free(one.mock_at(self._offsets[offset]))


def _free(mock: Mock) -> Mock:
    if mock.tier is Tier.SESSION:
        return mock
    return Mock(
        name=mock.name,
        protocol=mock.protocol,
        destination=mock.destination,
        request=mock.request,
        response=mock.response,
        timing=mock.timing,
        tier=Tier.BACKGROUND,
        connection=mock.connection,
        evidence=mock.evidence,
        generated=mock.generated,
        calls=mock.calls,
    )


class MockMatcher(Matcher):
    """Serves every mock once, equal calls in recorded order, and no call without end.

    A read made more often than it was recorded is answered if all its recorded answers, however
    many, are equal.
    """

    def __init__(
        self,
        mocks: FreeMocks,
        get_spec: Callable[[str], ProtocolSpec] = get_protocol,
        watch: Callable[[Mock], None] | None = None,
    ) -> None:
        super().__init__(mocks, Bindings(), get_spec, watch=watch)
        self.bindings.has_ids = self.index.has_generated
        self._one_answer: dict[Key, bool] = {}
        self.calls = 0  # those of sessions too
        self.missed = 0
        self.misses: Counter[MissedCall] = Counter()

    def find(self, call: Call) -> Recorded | None:
        """The first mock left that answers the call."""
        return self._first(self.index.background, call, self._is_unused)

    def find_known(self, call: Call) -> list[Recorded]:
        """Some of the call's mocks, all of which are used up."""
        known = self._known(self.index.background, call)
        return [item for item in known if self._used[item.ordinal]][:MOST_VERIFIED]

    def has_one_answer(self, call: Call, known: list[Recorded]) -> bool:
        """Whether all mocks of the call, not only the ``known``, hold the same response."""
        key = make_key(call.destination, call.protocol, call.recorded)
        if key not in self._one_answer:
            everyone = self._known(self.index.background, call, most=None)
            self._one_answer[key] = are_equal(everyone)
        return self._one_answer[key]

    def note_made(self, call: Call, case: str | None) -> None:
        """Nothing: no call is asserted, so none is ever left out for one that was made."""

    def note_answer(self) -> None:
        """A call was answered, if only with a miss."""
        self.calls += 1
        super().note_answer()

    def count_miss(self, call: Call, miss: Miss) -> None:
        """A call got no answer but ``miss``."""
        super().count_miss(call, miss)
        self.note_miss(MissedCall(str(call.destination), call.protocol, miss.reason))

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
        """How many mocks there are to serve, those of sessions aside."""
        return len(self.index.outside)

    @property
    def used(self) -> int:
        """How many of them were served."""
        return sum(self._used[ordinal] for ordinal in self.index.outside)
