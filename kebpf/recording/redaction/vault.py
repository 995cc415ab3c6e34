"""The secrets that are known, so that they are found wherever else they occur.

Each is known by its longest run of letters and digits, its anchor: a text is cut into such runs
once, and only where one of them is an anchor the secret itself is looked for, in all its spellings.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from kebpf.recording.redaction.spans import RAW, Span, variants_of

MOST_KNOWN = 4_000  # secrets; the one that was not seen for longest is forgotten
LEAST_ANCHOR = 4
LEAST_KNOWN = 8  # characters of a secret that is looked for everywhere
LONGEST = 8192

# An escape before a run is none of it: ``%3Aabc``, ``\u003aabc``, ``\nabc``.
RUNS = re.compile(r"%[0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|\\[nrtbf]|[0-9A-Za-z]{4,}")
_PLAIN_RUNS = re.compile(r"[0-9A-Za-z]{4,}")  # of a text without escapes: far quicker
_WORD = re.compile(r"[A-Za-z]?[a-z]+|[A-Z]+|\d{1,9}", re.ASCII)
_DIGESTS = ("md5", "sha1", "sha256")


class _Spelling(NamedTuple):
    """One way in which a secret, or a digest of it, is written."""

    text: str
    style: str
    value: str
    stand_in: str
    secret: str


@dataclass(slots=True)
class Known:
    """A secret and what stands for it.

    ``came_in``: it came to the program from outside, so at replay what stands for it does.
    ``is_made``: the program sent it before it came; ``is_asked``: it is in a call or its answer.
    """

    value: str
    kind: str
    stand_in: str
    came_in: bool
    is_made: bool = False
    is_asked: bool = False
    is_proved: bool = False  # to be the hash of a password, which is made anew
    anchors: set[str] = field(default_factory=set)


class Vault:
    """Holds the last `MOST_KNOWN` secrets."""

    def __init__(self, cap: int = MOST_KNOWN) -> None:
        self._cap = cap
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._anchors: dict[str, list[_Spelling]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def get(self, value: str) -> Known | None:
        """What is known of a value, which counts as seen."""
        known = self._known.get(value)
        if known is not None:
            self._known.move_to_end(value)
        return known

    def add(self, known: Known) -> None:
        """Remembers a secret; one that is not `is_telling` is not looked for elsewhere."""
        self._known[known.value] = known
        if is_telling(known.value):
            for spelling in _spell(known):
                anchor = find_anchor(spelling.text)
                if anchor:
                    self._anchors.setdefault(anchor, []).append(spelling)
                    known.anchors.add(anchor)
        if len(self._known) > self._cap:
            self._forget(self._known.popitem(last=False)[1])

    def change(self, known: Known, stand_in: str) -> None:
        """Something else is to stand for a secret from now on."""
        self._forget(known)
        known.stand_in = stand_in
        known.anchors.clear()
        self.add(known)

    def _forget(self, known: Known) -> None:
        for anchor in known.anchors:
            kept = [one for one in self._anchors[anchor] if one.secret != known.value]
            if kept:
                self._anchors[anchor] = kept
            else:
                del self._anchors[anchor]

    def may_hold(self, runs: Collection[str]) -> bool:
        """Whether `find` may find something in a text with these runs."""
        return not self._anchors.keys().isdisjoint(runs)

    def find(self, text: str, runs: Collection[str]) -> Iterator[Span]:
        """Where secrets that are known stand in a text."""
        for anchor in self._anchors.keys() & runs:
            for one in self._anchors[anchor]:
                known = None
                start = text.find(one.text)
                while start >= 0:
                    known = known or self.get(one.secret)
                    kind = known.kind if known else "other"
                    end = start + len(one.text)
                    yield Span(start, end, one.secret, kind, one.style, one.stand_in)
                    start = text.find(one.text, end)


def _spell(known: Known) -> Iterator[_Spelling]:
    value, stand_in = known.value, known.stand_in
    yield _Spelling(value, RAW, value, stand_in, value)
    for text, style in variants_of(value):
        yield _Spelling(text, style, value, stand_in, value)
    for mine, other in zip(digest_all(value), digest_all(stand_in), strict=True):
        yield _Spelling(mine, RAW, mine, other, value)


def find_runs(text: str) -> frozenset[str]:
    """The runs of letters and digits of a text, by which `Vault` looks."""
    is_plain = "%" not in text and "\\" not in text
    return frozenset((_PLAIN_RUNS if is_plain else RUNS).findall(text))


def find_anchor(text: str) -> str:
    """The longest run of letters and digits, empty if all are short."""
    runs = (run for run in RUNS.findall(text) if run[0] not in "%\\")
    anchor = max(runs, key=len, default="")
    return anchor if len(anchor) >= LEAST_ANCHOR else ""


def is_telling(value: str) -> bool:
    """Whether a value that occurs elsewhere is this secret and not a common word or number."""
    if not LEAST_KNOWN <= len(value) <= LONGEST or not find_anchor(value):
        return False
    return _WORD.fullmatch(value) is None


def digest_all(value: str) -> tuple[str, ...]:
    """Under which a program may keep and look up a secret, in hexadecimal."""
    data = value.encode(errors="replace")
    made = (hashlib.new(name, data, usedforsecurity=False) for name in _DIGESTS)
    return tuple(one.hexdigest() for one in made)
