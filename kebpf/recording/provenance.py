"""Decides which recorded values came in, which the program made itself, and which are constant.

Only a value that looks generated (see `values.find_candidates`) can be one; it is one unless it
occurs in an input: the case's request, an earlier answer of a dependency, or an earlier case.
Everything else stays exact.  What the case made is a placeholder wherever it occurs in the case,
so that a test compares it through the binding of recorded to actual values.  What an earlier case
made and this one was given is exact again: a test knows what it stands for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kebpf.protocols.base import Document
from kebpf.recording import times
from kebpf.recording.durations import find_durations
from kebpf.recording.fractions import Fractions
from kebpf.recording.intake import Intake
from kebpf.recording.model import Strength
from kebpf.recording.origins import (
    CaseOrigins,
    FirstSeen,
    Memory,
    exact_keys,
    find_second_key,
    keys_of,
    read_time,
    second_key,
    unit_of,
)
from kebpf.recording.slugs import Slugs
from kebpf.recording.templates import is_time_class, split_time_class, write_template
from kebpf.recording.values import (
    Token,
    Window,
    find_texts,
    find_tokens,
    text_of,
    walk_scalars,
)
from kebpf.recording.wrapping import KINDS, PACKED, has_random_signature, name_class, open_token

MOST_INPUTS = 60_000  # distinct input tokens remembered across a recording
MOST_GENERATED = 60_000  # distinct generated tokens remembered across a recording

FRESH_ONLY = ("uuid1", "uuid6", "uuid7", "ulid", "ksuid", "objectid", "snowflake")


@dataclass(slots=True)
class CaseProvenance:
    """JSON pointer → template, for each call's identity and for the response."""

    calls: list[dict[str, str]] = field(default_factory=list)
    response: dict[str, str] = field(default_factory=dict)
    strength: Strength = field(default_factory=Strength)


@dataclass(slots=True, frozen=True)
class _Message:
    """One that was sent: what had come in and been made by then, and when it was answered."""

    origins: CaseOrigins
    window: Window
    sent_ns: int
    answered_ns: int
    is_packed: bool = False  # so that what it holds cannot be found again in its bytes


class Provenance:
    """Settles where the values of a recording came from; one object sees the whole of it."""

    def __init__(self) -> None:
        self._inputs = FirstSeen(MOST_INPUTS)
        self._generated = Memory(MOST_GENERATED)
        self.slugs = Slugs()
        self.fractions = Fractions()

    def settle(
        self,
        case_request_view: Any,
        calls: Sequence[tuple[Document | None, Any]],
        response_view: Any,
        window: Window,
        call_windows: Sequence[Window] = (),
    ) -> CaseProvenance:
        """Settles one case; ``calls`` are ``(identity, response view)`` in the order made.

        The identity is ``None`` of a call that only may be the case's: its answer may have come in.
        The views of what came in may be `Intake`s of them.
        ``call_windows`` say when each was made and answered (else: within the case's window).
        """
        result = CaseProvenance()
        origins = CaseOrigins()
        self._take_inputs(case_request_view, origins, window, window.start_ns)
        for index, (identity, answer_view) in enumerate(calls):
            made = call_windows[index] if call_windows else window
            if identity is None:
                result.calls.append({})
                self._take_inputs(answer_view, origins, window, made.end_ns, is_certain=False)
                continue
            end_ns = max(window.end_ns, made.start_ns)  # it may have been made behind the response
            message = _Message(origins, Window(window.start_ns, end_ns), made.start_ns, made.end_ns)
            result.calls.append(self._settle_tree(identity, message, result.strength))
            self._take_inputs(answer_view, origins, window, made.end_ns)
        message = _Message(origins, window, window.end_ns, window.end_ns)
        result.response = self._settle_tree(response_view, message, result.strength)
        _add_durations(response_view, result)
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
        origins = CaseOrigins()
        for view in input_views:
            self._take_inputs(view, origins, window, None)
        message = _Message(origins, window, made.start_ns, made.end_ns)
        templates = self._settle_tree(identity, message, Strength())
        self._take_inputs(response_view, origins, window, made.end_ns)
        return templates

    def _take_inputs(
        self,
        view: Any,
        origins: CaseOrigins,
        window: Window,
        time_ns: int | None,
        is_certain: bool = True,
    ) -> None:
        """``time_ns`` is when it came in; ``None``: it counts here only.

        Unless it ``is_certain`` that it did, a time is not held to be a shorter spelling of one in
        it, but perhaps is.
        """
        intake = view if isinstance(view, Intake) else Intake(view)
        origins.add(intake)
        for text in intake.telling:
            self._index_tokens(text, origins, window, time_ns, is_certain)

    def _index_tokens(
        self,
        text: str,
        origins: CaseOrigins,
        window: Window,
        time_ns: int | None,
        is_certain: bool,
    ) -> None:
        for token in find_tokens(text, window):
            keys = keys_of(token)
            exact = exact_keys(keys)
            if is_certain:
                origins.keys.update(keys)
            else:
                origins.keys.update(exact)
                origins.perhaps.update(keys)
            for key in exact:
                if time_ns is not None and not self._generated.get(key):
                    self._inputs.add(key, time_ns)
            second = find_second_key(token)
            if second is not None:
                origins.keys.add(second)

    def _settle_tree(self, tree: Any, message: _Message, strength: Strength) -> dict[str, str]:
        templates, count = self._find_templates(tree, message)
        strength.by_class += len(templates)
        strength.exact += count - len(templates)
        return templates

    def _find_templates(self, tree: Any, message: _Message) -> tuple[dict[str, str], int]:
        """The templates of a tree, and how many scalars it has."""
        templates = {}
        texts: list[tuple[str, str]] = []
        count = find_texts(tree, "", texts)
        if self.slugs.is_known:
            texts = [(path, text) for path, one in walk_scalars(tree) if (text := text_of(one))]
        for path, text in texts:
            found = self._settle_text(text, message)
            if found:
                placeholders = [(a, b, self.fractions.widen(path, name)) for a, b, name in found]
                templates[path] = write_template(text, placeholders)
        return templates, count

    def _settle_text(self, text: str, message: _Message) -> list[tuple[int, int, str]]:
        placeholders = []
        for token in self._find_tokens(text, message.window):
            class_name = self._settle_token(token, message)
            if class_name is not None:
                placeholders.append((token.start, token.end, class_name))
        is_told = message.is_packed or any(map(_is_loose, placeholders))
        return placeholders if is_told else []

    def _find_tokens(self, text: str, window: Window) -> list[Token]:
        """The tokens of a text in order, short ones beside those that tell by themselves."""
        tokens = find_tokens(text, window)
        short = [
            slug
            for slug in self.slugs.find(text)
            if all(slug.end <= one.start or one.end <= slug.start for one in tokens)
        ]
        return sorted([*tokens, *short], key=_start_of) if short else tokens

    def _settle_token(self, token: Token, message: _Message) -> str | None:
        """The class of a generated token, ``None`` for a derived or literal one."""
        keys = keys_of(token)
        if is_time_class(token.class_name) or token.class_name == "number":
            return self._settle_time(token, keys, message)
        earlier = self._generated.get(keys[0])
        is_own = keys[0] in message.origins.made
        if not is_own and message.origins.holds(token, keys):
            return None if earlier is None else f"seen:{token.class_name}"
        if not token.is_candidate:
            return None if earlier is None else _seen_class(earlier)
        if earlier is None and self._inputs.is_older(keys[0], message.sent_ns):
            return None
        class_name = token.class_name
        if class_name in KINDS:
            opened = self._settle_opened(token, message) if earlier is None else earlier
            if opened is None:
                return None
            class_name = opened
        self._note_made(keys, class_name, message)
        return class_name

    def _settle_opened(self, token: Token, message: _Message) -> str | None:
        """The class of a token that says something: what is new in it; ``None``: nothing."""
        opened = open_token(token.text)
        if opened is None:
            return None
        if opened.kind in PACKED:
            message = replace(message, is_packed=True)
        templates, _ = self._find_templates(opened.tree, message)
        if not templates and not has_random_signature(opened):
            return None
        return name_class(opened.kind, templates)

    def _settle_time(self, token: Token, keys: list[str], message: _Message) -> str | None:
        earlier = self._generated.get(keys[0])
        if earlier is None and len(keys) > 1 and keys[0].endswith("000"):
            earlier = _made_in_ms(self._generated.get(keys[1]))  # and printed by another
        origins = message.origins
        is_here = origins.holds(token, keys) or origins.holds_second(token)
        if not token.is_candidate:
            told = None if earlier or is_here else self._find_told(token, message)
            if told is not None:
                self._note_made(keys, told, message)
            return told or self._settle_past(token, keys, earlier, is_here)
        is_coarse = _is_coarse(token)
        is_perhaps = not is_here and not origins.perhaps.isdisjoint(keys)
        if (is_here and is_coarse) or is_perhaps:
            return f"either:{token.class_name}"
        is_old = not is_coarse and self._inputs.is_older(keys[0], message.sent_ns)
        if earlier is None and (is_here or is_old):
            return None
        if earlier is not None and (is_here or self._is_kept(token, keys[0], message)):
            return _seen_class(token.class_name)  # it came back from where it was put, or was kept
        self._note_made(keys, token.class_name, message)
        return token.class_name

    def _find_told(self, token: Token, message: _Message) -> str | None:
        """The class of a time that is as far from now as a number says that came in: a delay."""
        if not is_time_class(token.class_name):
            return None
        format_ = split_time_class(token.class_name)[0]
        value = times.parse_in_format(token.text, format_)
        shift = message.origins.find_told_shift(value, message.window) if value else None
        return f"time:{format_}@{shift:+.9g}" if shift else None

    def _is_kept(self, token: Token, key: str, message: _Message) -> bool:
        """Whether a time that was made before is that one, not another reading of the clock.

        No two readings with an exchange between them are equal to the microsecond.
        """
        if not key.startswith("us "):
            return False
        answered_ns = message.origins.made.get(key)
        if answered_ns is None:
            return split_time_class(token.class_name)[1] != 0
        return answered_ns <= message.sent_ns

    def _settle_past(
        self, token: Token, keys: list[str], earlier: str | None, is_here: bool
    ) -> str | None:
        """A time that cannot have been made by this case: the binding of an earlier one, or none.

        Whole seconds may be those of a finer time that was made earlier.
        """
        if earlier is None and is_here:
            value = read_time(token.text)
            if value is not None and value.resolution_ns == times.SECOND_NS:
                earlier = self._generated.get(second_key(value))
        if earlier is None:
            return None
        unit = unit_of(token.text) if token.class_name == "number" else None
        if unit is None:
            return _seen_class(token.class_name)
        return f"seen:time:{unit}" if is_time_class(earlier) else _seen_class(earlier)

    def _note_made(self, keys: list[str], class_name: str, message: _Message) -> None:
        for key in keys:
            self._generated.add(key, class_name)
            message.origins.made.setdefault(key, message.answered_ns)
        if keys[0].startswith("us "):
            self._generated.add(f"s {int(keys[0][3:]) // 1_000_000}", class_name)
        elif keys[0].startswith("ms "):
            self._generated.add(f"s {int(keys[0][3:]) // 1000}", class_name)


def _start_of(token: Token) -> int:
    return token.start


def _add_durations(response_view: Any, result: CaseProvenance) -> None:
    for path, template in find_durations(response_view).items():
        if path not in result.response:
            result.response[path] = template
            result.strength.by_class += 1
            result.strength.exact -= 1


def _is_loose(placeholder: tuple[int, int, str]) -> bool:
    """Whether more than equality after binding is to be judged: a text of ids made earlier and
    given now is compared as it is.
    """
    class_name = placeholder[2]
    return is_time_class(class_name) or not class_name.startswith("seen:")


def _seen_class(earlier: str) -> str:
    """A time-carrying value made by an earlier case is no longer fresh: only its binding counts."""
    if is_time_class(earlier):
        return f"seen:time:{split_time_class(earlier)[0]}"
    if earlier in FRESH_ONLY:
        return f"seen:{earlier}"
    return earlier


def _made_in_ms(earlier: str | None) -> str | None:
    """The class of a time made earlier, if it was made in milliseconds."""
    is_ms = earlier is not None and ("%3f" in earlier or "epoch_ms" in earlier)
    return earlier if is_ms else None


def _is_coarse(token: Token) -> bool:
    value = times.parse_time(token.text)
    if value is not None:
        return value.resolution_ns >= times.SECOND_NS
    return "epoch_" in token.class_name and "." not in token.text and len(token.text) <= 10
