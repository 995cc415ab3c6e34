"""Finds which cases depend on one another, from what was recorded: they belong to one instance.

A case depends on another one that made a value (its response or its calls generated it) if its own
request carries that value: a log-in token, the id of what was created.  It does so too if its
response or its calls carry it and nothing that came in with the case did: then the program kept it.
What the answers to its own calls carry comes with the case wherever it runs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kebpf.protocols.base import ProtocolSpec
from kebpf.protocols.registry import get_protocol
from kebpf.recording import times
from kebpf.recording.loose import is_loose_class
from kebpf.recording.model import Mock, TestCase, Tier
from kebpf.recording.templates import is_time_class, split_time_class
from kebpf.recording.wrapping import PACKED
from kebpf.replay.binding import Pair, pair_tokens, variants
from kebpf.replay.call import leaves_of
from kebpf.replay.nested import open_pair
from kebpf.replay.rewriting import rewrite_tree
from kebpf.replay.substitution import Substitution

GetSpec = Callable[[str], ProtocolSpec]

OF_NO_CASE = ""  # the maker of what the start-up generated: each instance makes it
_FINE_NS = 1_000_000  # coarser times are those of many a case


@dataclass(slots=True)
class _Values:
    """The values of others that a case's request, answers to its calls, and own doing carry."""

    asked: set[str] = field(default_factory=set)
    given: set[str] = field(default_factory=set)
    shown: set[str] = field(default_factory=set)

    def needed(self) -> set[str]:
        return self.asked | (self.shown - self.given)


class _Groups:
    """Sets that are joined: a forest in which each name points towards its group's first."""

    def __init__(self, names: Iterable[str]) -> None:
        self._parents = {name: name for name in names}

    def find(self, name: str) -> str:
        while self._parents[name] != name:
            self._parents[name] = name = self._parents[self._parents[name]]
        return name

    def join(self, names: Iterable[str]) -> None:
        known = [self.find(name) for name in names if name in self._parents]
        for root in known[1:]:
            self._parents[self.find(root)] = self.find(known[0])


class _Makers:
    """Which case made each generated value: the first that did."""

    def __init__(self) -> None:
        self._values = Substitution()
        self._times: dict[int, str] = {}

    def learn(self, maker: str, pairs: Iterable[Pair]) -> None:
        """Takes the values that ``maker`` generated; who came first stays."""
        for class_name, value, _ in pairs:
            if is_loose_class(class_name) or class_name.split(" ")[0] in PACKED:
                continue
            if not is_time_class(class_name):
                for spelling, _ in variants(class_name, value, value):
                    if spelling not in self._values.values:
                        self._values.add(spelling, f"{maker}\0{value}")
                continue
            moment = _read_moment(class_name, value)
            if moment is not None:
                self._times.setdefault(moment, maker)

    def find_in(self, tree: Any) -> set[str]:
        """The values in a document that a case made, each as ``maker NUL value``."""
        found: set[str] = set()

        def look(text: str) -> str:
            found.update(self._values.find_replacements(text))
            return text

        rewrite_tree(tree, look)
        return found

    def find_seen(self, pairs: Iterable[Pair]) -> Iterator[str]:
        """The times in a document that were made earlier, by their templates."""
        for class_name, value, _ in pairs:
            if class_name.startswith("seen:") and is_time_class(class_name):
                moment = _read_moment(class_name, value)
                if moment in self._times:
                    yield f"{self._times[moment]}\0{value}"


def _read_moment(class_name: str, text: str) -> int | None:
    """A time as microseconds; ``None`` where it is too coarse to be known again."""
    value = times.parse_in_format(text, split_time_class(class_name)[0])
    if value is None or value.resolution_ns >= _FINE_NS:
        return None
    return value.time_ns // 1000


def list_generated(tree: Any, generated: Mapping[str, str]) -> list[Pair]:
    """The generated values of a document, those within tokens that say something too."""
    if not generated:
        return []
    leaves = leaves_of(tree)
    pairs: list[Pair] = []
    for path, template in generated.items():
        value = leaves.get(path)
        for pair in pair_tokens(template, value, value) or []:
            pairs += _open(pair)
    return pairs


def _open(pair: Pair) -> list[Pair]:
    inner = open_pair(pair, _as_it_is, pair_tokens) or []
    return [pair, *(deeper for one in inner for deeper in _open(one))]


def _as_it_is(tree: Any) -> Any:
    return tree


def group_cases(
    cases: Sequence[TestCase],
    mocks: Callable[[], Iterable[Mock]],
    get_spec: GetSpec = get_protocol,
) -> list[list[TestCase]]:
    """The cases in groups that do not depend on one another; the order of ``cases`` is kept.

    ``mocks`` gives all mocks of the test set each time it is called; they are not held.
    """
    makers = _learn_makers(cases, mocks, get_spec)
    groups = _Groups(case.name for case in cases)
    values = _gather_values(cases, mocks, get_spec, makers)
    for name, one in values.items():
        groups.join([name, *(value.partition("\0")[0] for value in one.needed())])
    for case in cases:
        groups.join([case.name, *case.needs])
    for names in _find_undecided(mocks, get_spec):
        groups.join(names)
    found: dict[str, list[TestCase]] = defaultdict(list)
    for case in cases:
        found[groups.find(case.name)].append(case)
    return list(found.values())


def _find_undecided(
    mocks: Callable[[], Iterable[Mock]], get_spec: GetSpec
) -> Iterator[Iterable[str]]:
    """The cases that may have made equal calls with unequal answers.

    Nothing but the order of the recording says who was given which.
    """
    answers: dict[int, set[int]] = defaultdict(set)
    names: dict[int, dict[str, None]] = defaultdict(dict)
    for mock in mocks():
        if mock.tier is Tier.CASE and mock.case is None:
            leaves = leaves_of(get_spec(mock.protocol).identity(mock.request))
            asked = [(path, one) for path, one in leaves.items() if path not in mock.generated]
            key = hash(repr((mock.destination, sorted(asked, key=repr))))
            answers[key].add(hash(repr(mock.response)))
            names[key].update(dict.fromkeys(mock.candidates))
    return (each for key, each in names.items() if len(answers[key]) > 1)


def _learn_makers(
    cases: Sequence[TestCase], mocks: Callable[[], Iterable[Mock]], get_spec: GetSpec
) -> _Makers:
    made: dict[str, list[Pair]] = {OF_NO_CASE: []}
    perhaps: list[tuple[str, list[Pair]]] = []  # by one of several cases
    order = sorted(cases, key=lambda case: case.order)
    for case in order:
        made[case.name] = list_generated(
            get_spec(case.protocol).view(case.response), case.generated
        )
    for mock in mocks():
        if not mock.generated:
            continue
        pairs = list_generated(get_spec(mock.protocol).identity(mock.request), mock.generated)
        if mock.tier is Tier.STARTUP:
            made[OF_NO_CASE] += pairs
        elif mock.case in made:
            made[mock.case] += pairs
        elif mock.case is None and mock.candidates:
            perhaps.append((mock.candidates[0], pairs))
    makers = _Makers()
    for name in (OF_NO_CASE, *(case.name for case in order)):
        makers.learn(name, made[name])
    for name, pairs in perhaps:
        makers.learn(name, pairs)
    return makers


def _gather_values(
    cases: Sequence[TestCase],
    mocks: Callable[[], Iterable[Mock]],
    get_spec: GetSpec,
    makers: _Makers,
) -> dict[str, _Values]:
    values: dict[str, _Values] = {}
    for case in cases:
        view = get_spec(case.protocol).view(case.response)
        seen = makers.find_seen(list_generated(view, case.generated))
        shown = makers.find_in(view).union(seen)
        values[case.name] = _Values(makers.find_in(case.request), set(), shown)
    for mock in mocks():
        for name in [mock.case] if mock.case is not None else mock.candidates:
            if name in values:
                one = values[name]
                one.shown |= makers.find_in(mock.request)
                one.given |= makers.find_in(mock.response)
    return values
