"""Random texts a program makes, short ones too, told by the place they first stand at.

One of ten characters alone may be anything, and one of twenty may happen to look like words.  But
where all that is ever seen at one place is made by the program, never twice the same, always of
one length, at no position the same and, put one behind the other, as random as a long token, it
is generated.  Until a place has proved this, and once it is refuted, what stands there is literal.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from kebpf.recording.randomness import is_random
from kebpf.recording.templates import write_charset
from kebpf.recording.values import Token

LEAST_SIZE = 8  # characters
PROOFS_NEEDED = 4  # different values
PROOFS_KEPT = 40
VALUES_CAP = 20_000  # remembered
PLACES_CAP = 5_000  # remembered
MOST_READ = 64 << 10  # characters of a text that came in
CONTEXT_SIZE = 8  # characters before a value that belong to its place

_CACHED_SIZE = 64  # characters of a text whose runs are worth remembering

_SHORT = re.compile(
    r"(?<![0-9A-Za-z])(?<!-[0-9A-Fa-f]{4}-)"  # nor the end of a UUID, nor its beginning
    r"(?![0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-)(?!\d+(?![0-9A-Za-z]))[0-9A-Za-z]{8,19}(?![0-9A-Za-z])",
    re.ASCII,
)
_LONG = re.compile(
    r"(?<![\w-])(?![0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3})(?=\w*-|\w*[A-Za-z])[\w-]{20,40}(?![\w-])",
    re.ASCII,
)
_CODED = re.compile(  # base64 without its padding, and not of both shapes above
    r"(?<![\w+/=-])(?=[A-Za-z0-9]*[+/])[A-Za-z0-9+/]{16,44}(?=={0,2}(?![\w+/=-]))", re.ASCII
)
_INDEX = re.compile(r"/\d+(?=/|\Z)")

Place = tuple[Hashable, str, str, str]  # the last: the shape of what stands there


@dataclass(slots=True)
class _Value:
    """When a text was first seen, where, and what else is known of it; 0 is never."""

    made_ns: int = 0
    home: Place | None = None
    again_ns: int = 0
    came_ns: int = 0

    @property
    def is_made(self) -> bool:
        """Whether it came in only after it was made, and stood at its place again only then."""
        if self.came_ns and self.came_ns <= self.made_ns:
            return False
        return not self.again_ns or (bool(self.came_ns) and self.came_ns <= self.again_ns)


@dataclass(slots=True)
class _Evidence:
    """The first values of a place; ``charset`` once it is proved."""

    values: OrderedDict[str, None] = field(default_factory=OrderedDict)
    charset: str = ""


class Slugs:
    """Learns from messages in any order, as each is told with its time."""

    def __init__(self) -> None:
        self._values: OrderedDict[str, _Value] = OrderedDict()
        self._places: OrderedDict[Place, _Evidence] = OrderedDict()
        self._unjudged: set[Place] = set()
        self._proved: set[Place] = set()

    def take(self, texts: Iterable[str], time_ns: int) -> None:
        """Texts that came in, in lower case."""
        for text in texts:
            for run in _find_runs(text[:MOST_READ]):
                value = self._remember(run.text)
                if not value.came_ns or time_ns < value.came_ns:
                    value.came_ns = time_ns
                    self._judge_later(value.home)

    def learn(self, origin: Hashable, texts: Iterable[tuple[str, str]], time_ns: int) -> None:
        """The texts of a message that was sent, with their JSON pointers.

        ``origin`` is the operation or the route.
        """
        for path, text in texts:
            for run in _find_runs(text):
                before = text[max(run.start - CONTEXT_SIZE, 0) : run.start]
                place = (origin, _INDEX.sub("/#", path), before, run.shape)
                self._note_made(run.text, place, time_ns)

    def find(self, text: str) -> Iterator[Token]:
        """The short random values of a text."""
        self._judge()
        if not self._proved:
            return
        end = 0
        for run in sorted(_find_runs(text), key=_span_of):
            value = self._values.get(run.text.lower())
            if run.start < end or value is None:
                continue
            if value.home in self._proved and value.is_made:
                end = run.end
                class_name = f"{self._places[value.home].charset}:{len(run.text)}"
                yield Token(run.start, end, class_name, run.text)

    @property
    def is_known(self) -> bool:
        """Whether any place has proved itself."""
        self._judge()
        return bool(self._proved)

    def _note_made(self, text: str, place: Place, time_ns: int) -> None:
        value = self._remember(text.lower())
        if value.home is None or time_ns < value.made_ns:
            is_same = value.home == place
            value.again_ns = value.made_ns if is_same else 0
            if value.home is not None and not is_same:
                self._leave(text, value.home)
            value.home, value.made_ns = place, time_ns
            self._enter(text, place)
        elif place == value.home and time_ns > value.made_ns:
            value.again_ns = min(value.again_ns or time_ns, time_ns)
            self._judge_later(place)

    def _remember(self, text: str) -> _Value:
        value = self._values.setdefault(text, _Value())
        self._values.move_to_end(text)
        if len(self._values) > VALUES_CAP:
            self._values.popitem(last=False)
        return value

    def _enter(self, text: str, place: Place) -> None:
        evidence = self._places.setdefault(place, _Evidence())
        self._places.move_to_end(place)
        if len(self._places) > PLACES_CAP:
            self._proved.discard(self._places.popitem(last=False)[0])
        if len(evidence.values) < PROOFS_KEPT:
            evidence.values[text] = None
            self._judge_later(place)

    def _leave(self, text: str, place: Place) -> None:
        if place in self._places:
            self._places[place].values.pop(text, None)
            self._judge_later(place)

    def _judge_later(self, place: Place | None) -> None:
        if place is not None:
            self._unjudged.add(place)

    def _judge(self) -> None:
        while self._unjudged:
            place = self._unjudged.pop()
            evidence = self._places.get(place)
            if evidence is None:
                continue
            known = [(text, self._values.get(text.lower())) for text in evidence.values]
            made = all(value is None or value.is_made for _, value in known)
            texts = [text for text, _ in sorted(known, key=_time_of)]
            if made and look_drawn(texts):
                evidence.charset = write_charset(texts)
                self._proved.add(place)
            else:
                self._proved.discard(place)


class _Run(NamedTuple):
    """A piece of a text, and the pattern it has the shape of."""

    start: int
    end: int
    text: str
    shape: str


def _find_runs(text: str) -> Sequence[_Run]:
    if len(text) <= _CACHED_SIZE:
        return _find_runs_of_short(text) if len(text) >= LEAST_SIZE else ()
    return _search_runs(text)


def _search_runs(text: str) -> Sequence[_Run]:
    patterns = (_SHORT, _LONG, _CODED) if "+" in text or "/" in text else (_SHORT, _LONG)
    return tuple(
        _Run(found.start(), found.end(), found.group(), pattern.pattern)
        for pattern in patterns
        for found in pattern.finditer(text)
    )


_find_runs_of_short = lru_cache(maxsize=4096)(_search_runs)


def _span_of(run: _Run) -> tuple[int, int]:
    """What begins first comes first, and the longer of two."""
    return run.start, -run.end


def _time_of(known: tuple[str, _Value | None]) -> int:
    return 0 if known[1] is None else known[1].made_ns


def look_drawn(texts: Sequence[str]) -> bool:
    """Whether distinct texts, in the order of their making, are drawn at random one by one."""
    if len(texts) < PROOFS_NEEDED or len(set(map(len, texts))) > 1:
        return False
    if any(len(set(column)) == 1 for column in zip(*texts, strict=True)):
        return False  # a prefix, a version, or a count that has not come so far
    if list(texts) in (sorted(texts), sorted(texts, reverse=True)):
        return False
    return is_random("".join(texts))
