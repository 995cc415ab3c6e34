"""Chooses among the calls of no case: those of the start-up and of background work.

Background work is done as often as it comes; what it is to do is handed to it.  The answer that
hands out what a case made (the id of a job that it queued) is given once that case has made it in
this run, and once; until then the work is told what it is told when there is nothing to do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import chain, islice

from kebpf.protocols.base import Document
from kebpf.recording.times import UNHURRIED_NS, Window
from kebpf.recording.values import text_of, walk_scalars
from kebpf.replay.binding import Bindings
from kebpf.replay.call import Call
from kebpf.replay.case_calls import pair_call
from kebpf.replay.index import MOST_VERIFIED, Group, MockIndex, Recorded

MOST_SEARCHED = 1024  # mocks alike but for what was made, among which a call is looked for
MOST_LOOKED_AT = 64 * 1024  # characters of one text of an answer

_WORD = re.compile(r"[\w-]{8,}")  # of which one may be an id


class Outside:
    """The mocks of no case of one run."""

    def __init__(
        self, index: MockIndex, bindings: Bindings, is_unused: Callable[[int], bool]
    ) -> None:
        self._index = index
        self._bindings = bindings
        self._is_unused = is_unused
        self._handed: dict[int, tuple[str, ...]] = {}  # what an answer hands out, where asked

    def find(self, call: Call, window: Window, has_begun: bool) -> Recorded | None:
        """The mock that answers the call, without using it up; ``window`` is the case's."""
        startup, background = self._index.startup, self._index.background
        wide = widen(window)
        found = self._next(startup, call, wide)
        endless = [background] if has_begun else [startup, background]
        if found is None and not has_begun:
            found = self._again(startup, call, wide)
        found = found or self._next(background, call, wide) or self._again(background, call, wide)
        if found is not None:
            return found
        undue = filter(self._is_unused_mock, self._known(startup, call))  # who asks gets something
        return next(undue, None) or next(chain(*(self._known(one, call) for one in endless)), None)

    def is_due(self, call: Call, window: Window) -> bool:
        """Whether a call can be answered that waits for its answer: no, while none is left to
        give that was recorded, or a case has first to make what it hands out.
        """
        groups, wide = (self._index.startup, self._index.background), widen(window)
        if any(self._next(group, call, wide) is not None for group in groups):
            return True
        return not any(any(self._known(group, call)) for group in groups)

    def _next(self, group: Group, call: Call, window: Window) -> Recorded | None:
        """The first that was not used yet, of those that hand something out and can before all."""
        rest: Recorded | None = None
        for bucket in group.buckets(call):
            for ordinal in islice(bucket.usable(self._is_unused), MOST_SEARCHED):
                handed = self._handed_by(ordinal)
                if not all(map(self._bindings.is_met, handed)) or (rest and not handed):
                    continue
                item = self._index.load(ordinal)
                if not self._fits(item, call, window):
                    continue
                if handed:
                    return item
                if not self._index.has_made:
                    return item
                rest = item
        return rest

    def _again(self, group: Group, call: Call, window: Window) -> Recorded | None:
        """What is given without end: an answer about the same values before others, none that
        hands something out.
        """
        rest: Recorded | None = None
        for item in self._known(group, call):
            if self._handed_by(item.ordinal):
                continue
            if self._fits(item, call, window):
                return item
            rest = rest or item
        return rest

    def _known(self, group: Group, call: Call) -> Iterator[Recorded]:
        """Mocks with the call's identity, used or not, whatever their values are bound to."""
        for bucket in group.buckets(call):
            items = map(self._index.load, islice(reversed(bucket), MOST_SEARCHED))
            same = (item for item in items if pair_call(item, call) is not None)
            yield from islice(same, MOST_VERIFIED)

    def _is_unused_mock(self, item: Recorded) -> bool:
        return self._is_unused(item.ordinal)

    def _fits(self, item: Recorded, call: Call, window: Window) -> bool:
        pairs = pair_call(item, call)
        return pairs is not None and (not pairs or self._bindings.fits(pairs, window))

    def _handed_by(self, ordinal: int) -> tuple[str, ...]:
        """The values in an answer that cases of the recording made."""
        if not self._index.has_made:
            return ()
        if ordinal not in self._handed:
            words = find_words(self._index.load(ordinal).mock.response)
            self._handed[ordinal] = tuple(filter(self._index.is_made, words))
        return self._handed[ordinal]


def widen(window: Window) -> Window:
    """The time in which a call of no case can have read the clock."""
    return Window(window.start_ns - UNHURRIED_NS, window.end_ns)


def find_words(response: Document | None) -> list[str]:
    """The words of an answer that may be ids, each once."""
    texts = (text_of(value) for _, value in walk_scalars(response))
    words = (word for text in texts if text for word in _WORD.findall(text[:MOST_LOOKED_AT]))
    return list(dict.fromkeys(words))
