"""Which earlier cases a case rests on: what they made, it was given; or they asked what it knows.

A case rests on the one that made a value (a token, an id of its own) that stands in its request,
or that it shows though nothing it was told holds it: then the program kept it.  It also rests on
an earlier equal request that made more calls: what those told may still be remembered.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kebpf.protocols.base import Document
from kebpf.recording.activity import Memory
from kebpf.recording.dedup.traits import Called, GetSpec, Traits, iter_texts
from kebpf.recording.model import TestCase
from kebpf.recording.templates import is_time_class, match_template
from kebpf.recording.values import text_of, walk_scalars

MOST_VALUES = 50_000  # that cases made, remembered
MOST_REQUESTS = 50_000  # remembered
SHORTEST_VALUE = 8  # characters

_TOKENS = (re.compile(r"[\w-]{8,}"), re.compile(r"[\w.~+/=%-]{8,}"))


class Ties:
    """Takes the cases in their order."""

    def __init__(self, get_spec: GetSpec) -> None:
        self._get_spec = get_spec
        self._makers: Memory[int, int] = Memory(MOST_VALUES)  # by hash of a value
        self._asked: Memory[bytes, tuple[int, int]] = Memory(MOST_REQUESTS)

    def find(
        self, number: int, case: TestCase, calls: Sequence[Called], traits: Traits
    ) -> set[int]:
        """The numbers of the earlier cases that a case rests on; it is known from now on."""
        needed = self._find_values(case, calls)
        same = self._find_same(number, case, traits.calls)
        if same is not None:
            needed.add(same)
        for value in self._list_made(case, calls):
            if self._makers.get(value) is None:
                self._makers.put(value, number)
        return needed

    def _find_values(self, case: TestCase, calls: Sequence[Called]) -> set[int]:
        if not len(self._makers):
            return set()
        asked = self._find_in(case.request)
        shown = self._find_in([case.response, *(call.request for call in calls)])
        if shown.keys() - asked.keys():
            given = self._find_in([call.response for call in calls])
            shown = {value: maker for value, maker in shown.items() if value not in given}
        return {*asked.values(), *shown.values()}

    def _find_in(self, tree: Any) -> dict[int, int]:
        """The values in a document that a case made, with its number."""
        found = {}
        for text in iter_texts(tree):
            if len(text) < SHORTEST_VALUE:
                continue
            for token in {one for pattern in _TOKENS for one in pattern.findall(text)}:
                maker = self._makers.get(hash(token))
                if maker is not None:
                    found[hash(token)] = maker
        return found

    def _find_same(self, number: int, case: TestCase, calls: int) -> int | None:
        key = _hash_request(case.request)
        known = self._asked.get(key)
        if known is not None and calls < known[1]:
            return known[0]
        if calls:
            self._asked.put(key, (number, calls))
        return None

    def _list_made(self, case: TestCase, calls: Sequence[Called]) -> Iterator[int]:
        if case.generated:
            view = self._get_spec(case.protocol).view(case.response)
            yield from _list_generated(view, case.generated)
        for call in calls:
            if call.generated:
                identity = self._get_spec(call.protocol).identity(call.request)
                yield from _list_generated(identity, call.generated)


def _list_generated(tree: Any, generated: Mapping[str, str]) -> Iterator[int]:
    """The hashes of the generated values of a document but its times."""
    for path, value in walk_scalars(tree):
        text = text_of(value) if path in generated else None
        if text is None:
            continue
        for class_name, token in match_template(generated[path], text) or ():
            is_new = not (is_time_class(class_name) or class_name.startswith(("seen:", "either:")))
            if is_new and len(token) >= SHORTEST_VALUE:
                yield hash(token)


def _hash_request(request: Document) -> bytes:
    parts = [request.get("method"), request.get("target"), request.get("body")]
    return hashlib.blake2b(repr(parts).encode(), digest_size=12).digest()
