"""Which case made which of the calls that the recording could not tell apart; can be re-done.

Equal mocks with equal answers are interchangeable, so which of them a case used says nothing.
If a case finds none left, a case before it may have used the one it needs while another, which
only that case could have used, is still there: then both change places, along a chain of any
length (an augmenting path of a bipartite matching).  What is served is always a mock that was not
served yet; only the account of who made which call is re-done.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from kebpf.recording.model import Tier
from kebpf.recording.templates import match_template
from kebpf.recording.values import text_of
from kebpf.replay.call import Key, hash_text
from kebpf.replay.equality import answer_of
from kebpf.replay.index import Recorded

Node = tuple[str, Key]  # a case, and the answer that its call got or is to get


@dataclass(frozen=True, slots=True)
class Undecided:
    """What is kept of a mock that one of several cases made."""

    candidates: tuple[str, ...]
    answer: Key
    is_asserted: bool  # not so if a request that was left out may have made it


class Assignments:
    """The cases that made the undecided calls of one run."""

    def __init__(self, load: Callable[[int], Recorded]) -> None:
        self._load = load
        self._callers: dict[int, str] = {}  # by ordinal
        self._pools: dict[int, _Pool] = {}  # by the first ordinal of a bucket
        self._plans: dict[int, dict[int, str]] = {}  # free mock → the account if it is served

    def note(self, ordinal: int, case: str) -> None:
        """A case was served a mock: one it is a candidate of, or one `find_place` gave."""
        self._callers.update(self._plans.get(ordinal, {ordinal: case}))
        self._plans.clear()

    def callers(self, ordinals: Iterable[int]) -> list[str]:
        """The cases that used some mocks, each once."""
        found = (self._callers.get(ordinal) for ordinal in ordinals)
        return list(dict.fromkeys(name for name in found if name is not None))

    def count(self, case: str | None, ordinals: Iterable[int]) -> int:
        """How many of some mocks a case used."""
        return sum(case is not None and self._callers.get(one) == case for one in ordinals)

    def find_place(
        self, bucket: Iterable[int], case: str, fits: Callable[[Recorded], bool]
    ) -> Recorded | None:
        """The mock to serve if one of ``case`` can be freed by changing places; changes nothing.

        ``fits`` says whether a mock that was not used yet can be served now.
        """
        pool = self._pool(bucket)
        for node in dict.fromkeys((case, pool.known[one].answer) for one in pool.of_case[case]):
            found = self._search(pool, node, fits)
            if found is not None:
                return found
        return None

    def _search(
        self, pool: _Pool, start: Node, fits: Callable[[Recorded], bool]
    ) -> Recorded | None:
        """Looks breadth first for a mock nobody used; what can be reached in vain is kept."""
        answer = start[1]
        reached: dict[str, int] = {start[0]: -1}  # case → its mock that another would take
        taken_for: dict[int, str] = {}  # mock → the case that would take it
        queue, is_certain = deque([start[0]]), True
        while queue:
            case = queue.popleft()
            if (case, answer) in pool.exhausted:
                continue
            for ordinal in pool.usable(case, answer):
                if ordinal in taken_for:
                    continue
                taken_for[ordinal] = case
                caller = self._callers.get(ordinal)
                if caller is not None:
                    if caller not in reached:
                        reached[caller] = ordinal
                        queue.append(caller)
                    continue
                item = self._load(ordinal)
                if fits(item):
                    self._plans = {ordinal: dict(_walk_back(ordinal, taken_for, reached))}
                    return item
                is_certain = False
        if is_certain:
            pool.exhausted.update((case, answer) for case in reached)
        return None

    def cover(
        self, bucket: Iterable[int], missing: int, is_judged: Callable[[tuple[str, ...]], bool]
    ) -> int | None:
        """Finds a call for a mock that nobody used, if need be by changing places.

        Gives the mock that is left without in its place, which nobody need have used:
        ``is_judged`` says of whose candidates somebody must.  ``None``: the call was not made.
        """
        pool = self._pool(bucket)
        came_from: dict[int, int] = {}  # used mock → the mock its call could be instead
        queue = deque([missing])
        while queue:
            wanting = queue.popleft()
            for ordinal in pool.made_by(pool.known[wanting].candidates, self._callers):
                if ordinal in came_from or ordinal == missing or ordinal in pool.needed:
                    continue
                came_from[ordinal] = wanting
                known = pool.known[ordinal]
                if not (known.is_asserted and is_judged(known.candidates)):
                    self._hand_over(ordinal, came_from, missing)
                    return ordinal
                queue.append(ordinal)
        pool.needed.update(came_from)
        return None

    def _hand_over(self, spare: int, came_from: dict[int, int], missing: int) -> None:
        ordinal, case = spare, self._callers.pop(spare)
        while ordinal != missing:
            ordinal = came_from[ordinal]
            previous = self._callers.get(ordinal, "")
            self._callers[ordinal], case = case, previous

    def _pool(self, bucket: Iterable[int]) -> _Pool:
        ordinals = list(bucket)
        pool = self._pools.get(ordinals[0])
        if pool is None:
            pool = self._pools[ordinals[0]] = _Pool(self._load(one) for one in ordinals)
        return pool


def _walk_back(
    free: int, taken_for: dict[int, str], reached: dict[str, int]
) -> Iterator[tuple[int, str]]:
    """``free`` goes to who would take it, what that case had to the next, and so on."""
    ordinal = free
    while ordinal != -1:
        case = taken_for[ordinal]
        yield ordinal, case
        ordinal = reached[case]


class _Pool:
    """The undecided mocks of one identity."""

    def __init__(self, items: Iterable[Recorded]) -> None:
        self.known: dict[int, Undecided] = {}
        self.of_case: dict[str, list[int]] = defaultdict(list)
        self.exhausted: set[Node] = set()  # from which nothing free can be reached any more
        self.needed: set[int] = set()  # whose call cannot be spared
        candidates: dict[tuple[str, ...], tuple[str, ...]] = {}  # equal ones are kept once
        for item in items:
            names = tuple(item.mock.candidates)
            names = candidates.setdefault(names, names)
            is_asserted = item.mock.tier is Tier.CASE
            self.known[item.ordinal] = Undecided(names, answer_key(item), is_asserted)
            for name in names:
                self.of_case[name].append(item.ordinal)

    def usable(self, case: str, answer: Key) -> Iterator[int]:
        """The mocks that a case may have made and that have one answer."""
        return (one for one in self.of_case[case] if self.known[one].answer == answer)

    def made_by(self, cases: Iterable[str], callers: dict[int, str]) -> Iterator[int]:
        """The mocks that one of the cases used."""
        for case in cases:
            yield from (one for one in self.of_case[case] if callers.get(one) == case)


def answer_key(item: Recorded) -> Key:
    """Equal for equal answers; values that the request generated stand for each other."""
    text = repr(sorted(answer_of(item.mock).items(), key=lambda pair: pair[0]))
    for number, token in enumerate(_tokens(item)):
        text = text.replace(token, f"\0{number}")
    return hash_text(text)


def _tokens(item: Recorded) -> list[str]:
    found: dict[str, None] = {}
    for path, template in sorted(item.mock.generated.items()):
        text = text_of(item.leaves.get(path))
        pairs = match_template(template, text) if text is not None else None
        found.update((token, None) for _, token in pairs or ())
    return list(found)
