"""Binds what the recorded program generated to what the application generates, one to one.

Ids and random tokens are a bijection over the whole run: a recorded one always meets the same
actual one, and no two recorded ones meet the same.  Times need not be: two equal recorded times
may have been two readings of the clock, and distinct ones may fall into the same second.  So a
fresh time must have the recorded format and lie, less its recorded shift, in the window of the
case now running; one that was made earlier (``seen:``) must be the instant it was bound to.

Cases run in any order.  A value whose maker has not run yet stands for itself wherever it came in
with the case: it must come back as it is, and is not bound, so that its maker may still make it
anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import quote, quote_plus

from kebpf.recording import times
from kebpf.recording.templates import (
    is_time_class,
    match_template,
    matches_class,
    split_time_class,
)
from kebpf.recording.times import Window
from kebpf.recording.values import text_of
from kebpf.replay import jwt
from kebpf.replay.arrivals import Arrivals
from kebpf.replay.substitution import Substitution

Pair = tuple[str, str, str]  # class name, recorded token, actual token


def pair_tokens(template: str, recorded: Any, actual: Any) -> list[Pair] | None:
    """The tokens to be bound when ``actual`` follows the template of ``recorded``, else ``None``.

    Raises ``ValueError`` for a class name that is not known.
    """
    recorded_text, actual_text = text_of(recorded), text_of(actual)
    if type(recorded) is not type(actual) or recorded_text is None or actual_text is None:
        return None
    expected = match_template(template, recorded_text)
    found = match_template(template, actual_text)
    if expected is None or found is None:
        return None
    return [(name, old, new) for (name, old), (_, new) in zip(expected, found, strict=True)]


class Bindings:
    """Recorded ↔ actual values of one run."""

    def __init__(self) -> None:
        self._forward = Substitution()
        self._backward = Substitution()
        self._arrivals = Arrivals()

    def begin_case(self, has_case: bool = True) -> None:
        """Nothing has come in yet with the case, if one runs, that begins now."""
        self._arrivals.begin(has_case)

    def hand_in(self, tree: Any) -> Any:
        """A request or an answer in the run's own values; it comes in with the case now running."""
        actual = self.to_actual(tree)
        self._arrivals.add(actual)
        return actual

    def bind(self, recorded: str, actual: str, class_name: str) -> bool:
        """Binds one value; False when either side is already bound to something else."""
        return self.try_bind([(class_name, recorded, actual)], None)

    def is_bound(self, recorded: str) -> bool:
        """Whether a recorded value has met its actual one."""
        return recorded in self._forward.values

    def try_bind(self, pairs: Sequence[Pair], window: Window | None) -> bool:
        """Binds all pairs or, when one does not fit, none."""
        if not self.fits(pairs, window):
            return False
        for class_name, recorded, actual in pairs:
            self._take(class_name, recorded, actual)
        return True

    def fits(self, pairs: Sequence[Pair], window: Window | None) -> bool:
        """Whether all pairs could be bound together."""
        forward: dict[str, str] = {}
        backward: dict[str, str] = {}
        return all(
            self._fits_time(pair, window)
            if is_time_class(pair[0])
            else self._fits_id(pair, window, forward, backward)
            for pair in pairs
        )

    def _fits_id(
        self, pair: Pair, window: Window | None, forward: dict[str, str], backward: dict[str, str]
    ) -> bool:
        class_name, recorded, actual = pair
        bound = forward.get(recorded) or self._forward.values.get(recorded)
        if bound is not None:
            return bound == actual
        if actual in backward or actual in self._backward.values:
            return False
        if self._arrivals.hold(recorded) or self._arrivals.hold(actual):
            return actual == recorded  # neither was made here
        forward[recorded], backward[actual] = actual, recorded
        if class_name == "jwt" and not jwt.agree(recorded, actual, self.to_actual):
            return False
        return matches_class(actual, class_name, window)

    def _fits_time(self, pair: Pair, window: Window | None) -> bool:
        class_name, recorded, actual = pair
        bound = self._forward.values.get(recorded)
        if bound == actual or (class_name.startswith("either:") and actual == recorded):
            return True
        if not class_name.startswith("seen:"):
            return matches_class(actual, class_name, window)
        expected = self._expected_instant(recorded)
        if expected is not None:
            found = times.parse_time(actual)
            same = matches_class(actual, class_name, None)
            return found is not None and same and _is_same_instant(found, expected)
        return bound is None and matches_class(actual, class_name, None)

    def _expected_instant(self, recorded: str) -> int | None:
        value = times.parse_time(recorded)
        return None if value is None else self._forward.find_instant(value)

    def _take(self, class_name: str, recorded: str, actual: str) -> None:
        if class_name.startswith("either:") or self._stands_for_itself(
            class_name, recorded, actual
        ):
            return
        if not is_time_class(class_name):
            for old, new in _variants(class_name, recorded, actual):
                self._forward.add(old, new)
                self._backward.add(new, old)
        elif split_time_class(class_name)[0] != "%Y-%m-%d":
            self._take_time(recorded, actual)

    def _stands_for_itself(self, class_name: str, recorded: str, actual: str) -> bool:
        if actual != recorded or recorded in self._forward.values:
            return False
        return is_time_class(class_name) or self._arrivals.hold(recorded)

    def _take_time(self, recorded: str, actual: str) -> None:
        for old, new in _spellings(recorded, actual):
            self._forward.add(old, new)
            self._backward.add(new, old)
        old_time, new_time = times.parse_time(recorded), times.parse_time(actual)
        if old_time is not None and new_time is not None:
            self._forward.add_instant(old_time, new_time.time_ns)

    def to_actual(self, tree: Any) -> Any:
        """The tree with recorded values replaced by the actual ones they are bound to."""
        return _rewrite(tree, self._forward.apply)

    def to_recorded(self, tree: Any) -> Any:
        """The tree with actual values replaced by the recorded ones they are bound to."""
        return _rewrite(tree, self._backward.apply)


def _is_same_instant(found: times.PrintedTime, expected_ns: int) -> bool:
    resolution = max(found.resolution_ns, 1000)
    return found.time_ns // resolution == expected_ns // resolution


def _variants(class_name: str, recorded: str, actual: str) -> Iterator[tuple[str, str]]:
    yield from _spellings(recorded, actual)
    if "uuid" in class_name:
        plain = recorded.replace("-", ""), actual.replace("-", "")
        yield plain
        yield plain[0].upper(), plain[1].upper()
        yield recorded.upper(), actual.upper()
        yield recorded.lower(), actual.lower()


def _spellings(recorded: str, actual: str) -> Iterator[tuple[str, str]]:
    """The pair as it is, URL-encoded and JSON-escaped, where that differs."""
    yield recorded, actual
    for encode in (_quote, quote, quote_plus, _escape):
        old, new = encode(recorded), encode(actual)
        if old != recorded or new != actual:
            yield old, new


def _quote(text: str) -> str:
    return quote(text, safe="")


def _escape(text: str) -> str:
    return text.replace("/", "\\/")


def _rewrite(tree: Any, apply: Callable[[str], str]) -> Any:
    if isinstance(tree, str):
        return apply(tree)
    if isinstance(tree, bytes):
        # Every byte is one character of Latin-1, so what is not ASCII passes through unharmed.
        return apply(tree.decode("latin-1")).encode("latin-1")
    if isinstance(tree, dict):
        return {_rewrite(k, apply): _rewrite(v, apply) for k, v in tree.items()}
    if isinstance(tree, list | tuple):
        return [_rewrite(item, apply) for item in tree]
    if isinstance(tree, int | float) and not isinstance(tree, bool) and abs(tree) >= 10**7:
        return _rewrite_number(tree, apply)
    return tree


def _rewrite_number(number: int | float, apply: Callable[[str], str]) -> int | float:
    text = repr(number)
    new = apply(text)
    return number if new == text else type(number)(new)
