"""Values that came in with a request and go out again with a call: the lineage of a call.

Two kinds of value tell.  A *distinctive* one (an e-mail address, a UUID, a long mixed token)
tells by itself.  Any other tells only in a place where it has proved to: an argument of an
operation that, in calls whose request was known by other evidence, always came in with that
request and took several values.  So an order number counts after a few orders, a ``LIMIT 10``
never.  Where no request is ever alone (one thread, many customers), a place proves itself more
slowly: by values that, call after call, came in with one of the requests in flight and no other.
A *phrase* (a whole text of some length) tells where phrases vary, if the request itself brought it.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from kebpf.recording.digests import find_digests

MAX_TOKENS = 4096  # remembered of one request with its answers
MAX_PLACES = 64  # looked at in one call
MAX_TEXT = 1 << 16  # characters looked at in one scalar
PLACES_CAP = 20_000  # places remembered
PROOFS_NEEDED = 3  # different values that came in with the request
PROOFS_KEPT = 8
LEAST_PHRASE_SIZE = 24  # characters
LEAST_PHRASE_WORDS = 3
SHARES_NEEDED = 8  # calls of several possible requests, one of which alone had the value

_TOKEN = re.compile(r"[0-9A-Za-z]+(?:[-_.@+~][0-9A-Za-z]+)*")
_PART = re.compile(r"[0-9A-Za-z]+")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DATE_LIKE = re.compile(r"\d{4}-?\d\d-?\d\d")
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f\xf8-\xff]")
# Literals of SQL: a quote within one is doubled, in E'…' it may also follow a backslash.
_VARYING = re.compile(
    r"(?<!\w)[eE]'(?:[^'\\]|\\.|'')*+'|'(?:[^']|'')*+'|\d+",
    re.DOTALL,
)


def iter_scalars(tree: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every string, number and readable byte string of a tree with its path."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from iter_scalars(value, f"{path}/{key}")
    elif isinstance(tree, list | tuple):
        for index, value in enumerate(tree):
            yield from iter_scalars(value, f"{path}/{index}")
    else:
        text = _text_of(tree) if _is_readable(tree) else ""
        if text:
            yield path, text


def list_texts(tree: Any) -> list[str]:
    """Every scalar of a tree as text, and the keys of its maps: data in a Redis hash."""
    texts: list[str] = []
    _list_texts(tree, texts)
    return texts


def _list_texts(tree: Any, texts: list[str]) -> None:
    if isinstance(tree, dict):
        for key, value in tree.items():
            texts.append(str(key)[:MAX_TEXT])
            _list_texts(value, texts)
    elif isinstance(tree, list | tuple):
        for value in tree:
            if type(value) is str:
                if value:
                    texts.append(value[:MAX_TEXT])
            else:
                _list_texts(value, texts)
    elif text := _text_of(tree):
        texts.append(text)


def _is_readable(scalar: Any) -> bool:
    """Whether its words are words: of binary data (a number not decoded) some are by chance."""
    return not isinstance(scalar, bytes) or _BINARY.search(scalar[:MAX_TEXT]) is None


def _text_of(scalar: Any) -> str:
    if isinstance(scalar, bool) or scalar is None:
        return ""
    if isinstance(scalar, bytes):
        return scalar[:MAX_TEXT].decode(errors="ignore")
    return str(scalar)[:MAX_TEXT]


def find_words(text: str) -> list[str]:
    """The words of a text, compound ones as they are, in lower case."""
    return [found.lower() for found in _TOKEN.findall(text)]


def find_phrase(text: str) -> str | None:
    """The whole text in lower case, if it is more than some words that many have in common."""
    if len(text) < LEAST_PHRASE_SIZE or len(_PART.findall(text)) < LEAST_PHRASE_WORDS:
        return None
    return text.lower()


def is_distinctive(token: str) -> bool:
    """Whether two occurrences of a token cannot well be chance."""
    if "@" in token[1:-1] or _UUID.fullmatch(token):
        return True
    if len(token) < 12 or _DATE_LIKE.match(token):
        return False
    digits = sum(character.isdigit() for character in token)
    return 3 <= digits < len(token) - 2 and "." not in token


@dataclass(slots=True)
class Inputs:
    """The tokens that came in with a request; ``is_partial`` when there were too many.

    ``phrases`` are those of the request itself; ``tokens`` hold those of its answers as well.
    """

    tokens: set[str] = field(default_factory=set)
    phrases: set[str] = field(default_factory=set)
    is_partial: bool = False
    answers_taken: int = 0

    def add(self, view: Any) -> None:
        """Takes the values of a request or of an answer, a map's keys included."""
        for text in list_texts(view):
            if (phrase := find_phrase(text)) is not None:
                self.phrases.add(phrase)
                self.tokens.add(phrase)
            for word in find_words(text):
                self.tokens.add(word)
                if not word.isalnum():
                    self.tokens.update(_PART.findall(word))
            self.is_partial |= len(text) >= MAX_TEXT
            if len(self.tokens) > MAX_TOKENS:
                self.is_partial = True
                return

    def add_request(self, view: Any) -> None:
        """Takes the values of a request, and the digests under which a program may know them."""
        self.add(view)
        for text in list_texts(view):
            self.tokens.update(find_digests(text))

    def take(self, other: Inputs) -> None:
        """Takes what came in with an answer."""
        self.tokens |= other.tokens
        self.is_partial |= other.is_partial or len(self.tokens) > MAX_TOKENS


@dataclass(slots=True)
class _Proof:
    values: set[str] = field(default_factory=set)
    is_refuted: bool = False
    shared: set[str] = field(default_factory=set)
    shares: int = 0
    phrases: set[int] = field(default_factory=set)

    @property
    def is_enough(self) -> bool:
        is_shared = self.shares >= SHARES_NEEDED and len(self.shared) >= PROOFS_NEEDED
        return not self.is_refuted and (len(self.values) >= PROOFS_NEEDED or is_shared)


@dataclass(frozen=True, slots=True)
class Place:
    """One value of a call: where it stands (operation, path, word) and what it is."""

    key: int
    token: str
    is_phrase: bool = False


def template_of(operation: str) -> str:
    """An operation without the literals that were written into its text."""
    return _VARYING.sub("?", operation)


def find_places(destination: str, operation: str, view: Any) -> list[Place]:
    """The values of a call, at most `MAX_PLACES`."""
    base = (destination, template_of(operation))
    places: list[Place] = []
    for path, text in iter_scalars(view):
        if (phrase := find_phrase(text)) is not None:
            places.append(Place(hash((base, path)), phrase, is_phrase=True))
        for index, token in enumerate(find_words(text)):
            places.append(Place(hash((base, path, index)), token))
            if len(places) >= MAX_PLACES:
                return places[:MAX_PLACES]
    return places[:MAX_PLACES]


class PlaceMemory:
    """Which places always held a value of the call's own request."""

    def __init__(self, cap: int = PLACES_CAP) -> None:
        self._cap = cap
        self._proofs: OrderedDict[int, _Proof] = OrderedDict()

    def __len__(self) -> int:
        return len(self._proofs)

    def is_proved(self, place: Place) -> bool:
        """Whether the value here is the request's own."""
        proof = self._proofs.get(place.key)
        return proof is not None and proof.is_enough

    def is_refuted(self, place: Place) -> bool:
        """Whether a value here was not the request's own."""
        proof = self._proofs.get(place.key)
        return proof is not None and proof.is_refuted

    def tells(self, place: Place) -> bool:
        """Whether the value here need not be proved: nothing that many calls share."""
        if not place.is_phrase:
            return is_distinctive(place.token)
        proof = self._proofs.get(place.key)
        return proof is not None and len(proof.phrases) >= PROOFS_NEEDED

    def note_phrases(self, places: Sequence[Place]) -> None:
        """Takes any call: a phrase that is always the same is the program's own."""
        for place in places:
            if place.is_phrase:
                phrases = self._proof_of(place).phrases
                if len(phrases) < PROOFS_NEEDED:
                    phrases.add(hash(place.token))
        self._forget()

    def learn(
        self, places: Sequence[Place], inputs: Inputs, doubtful: Inputs | None = None
    ) -> None:
        """Takes a call whose request is known from other evidence.

        ``doubtful`` is what came in with calls that may be that request's: it proves nothing.
        """
        maybe = doubtful or Inputs()
        is_partial = inputs.is_partial or maybe.is_partial
        for place in _words_of(places):
            proof = self._proof_of(place)
            if place.token in inputs.tokens:
                if len(proof.values) < PROOFS_KEPT:
                    proof.values.add(place.token)
            elif place.token not in maybe.tokens:
                proof.is_refuted |= not is_partial
        self._forget()

    def observe(
        self, places: Sequence[Place], certain: Sequence[Inputs], doubtful: Sequence[Inputs]
    ) -> None:
        """Takes a call that may be any of several requests', of which these are the inputs."""
        if any(inputs.is_partial for inputs in (*certain, *doubtful)):
            return
        for place in _words_of(places):
            proof = self._proof_of(place)
            if proof.is_refuted or any(place.token in inputs.tokens for inputs in doubtful):
                continue
            holders = sum(place.token in inputs.tokens for inputs in certain)
            proof.is_refuted = not holders
            if holders == 1:
                proof.shares += 1
                if len(proof.shared) < PROOFS_KEPT:
                    proof.shared.add(place.token)
        self._forget()

    def _proof_of(self, place: Place) -> _Proof:
        proof = self._proofs.setdefault(place.key, _Proof())
        self._proofs.move_to_end(place.key)
        return proof

    def _forget(self) -> None:
        while len(self._proofs) > self._cap:
            self._proofs.popitem(last=False)


def choose_by_lineage(
    places: Sequence[Place],
    memory: PlaceMemory,
    certain: Sequence[Inputs],
    doubtful: Sequence[Inputs],
) -> int | None:
    """The index of the only candidate the values can have come from, or ``None``.

    ``certain`` holds what surely came in with each candidate, ``doubtful`` the answers to calls
    that may be its own.
    """
    allowed = set(range(len(certain)))
    votes: set[int] = set()
    is_told = False
    for place in places:
        is_proved, tells = memory.is_proved(place), memory.tells(place)
        if not (is_proved or tells):
            continue
        holders = {
            index
            for index, both in enumerate(zip(certain, doubtful, strict=True))
            if any(inputs.is_partial or place.token in inputs.tokens for inputs in both)
        }
        if not holders and not is_proved:
            continue  # a value made here, or from an input not seen, speaks for none
        is_vote = len(holders) == 1 and _brought(certain[next(iter(holders))], place)
        if place.is_phrase and not is_vote:
            continue  # a text that came with an answer may be anyone's
        allowed &= holders
        votes |= holders if is_vote else set()
        is_told |= is_vote and tells
    if len(votes) != 1 or votes != allowed:
        return None
    chosen = votes.pop()
    return chosen if is_told or not _is_contradicted(chosen, places, memory, certain) else None


def _is_contradicted(
    chosen: int, places: Sequence[Place], memory: PlaceMemory, certain: Sequence[Inputs]
) -> bool:
    """Whether a place that may yet prove itself holds what came in with one other only.

    A common word that the program wrote otherwise (escaped, say) is another's by chance.
    """
    for place in _words_of(places):
        holders = [index for index, one in enumerate(certain) if place.token in one.tokens]
        if len(holders) == 1 and holders != [chosen] and not memory.is_refuted(place):
            return True
    return False


def _brought(inputs: Inputs, place: Place) -> bool:
    return place.token in (inputs.phrases if place.is_phrase else inputs.tokens)


def _words_of(places: Sequence[Place]) -> list[Place]:
    return [place for place in places if not place.is_phrase]
