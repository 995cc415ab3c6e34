"""Decides which recorded values came in, which the program made itself, and which are constant.

Only a value that looks generated (see `values.find_candidates`) can be one; it is one unless it
occurs in an input: the case's request, an earlier answer of a dependency, or an earlier case.
Everything else stays exact.  Every occurrence of a generated value, first or later, becomes a
placeholder, so that a test compares it through the binding of recorded to actual values.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from kebpf.protocols.base import Document
from kebpf.recording import times
from kebpf.recording.intake import Intake
from kebpf.recording.model import Strength
from kebpf.recording.templates import is_time_class, write_template
from kebpf.recording.values import (
    Token,
    Window,
    find_texts,
    find_tokens,
)

MOST_INPUTS = 60_000  # distinct input tokens remembered across a recording
MOST_GENERATED = 60_000  # distinct generated tokens remembered across a recording
MOST_CASE_TEXT = 4 << 20  # characters of one case's inputs that are searched for substrings

FRESH_ONLY = ("uuid1", "uuid6", "uuid7", "ulid", "ksuid", "objectid", "snowflake")


@dataclass(slots=True)
class CaseProvenance:
    """JSON pointer → template, for each call's identity and for the response."""

    calls: list[dict[str, str]] = field(default_factory=list)
    response: dict[str, str] = field(default_factory=dict)
    strength: Strength = field(default_factory=Strength)


class _Memory:
    """Keys in order of use, the oldest forgotten beyond a cap, each with a class name."""

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._classes: OrderedDict[str, str] = OrderedDict()

    def add(self, key: str, class_name: str = "") -> None:
        self._classes[key] = self._classes.get(key) or class_name
        self._classes.move_to_end(key)
        if len(self._classes) > self._cap:
            self._classes.popitem(last=False)

    def get(self, key: str) -> str | None:
        return self._classes.get(key)


class _FirstSeen:
    """When each value first came in, the oldest forgotten beyond a cap.

    Cases are settled in the order in which they began, so what came in with a long one may be
    known before an earlier case is settled: only its time says that it was not there yet.
    """

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._times: OrderedDict[str, int] = OrderedDict()

    def add(self, key: str, time_ns: int) -> None:
        self._times[key] = min(self._times.get(key, time_ns), time_ns)
        self._times.move_to_end(key)
        if len(self._times) > self._cap:
            self._times.popitem(last=False)

    def is_older(self, key: str, time_ns: int) -> bool:
        first_ns = self._times.get(key)
        return first_ns is not None and first_ns <= time_ns


class _CaseInputs:
    """The texts that came in during one case, for a search of exact substrings."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._size = 0
        self._whole: str | None = None
        self.keys: set[str] = set()

    def add(self, intake: Intake) -> None:
        self._whole = None
        if self._size + intake.size <= MOST_CASE_TEXT:
            self._texts += intake.texts
            self._size += intake.size
            return
        for text in intake.texts:
            if self._size + len(text) <= MOST_CASE_TEXT:
                self._texts.append(text)
                self._size += len(text)

    def holds(self, token: str) -> bool:
        if self._whole is None:
            self._whole = "\n".join(self._texts)  # no token has a line end in it
            self._texts = [self._whole]
        return token.lower() in self._whole


class Provenance:
    """Settles where the values of a recording came from; one object sees the whole of it."""

    def __init__(self) -> None:
        self._inputs = _FirstSeen(MOST_INPUTS)
        self._generated = _Memory(MOST_GENERATED)

    def settle(
        self,
        case_request_view: Any,
        calls: Sequence[tuple[Document, Any]],
        response_view: Any,
        window: Window,
        call_windows: Sequence[Window] = (),
    ) -> CaseProvenance:
        """Settles one case; ``calls`` are ``(identity, response view)`` in the order made.

        The views of what came in may be `Intake`s of them.
        ``call_windows`` say when each was made and answered (else: within the case's window).
        """
        result = CaseProvenance()
        inputs = _CaseInputs()
        self._take_inputs(case_request_view, inputs, window, window.start_ns)
        for index, (identity, answer_view) in enumerate(calls):
            made = call_windows[index] if call_windows else window
            result.calls.append(
                self._settle_tree(identity, inputs, window, result.strength, made.start_ns)
            )
            self._take_inputs(answer_view, inputs, window, made.end_ns)
        result.response = self._settle_tree(
            response_view, inputs, window, result.strength, window.end_ns
        )
        return result

    def settle_call(
        self,
        identity: Document,
        response_view: Any,
        window: Window,
        input_views: Sequence[Any] = (),
        made: Window | None = None,
    ) -> dict[str, str]:
        """Settles a call that belongs to no one case; ``input_views`` came in before it.

        Those count here only: the cases they belong to may not be settled yet.  ``made`` says
        when the call was made and answered, ``window`` when its values can have been fresh.
        """
        made = made or window
        inputs = _CaseInputs()
        for view in input_views:
            self._take_inputs(view, inputs, window, None)
        templates = self._settle_tree(identity, inputs, window, Strength(), made.start_ns)
        self._take_inputs(response_view, inputs, window, made.end_ns)
        return templates

    def _take_inputs(
        self, view: Any, inputs: _CaseInputs, window: Window, time_ns: int | None
    ) -> None:
        """``time_ns`` is when it came in; ``None``: it counts here only."""
        intake = view if isinstance(view, Intake) else Intake(view)
        inputs.add(intake)
        for text in intake.telling:
            self._index_tokens(text, inputs, window, time_ns)

    def _index_tokens(
        self, text: str, inputs: _CaseInputs, window: Window, time_ns: int | None
    ) -> None:
        for token in find_tokens(text, window):
            for key in _keys_of(token):
                inputs.keys.add(key)
                if time_ns is not None and not self._generated.get(key):
                    self._inputs.add(key, time_ns)

    def _settle_tree(
        self, tree: Any, inputs: _CaseInputs, window: Window, strength: Strength, time_ns: int
    ) -> dict[str, str]:
        """``time_ns`` is when the tree was sent: what came in later is no input of it."""
        templates = {}
        texts: list[tuple[str, str]] = []
        count = find_texts(tree, "", texts)
        for path, text in texts:
            placeholders = self._settle_text(text, inputs, window, time_ns)
            if placeholders:
                templates[path] = write_template(text, placeholders)
        strength.by_class += len(templates)
        strength.exact += count - len(templates)
        return templates

    def _settle_text(
        self, text: str, inputs: _CaseInputs, window: Window, time_ns: int
    ) -> list[tuple[int, int, str]]:
        placeholders = []
        for token in find_tokens(text, window):
            class_name = self._settle_token(token, inputs, time_ns)
            if class_name is not None:
                placeholders.append((token.start, token.end, class_name))
        return placeholders

    def _settle_token(self, token: Token, inputs: _CaseInputs, time_ns: int) -> str | None:
        """The class of a generated token, ``None`` for a derived or literal one."""
        keys = _keys_of(token)
        earlier = self._generated.get(keys[0])
        if not token.is_candidate:
            return None if earlier is None else _seen_class(token, earlier)
        is_here = keys[0] in inputs.keys or inputs.holds(token.text)
        if is_here and is_time_class(token.class_name) and _is_coarse(token):
            return f"either:{token.class_name}"
        if earlier is None and (is_here or self._is_old_input(token, keys[0], time_ns)):
            return None
        if is_here and earlier is not None and is_time_class(token.class_name):
            return _seen_class(token, earlier)  # it came back from where it was put
        for key in keys:
            self._generated.add(key, token.class_name)
        return token.class_name

    def _is_old_input(self, token: Token, key: str, time_ns: int) -> bool:
        is_old = self._inputs.is_older(key, time_ns)
        return is_old and not (is_time_class(token.class_name) and _is_coarse(token))


def _seen_class(token: Token, earlier: str) -> str:
    """A time-carrying value made by an earlier case is no longer fresh: only its binding counts."""
    if is_time_class(token.class_name):
        return f"seen:{token.class_name}"
    if is_time_class(earlier):
        return f"seen:{earlier}"
    return f"seen:{earlier.removeprefix('seen:')}" if earlier in FRESH_ONLY else earlier


def _is_coarse(token: Token) -> bool:
    value = times.parse_time(token.text)
    if value is not None:
        return value.resolution_ns >= times.SECOND_NS
    return "epoch_s" in token.class_name and "." not in token.text


def _keys_of(token: Token) -> list[str]:
    """The spellings under which a token is the same value elsewhere, its own first."""
    if token.class_name.startswith("uuid"):
        return [token.text.replace("-", "").lower()]
    if token.class_name.lower().startswith(("hex:", "objectid")):
        return [token.text.lower()]
    if is_time_class(token.class_name):
        value = times.parse_time(token.text)
        if value is not None and value.resolution_ns <= 1_000_000:
            keys = [f"us {value.time_ns // 1000}", f"ms {value.time_ns // 1_000_000}"]
            return keys if value.resolution_ns <= 1000 else keys[1:]
    return [token.text]
