"""Finds which recorded item each item of an array is whose order is not asserted."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from typing import Any

from kebpf.recording.times import Window
from kebpf.replay.binding import Bindings, pair_tokens
from kebpf.replay.call import is_same

MOST_TRIED = 500  # items of which each is tried with each; of more, those equal as they are


def align(
    expected: Sequence[Any],
    actual: Sequence[Any],
    place: str,
    templates: Mapping[str, str],
    bindings: Bindings,
    window: Window | None,
) -> list[tuple[int, int]]:
    """``(recorded index, actual index)`` of items that are one another; each item once.

    ``place`` is where the templates know the array.  Items that are equal once translated go
    first, then those that follow their templates; what is left over is paired in order.
    """
    left, pairs = _pair_equal(expected, actual, bindings)
    open_ = deque(index for index in range(len(actual)) if index not in {new for _, new in pairs})
    if len(open_) <= MOST_TRIED:
        judge = _Judge(templates, bindings, window)
        for _ in range(len(open_)):
            index = open_.popleft()
            item = actual[index]
            like = (i for i in left if judge.agree(expected[i], item, f"{place}/{i}"))
            old = next(like, None)
            if old is None:
                open_.append(index)
            else:
                left.remove(old)
                pairs.append((old, index))
    pairs += zip(left, sorted(open_), strict=False)
    return sorted(pairs, key=lambda pair: pair[1])


def _pair_equal(
    expected: Sequence[Any], actual: Sequence[Any], bindings: Bindings
) -> tuple[list[int], list[tuple[int, int]]]:
    places: dict[str, deque[int]] = defaultdict(deque)
    for index, item in enumerate(expected):
        places[fingerprint(bindings.to_actual(item))].append(index)
    pairs = []
    for index, item in enumerate(actual):
        found = places.get(fingerprint(item))
        if found:
            pairs.append((found.popleft(), index))
    return sorted(index for rest in places.values() for index in rest), pairs


class _Judge:
    """Says whether two trees agree, values by their templates; binds nothing."""

    def __init__(
        self, templates: Mapping[str, str], bindings: Bindings, window: Window | None
    ) -> None:
        self._templates = templates
        self._bindings = bindings
        self._window = window

    def agree(self, expected: Any, actual: Any, place: str) -> bool:
        if isinstance(expected, dict) and isinstance(actual, dict):
            return expected.keys() == actual.keys() and all(
                self.agree(value, actual[key], f"{place}/{escape(key)}")
                for key, value in expected.items()
            )
        if isinstance(expected, list | tuple) and isinstance(actual, list | tuple):
            return len(expected) == len(actual) and all(
                self.agree(old, new, f"{place}/{index}")
                for index, (old, new) in enumerate(zip(expected, actual, strict=True))
            )
        template = self._templates.get(place)
        if template is None:
            return is_same(self._bindings.to_actual(expected), actual)
        pairs = pair_tokens(template, expected, actual)
        return pairs is not None and self._bindings.fits(pairs, self._window)


def fingerprint(tree: Any) -> str:
    """Equal for trees equal in types and values, whatever the order of keys."""
    if isinstance(tree, dict):
        items = sorted((repr(key), fingerprint(value)) for key, value in tree.items())
        return "{" + ",".join(f"{key}:{value}" for key, value in items) + "}"
    if isinstance(tree, list | tuple):
        return "[" + ",".join(map(fingerprint, tree)) + "]"
    return f"{type(tree).__name__}:{tree!r}"


def escape(key: Any) -> str:
    """A key as a step of a JSON pointer (RFC 6901 section 3)."""
    return str(key).replace("~", "~0").replace("/", "~1")
