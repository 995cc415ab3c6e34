"""Binds what the recorded program generated to what the application generates, one to one.

Ids and random tokens are a bijection over the whole run: a recorded one always meets the same
actual one, and no two recorded ones meet the same.  Times need not be: two equal recorded times
may have been two readings of the clock, and distinct ones may fall into the same second.  So a
fresh time must have the recorded format and lie, less its recorded shift, in the window of the
case now running; one that was made earlier (``seen:``) must be the instant it was bound to.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any
from urllib.parse import quote, quote_plus

from kebpf.recording import times
from kebpf.recording.loose import is_loose_class, takes_any_number
from kebpf.recording.templates import (
    instance_class,
    is_time_class,
    match_template,
    matches_class,
    split_time_class,
)
from kebpf.recording.times import Window
from kebpf.recording.values import find_texts, find_tokens, text_of
from kebpf.recording.wrapping import PACKED
from kebpf.replay.clock import keep_step
from kebpf.replay.nested import Pair, open_pair
from kebpf.replay.rewriting import rewrite_tree
from kebpf.replay.substitution import Substitution

__all__ = ["Bindings", "Pair", "pair_tokens", "variants"]

MOST_INPUT_TEXT = 256 << 10  # characters of what came in lately, of which a fresh id is none


def pair_tokens(template: str, recorded: Any, actual: Any) -> list[Pair] | None:
    """The tokens to be bound when ``actual`` follows the template of ``recorded``, else ``None``.

    Raises ``ValueError`` for a class name that is not known.
    """
    if isinstance(recorded, bool) and isinstance(actual, bool):
        return [] if template == "{boolean}" else None
    recorded_text, actual_text = text_of(recorded), text_of(actual)
    if recorded_text is None or actual_text is None:
        return None
    if type(recorded) is not type(actual) and not _are_numbers(template, recorded, actual):
        return None
    expected = match_template(template, recorded_text)
    found = match_template(template, actual_text)
    if expected is None or found is None:
        return None
    return [(name, old, new) for (name, old), (_, new) in zip(expected, found, strict=True)]


def _are_numbers(template: str, recorded: Any, actual: Any) -> bool:
    are_numbers = isinstance(recorded, int | float) and isinstance(actual, int | float)
    return are_numbers and takes_any_number(template)


class Bindings:
    """Recorded ↔ actual values of one run."""

    def __init__(self) -> None:
        self._forward = Substitution()
        self._backward = Substitution()
        self._unchanged: set[str] = set()  # that stood for themselves
        self._inputs: deque[str] = deque()
        self._told = Substitution()  # actual instants → recorded ones, in any format
        self.shift_ns: int | None = None  # from the last recorded time that was bound to its own
        self._input_size = 0
        self.version = 0  # another one whenever something was bound
        self.has_ids = True  # whether the run can come to ask if a value is the program's making

    def bind(self, recorded: str, actual: str, class_name: str) -> bool:
        """Binds one value; False when either side is already bound to something else."""
        return self.try_bind([(class_name, recorded, actual)], None)

    def is_bound(self, recorded: str) -> bool:
        """Whether a recorded value has met its actual one."""
        return recorded in self._forward.values

    def is_met(self, recorded: str) -> bool:
        """Whether the run has come to a recorded value, if only to find that it is the same."""
        return recorded in self._forward.values or recorded in self._unchanged

    def try_bind(self, pairs: Sequence[Pair], window: Window | None) -> bool:
        """Binds all pairs or, when one does not fit, none."""
        opened = self._open(pairs)
        if opened is None or not self._fit(opened, window):
            return False
        self.version += 1
        for class_name, recorded, actual in opened:
            self._take(class_name, recorded, actual)
        for stamp, signature in pairwise(opened):
            self._take_signed(stamp, signature)
        return True

    def fits(self, pairs: Sequence[Pair], window: Window | None) -> bool:
        """Whether all pairs could be bound together."""
        opened = self._open(pairs)
        return opened is not None and self._fit(opened, window)

    def _open(self, pairs: Sequence[Pair]) -> list[Pair] | None:
        """The pairs with those that tokens hold; ``None`` when two tokens say different things."""
        result: list[Pair] = []
        for pair in pairs:
            found = [pair] if pair[1] in self._forward.values else self._open_pair(pair)
            if found is None:
                return None
            result += found
        return result

    def _open_pair(self, pair: Pair) -> list[Pair] | None:
        inner = open_pair(pair, self.to_actual, pair_tokens)
        opened = self._open(inner) if inner else inner
        return None if opened is None else [*opened, pair]

    def _fit(self, pairs: Sequence[Pair], window: Window | None) -> bool:
        forward: dict[str, str] = {}
        backward: dict[str, str] = {}
        fits_alone = all(
            self._fits_loose(pair, window)
            if is_loose_class(pair[0])
            else self._fits_time(pair, window)
            if is_time_class(pair[0])
            else self._fits_id(pair, window, forward, backward)
            for pair in pairs
        )
        return fits_alone and keep_step(pairs, window)

    def _fits_loose(self, pair: Pair, window: Window | None) -> bool:
        class_name, _recorded, actual = pair
        return matches_class(actual, class_name, window)

    def _fits_id(
        self, pair: Pair, window: Window | None, forward: dict[str, str], backward: dict[str, str]
    ) -> bool:
        class_name, recorded, actual = pair
        bound = forward.get(recorded) or self._forward.values.get(recorded)
        if bound is not None:
            return bound == actual
        if actual in backward or actual in self._backward.values:
            return False
        if actual != recorded and actual in self._unchanged:
            return False
        if actual != recorded and (class_name.startswith("seen:") or self._came_in(actual)):
            return False
        forward[recorded], backward[actual] = actual, recorded
        return matches_class(actual, class_name, window)

    def _came_in(self, actual: str) -> bool:
        """Whether a value is none of the program's making."""
        return any(actual in text for text in self._inputs)

    def _fits_time(self, pair: Pair, window: Window | None) -> bool:
        class_name, recorded, actual = pair
        bound = self._forward.values.get(recorded)
        if bound == actual:
            return True
        if class_name.startswith("time:"):
            return matches_class(actual, class_name, window)
        expected = self._expected_instants(class_name, recorded)
        if self._is_one_of(actual, class_name, expected):
            return True
        if class_name.startswith("either:"):
            return actual == recorded or matches_class(actual, class_name, window)
        if actual != recorded:
            return False
        return (not expected and bound is None) or self._was_given(class_name, recorded)

    def _was_given(self, class_name: str, recorded: str) -> bool:
        """Whether the program was lately given an instant that it prints so.

        Of several in one second, what made this one may not have run, and that of another have.
        """
        value = times.parse_in_format(recorded, split_time_class(class_name)[0])
        if value is None:
            return False
        return any(
            (given := times.parse_time(token.text)) is not None
            and given.resolution_ns <= value.resolution_ns
            and _is_same_instant(value, given.time_ns)
            for text in reversed(self._inputs)
            for line in text.split("\n")
            for token in find_tokens(line, None)
        )

    def _expected_instants(self, class_name: str, recorded: str) -> list[int]:
        value = times.parse_in_format(recorded, split_time_class(class_name)[0])
        return [] if value is None else self._forward.find_instants(value)

    @staticmethod
    def _is_one_of(actual: str, class_name: str, expected: list[int]) -> bool:
        found = times.parse_in_format(actual, split_time_class(class_name)[0])
        return found is not None and any(_is_same_instant(found, one) for one in expected)

    def _take(self, class_name: str, recorded: str, actual: str) -> None:
        if class_name.startswith("either:") or is_loose_class(class_name):
            return
        if class_name.split(" ")[0] in PACKED:
            return
        if actual == recorded:
            # It was given, or follows (a digest, say) from what was; its maker may yet come.
            if recorded not in self._forward.values:
                self._unchanged.add(recorded)
        elif not is_time_class(class_name):
            for old, new in variants(class_name, recorded, actual):
                self._forward.add(old, new)
                self._backward.add(new, old)
        elif split_time_class(class_name)[0] not in _NEVER_BOUND:
            self._take_time(class_name, recorded, actual)

    def _take_signed(self, stamp: Pair, signature: Pair) -> None:
        """A signature holds for its stamp only, so where both come together both are rewritten."""
        sign = _STAMP_SIGNS.get(instance_class(stamp[0]))
        if sign is None or not signature[0].startswith("base64url:"):
            return
        old, new = (f"{stamp[side]}{sign}{signature[side]}" for side in (1, 2))
        for old_text, new_text in _spellings(old, new):
            self._forward.add(old_text, new_text)
            self._backward.add(new_text, old_text)

    def _take_time(self, class_name: str, recorded: str, actual: str) -> None:
        for old, new in _spellings(recorded, actual):
            self._forward.add(old, new)
            self._backward.add(new, old)
        format_ = split_time_class(class_name)[0]
        old_time = times.parse_in_format(recorded, format_)
        new_time = times.parse_in_format(actual, format_)
        if old_time is not None and new_time is not None:
            if old_time.resolution_ns <= 1_000_000:
                self.shift_ns = new_time.time_ns - old_time.time_ns
            self._forward.add_instant(old_time, new_time.time_ns)
            self._told.add_instant(new_time, old_time.time_ns)

    def hand_over(self, tree: Any) -> Any:
        """`to_actual` of what the application is about to get: nothing in it is of its making."""
        actual = self.to_actual(tree)
        if self.has_ids and (text := _gather(actual)):
            self._inputs.append(text)
            self._input_size += len(text)
            while self._input_size > MOST_INPUT_TEXT:
                self._input_size -= len(self._inputs.popleft())
        return actual

    def to_actual(self, tree: Any) -> Any:
        """The tree with recorded values replaced by the actual ones they are bound to."""
        return tree if self._forward.is_empty else rewrite_tree(tree, self._forward.apply)

    def to_recorded(self, tree: Any) -> Any:
        """The tree with actual values replaced by the recorded ones they are bound to."""
        return tree if self._backward.is_empty else rewrite_tree(tree, self._backward.apply)

    def tell(self, tree: Any) -> Any:
        """`to_recorded`, with times in other formats too: for people, not for matching."""
        return rewrite_tree(self.to_recorded(tree), self._told.apply)


_STAMP_SIGNS = {"time:epoch_b64": ".", "time:epoch_b62": ":"}  # itsdangerous', Django's
_NEVER_BOUND = ("%Y-%m-%d", "epoch_b64", "epoch_b62")


def _gather(tree: Any) -> str:
    """The texts of a tree in which a token may stand."""
    found: list[tuple[str, str]] = []
    find_texts(tree, "", found)
    return "\n".join(text for _, text in found)[:MOST_INPUT_TEXT]


def _is_same_instant(found: times.PrintedTime, expected_ns: int) -> bool:
    resolution = max(found.resolution_ns, 1000)
    return found.time_ns // resolution == expected_ns // resolution


def variants(class_name: str, recorded: str, actual: str) -> Iterator[tuple[str, str]]:
    """The pair in each way in which the value may be written."""
    yield from _spellings(recorded, actual)
    if class_name.lower().startswith(("hex:", "objectid")):
        yield recorded.upper(), actual.upper()
        yield recorded.lower(), actual.lower()
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
