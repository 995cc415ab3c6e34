"""Compares a response with the recorded one, path by path; nothing is left out in silence.

Values the program generated follow their templates and are bound; all others must be equal in
type and value once recorded values are replaced by those they are bound to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from kebpf.recording.loose import PERMUTATION
from kebpf.recording.model import Strength, TestCase
from kebpf.recording.templates import is_time_class
from kebpf.recording.times import Window
from kebpf.recording.values import walk_scalars
from kebpf.replay.binding import Bindings, Pair, pair_tokens
from kebpf.replay.call import is_same
from kebpf.replay.clock import keep_step
from kebpf.replay.content import compare_bytes, compare_lines
from kebpf.replay.events import Mismatch
from kebpf.replay.headers import BODY_HEADERS, FRAMING_HEADERS, Header, group_headers
from kebpf.replay.noise import Noise
from kebpf.replay.permutation import align, escape, fingerprint

_HEADER_LISTS = ("headers", "trailers")


def compare(
    case: TestCase,
    expected_view: Any,
    actual_view: Any,
    bindings: Bindings,
    window: Window | None,
    noise: Noise | None = None,
) -> tuple[list[Mismatch], Strength]:
    """What differs between the recorded and the actual response, and how much was compared.

    ``window`` is the time in which the actual response was made (``None``: at any time).
    ``noise`` is what a person said not to compare, and counts what it kept from it; header values
    are ``/headers/<name>``.
    """
    comparison = _Comparison(case.generated, bindings, window, noise or Noise())
    comparison.compare_message(expected_view, actual_view)
    return comparison.finish()


class _Comparison:
    """One comparison; templates are judged first, so that what repeats them is bound by then."""

    def __init__(
        self, templates: dict[str, str], bindings: Bindings, window: Window | None, noise: Noise
    ) -> None:
        self._templates = templates
        self._bindings = bindings
        self._window = window
        self._noise = noise
        self._strength = Strength()
        self._mismatches: list[tuple[int, Mismatch]] = []
        self._deferred: list[tuple[int, str, str, Any, Any]] = []
        self._bound: list[Pair] = []
        self._number = 0

    def finish(self) -> tuple[list[Mismatch], Strength]:
        """Compares what must be equal and gives all mismatches in the order of the response."""
        for number, path, place, expected, actual in self._deferred:
            self._compare_exact(number, path, place, expected, actual)
        ordered = sorted(self._mismatches, key=lambda pair: pair[0])
        return [mismatch for _, mismatch in ordered], self._strength

    def compare_message(self, expected: Any, actual: Any) -> None:
        """Compares two views: header lists by name, everything else by path."""
        if not (isinstance(expected, dict) and isinstance(actual, dict)):
            self._compare(expected, actual, "", "")
            return
        for key in _HEADER_LISTS:
            is_bodiless = not expected.get("body") and not actual.get("body")
            self._compare_headers(key, expected.get(key) or [], actual.get(key) or [], is_bodiless)
        rest = [
            {k: v for k, v in view.items() if k not in _HEADER_LISTS} for view in (expected, actual)
        ]
        self._compare(rest[0], rest[1], "", "")

    def _compare_headers(
        self, key: str, expected: list[Any], actual: list[Any], is_bodiless: bool
    ) -> None:
        recorded, came = group_headers(expected, key), group_headers(actual, key)
        for name in [*recorded, *(name for name in came if name not in recorded)]:
            if name in FRAMING_HEADERS and not (name == "content-length" and is_bodiless):
                if name not in BODY_HEADERS:
                    self._strength.not_compared += len(recorded.get(name, ()))
                continue
            self._compare_values(f"/{key}/{name}", recorded.get(name, []), came.get(name, []))

    def _compare_values(self, path: str, expected: list[Header], actual: list[Header]) -> None:
        is_repeated = len(expected) > 1 or len(actual) > 1
        for index in range(max(len(expected), len(actual))):
            shown = f"{path}/{index}" if is_repeated else path
            if index >= len(actual):
                self._note_missing(shown, expected[index].value, expected[index].path)
            elif index >= len(expected):
                self._note_extra(shown, actual[index].value)
            else:
                old = expected[index]
                self._compare(old.value, actual[index].value, shown, old.path)

    def _compare(self, expected: Any, actual: Any, path: str, recorded_path: str) -> None:
        """``path`` is what people read, ``recorded_path`` where the templates know it."""
        if self._is_noise(path):
            self._strength.not_compared += _count_scalars(expected)
        elif isinstance(expected, dict) and isinstance(actual, dict):
            self._compare_objects(expected, actual, path, recorded_path)
        elif isinstance(expected, list | tuple) and isinstance(actual, list | tuple):
            self._compare_arrays(expected, actual, path, recorded_path)
        elif recorded_path in self._templates:
            self._compare_generated(path, recorded_path, expected, actual)
        else:
            self._deferred.append((self._next_number(), path, recorded_path, expected, actual))

    def _compare_objects(
        self, expected: dict[Any, Any], actual: dict[Any, Any], path: str, recorded_path: str
    ) -> None:
        translated = {self._bindings.to_actual(key): key for key in expected}
        for key, old_key in translated.items():
            old_path = f"{recorded_path}/{escape(old_key)}"
            if key in actual:
                self._compare(expected[old_key], actual[key], f"{path}/{escape(key)}", old_path)
            else:
                self._note_missing(f"{path}/{escape(key)}", expected[old_key], old_path)
        for key in actual:
            if key not in translated:
                self._note_extra(f"{path}/{escape(key)}", actual[key])

    def _compare_arrays(
        self, expected: Sequence[Any], actual: Sequence[Any], path: str, recorded_path: str
    ) -> None:
        if self._templates.get(recorded_path) == PERMUTATION:
            self._compare_permuted(expected, actual, path, recorded_path)
            return
        if self._is_permutation(expected, actual):
            self._strength.exact += _count_scalars(expected)
            shown = self._bindings.to_actual(expected)
            self._note(Mismatch(path, "order", shown, list(actual), recorded_path))
            return
        for index in range(max(len(expected), len(actual))):
            step, place = f"{path}/{index}", f"{recorded_path}/{index}"
            if index >= len(actual):
                self._note_missing(step, expected[index], place)
            elif index >= len(expected):
                self._note_extra(step, actual[index])
            else:
                self._compare(expected[index], actual[index], step, place)

    def _compare_permuted(
        self, expected: Sequence[Any], actual: Sequence[Any], path: str, recorded_path: str
    ) -> None:
        pairs = align(
            expected, actual, recorded_path, self._templates, self._bindings, self._window
        )
        for old, new in pairs:
            place = f"{recorded_path}/{old}"
            self._compare(expected[old], actual[new], f"{path}/{new}", place)
        olds, news = {old for old, _ in pairs}, {new for _, new in pairs}
        for old in (index for index in range(len(expected)) if index not in olds):
            self._note_missing(f"{path}/{old}", expected[old], f"{recorded_path}/{old}")
        for new in (index for index in range(len(actual)) if index not in news):
            self._note_extra(f"{path}/{new}", actual[new])

    def _is_permutation(self, expected: Sequence[Any], actual: Sequence[Any]) -> bool:
        if len(expected) != len(actual) or len(expected) < 2:
            return False
        old = [fingerprint(self._bindings.to_actual(item)) for item in expected]
        new = [fingerprint(item) for item in actual]
        return old != new and Counter(old) == Counter(new)

    def _compare_generated(self, path: str, place: str, expected: Any, actual: Any) -> None:
        self._strength.by_class += 1
        template = self._templates[place]
        pairs = pair_tokens(template, expected, actual)
        if pairs is not None and self._try_bind(pairs):
            return
        shown = self._bindings.to_actual(expected)
        if pairs is None and _are_lines(shown, actual):
            for mismatch in compare_lines(path, shown, actual, template):
                self._note(replace(mismatch, place=place))
        else:
            self._note(Mismatch(path, "changed", shown, actual, place))

    def _try_bind(self, pairs: list[Pair]) -> bool:
        """Binds values of one text; its times must go with those before it in the response."""
        if not keep_step([*self._bound, *pairs], self._window):
            return False
        self._bound += (pair for pair in pairs if is_time_class(pair[0]))
        return self._bindings.try_bind(pairs, self._window)

    def _compare_exact(
        self, number: int, path: str, place: str, expected: Any, actual: Any
    ) -> None:
        self._strength.exact += 1
        shown = self._bindings.to_actual(expected)
        if is_same(shown, actual):
            return
        if _are_lines(shown, actual):
            found = compare_lines(path, shown, actual)
        elif isinstance(shown, bytes) and isinstance(actual, bytes):
            found = [compare_bytes(path, shown, actual)]
        else:
            found = [Mismatch(path, "changed", shown, actual)]
        self._mismatches += [(number, replace(mismatch, place=place)) for mismatch in found]

    def _note_missing(self, path: str, value: Any, place: str) -> None:
        if self._is_noise(path):
            self._strength.not_compared += _count_scalars(value)
            return
        self._strength.exact += _count_scalars(value)
        shown = self._bindings.to_actual(value)
        self._note(Mismatch(path, "missing", expected=shown, place=place))

    def _note_extra(self, path: str, value: Any) -> None:
        if not self._is_noise(path):
            self._note(Mismatch(path, "extra", actual=value))

    def _note(self, mismatch: Mismatch) -> None:
        self._mismatches.append((self._next_number(), mismatch))

    def _next_number(self) -> int:
        self._number += 1
        return self._number

    def _is_noise(self, path: str) -> bool:
        return self._noise.is_in_response(path)


def _are_lines(expected: Any, actual: Any) -> bool:
    return isinstance(expected, str) and isinstance(actual, str) and "\n" in expected


def _count_scalars(tree: Any) -> int:
    return sum(1 for _ in walk_scalars(tree))
