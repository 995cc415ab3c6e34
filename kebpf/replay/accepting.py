"""Makes what a new version answered the recorded response of a case.

Nothing that is new in every run becomes a literal: what is bound to a recorded value is that
value, what took the place of a recorded one takes its name, and what is fresh gets its class.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kebpf.protocols.base import Document
from kebpf.recording import times
from kebpf.recording.loose import is_loose_class
from kebpf.recording.model import Strength, TestCase
from kebpf.recording.templates import (
    instance_class,
    is_time_class,
    placeholder_spans,
    split_time_class,
    write_template,
)
from kebpf.recording.times import SECOND_NS, Window
from kebpf.recording.values import Token, find_tokens, text_of, walk_scalars
from kebpf.replay.binding import Bindings
from kebpf.replay.comparison import compare
from kebpf.replay.events import Mismatch, Revision
from kebpf.replay.noise import Noise
from kebpf.replay.observations import resolve
from kebpf.replay.patching import Patched, PatchError, is_of_whole_body, patch_response
from kebpf.replay.rewriting import rewrite_tree
from kebpf.replay.substitution import Substitution
from kebpf.replay.world import World, find_made


class CannotAcceptError(ValueError):
    """Accepting would not be sound; the text says why."""


@dataclass(frozen=True, slots=True)
class Accepting:
    """Some of the differences of a response: those accepted, and the others."""

    case: TestCase
    accepted: Sequence[Mismatch]
    rest: Sequence[Mismatch]
    revision: Revision
    is_unbound: frozenset[str] = frozenset()  # paths where the recorded value was compared as is


def accept_response(world: World, what: Accepting, noise: Noise | None = None) -> TestCase:
    """The case as it is to be.  Raises `CannotAcceptError`."""
    case, told = what.case, what.revision.response
    if told is None:
        raise CannotAcceptError("the run did not keep the response: run it again")
    actual = told.tree
    _check_body(what)
    made = Window(what.revision.start_ns, what.revision.end_ns)
    try:
        draft = patch_response(case, actual, what.accepted)
        names = _Names(world, what, draft, made).find()
        actual = rewrite_tree(actual, names.apply)
        patched = patch_response(case, actual, what.accepted)
    except PatchError as error:
        raise CannotAcceptError(str(error)) from error
    new = replace(case, response=patched.response)
    view = world.view(new)
    settled = world.settle_response(case, view, made)
    own = find_made(world.view(case), case.generated)
    new.generated = patched.generated | {
        path: _with_own_classes(view, path, template, own)
        for path, template in settled.items()
        if patched.is_new(path)
    }
    new.strength = _count_anew(case, world.view(case), new, view)
    new.verified = [
        entry
        for entry in case.verified
        if entry.get("in") != "response" or entry.get("path") in patched.generated
    ]
    _check(world, what, new, actual, noise)
    return new


def _check_body(what: Accepting) -> None:
    whole = [one for one in what.accepted if is_of_whole_body(what.case, one)]
    if whole and any(one.path.startswith("/body") for one in what.rest):
        raise CannotAcceptError(
            "the body can be accepted as a whole only, with all its differences"
        )


def _check(
    world: World, what: Accepting, new: TestCase, actual: Document, noise: Noise | None
) -> None:
    """What is to be must be what came, but for what was not accepted."""
    came = world.get_spec(new.protocol).view(actual)
    found, _ = compare(new, world.view(new), came, Bindings(), None, noise)
    wanted = {(one.path, one.kind) for one in what.rest}
    left = [one for one in found if (one.path, one.kind) not in wanted]
    if left:
        where = left[0].path or "the response"
        more = "" if not what.rest else "; try it together with the case's other differences"
        raise CannotAcceptError(f"{where} would still differ{more}")


class _Names:
    """Finds how the recording is to call what is new in a response."""

    def __init__(self, world: World, what: Accepting, draft: Patched, made: Window) -> None:
        self._world = world
        self._what = what
        self._draft = draft
        self._made = made
        self._result = Substitution()

    def find(self) -> Substitution:
        """New value → its name in the recording."""
        lost, new = self._find_lost(), self._find_new()
        for kind, tokens in new.items():
            olds = lost.get(kind, [])
            if len(olds) == len(tokens):
                for old, token in zip(olds, tokens, strict=True):
                    self._result.add(token.text, old)
            elif is_time_class(kind):
                for token in tokens:
                    self._shift(token)
        return self._result

    def _find_new(self) -> dict[str, list[Token]]:
        """Fresh values of the accepted places that the recording does not know, by class."""
        case = self._what.case
        known = "\n".join(self._world.inputs_of(case))
        found: dict[str, dict[str, Token]] = defaultdict(dict)
        view = self._world.get_spec(case.protocol).view(self._draft.response)
        for path, scalar in walk_scalars(view):
            text = text_of(scalar) if self._draft.is_new(path) else None
            for token in find_tokens(text or "", self._made):
                is_known = token.text in self._world.tokens or token.text.lower() in known
                if token.is_candidate and not is_known:
                    found[_kind_of(token.class_name)].setdefault(token.text, token)
        return {kind: list(tokens.values()) for kind, tokens in found.items()}

    def _find_lost(self) -> dict[str, list[str]]:
        """Recorded values that nothing in the response stands for any more, by class.

        Not those that are bound to another value: what came is none of them.
        """
        case = self._what.case
        found: dict[str, list[str]] = defaultdict(list)
        view = self._world.view(case)
        kept = find_made(self._world.view(replace(case, response=self._draft.response)),
                         self._draft.generated)  # fmt: skip
        for path, template in case.generated.items():
            if path in self._draft.generated or not self._was_unbound(path):
                continue
            for token, name in find_made(view, {path: template}).items():
                kind = _kind_of(name)
                if token not in kept and not is_loose_class(name) and token not in found[kind]:
                    found[kind].append(token)
        return found

    def _was_unbound(self, path: str) -> bool:
        return any(path == place or path.startswith(f"{place}/") for place in self._what.is_unbound)

    def _shift(self, token: Token) -> None:
        """A fresh time, as if it had been made in the recording."""
        timing, revision = self._what.case.timing, self._what.revision
        format_, shift_s = split_time_class(token.class_name)
        value = times.parse_in_format(token.text, format_)
        if value is None:
            return
        ahead_ns = round(shift_s * SECOND_NS)
        then_ns = value.time_ns - ahead_ns - revision.shift_ns
        then_ns = min(max(then_ns, timing.start_ns), timing.end_ns) + ahead_ns
        text = _write_time(token.text, format_, then_ns)
        if text is not None and text != token.text:
            self._result.add(token.text, text)


_UNITS_NS = {"epoch_s": SECOND_NS, "epoch_ms": 1_000_000, "epoch_us": 1000, "epoch_ns": 1}


def _write_time(model: str, format_: str, time_ns: int) -> str | None:
    """``None`` for a format that is not written: the value stays as it came."""
    if format_ in _UNITS_NS:
        return str(time_ns // _UNITS_NS[format_])
    if format_.startswith("epoch"):
        return None
    try:
        return times.write_like(model, time_ns)
    except ValueError:
        return None


def _kind_of(class_name: str) -> str:
    """Without what says when, against the case, a time was made or seen."""
    name = instance_class(class_name)
    return f"time:{split_time_class(name)[0]}" if is_time_class(name) else name


def _with_own_classes(view: Any, path: str, template: str, own: dict[str, str]) -> str:
    """A value that the case made before is of the class that it was of."""
    text = text_of(resolve(view, path))
    if text is None:
        return template
    spans = placeholder_spans(template, text)
    return write_template(
        text, [(start, end, own.get(text[start:end], name)) for start, end, name in spans]
    )


def _count_anew(case: TestCase, before: Any, new: TestCase, now: Any) -> Strength:
    strength = replace(case.strength)
    by_class = len(new.generated) - len(case.generated)
    strength.by_class += by_class
    strength.exact += _count(walk_scalars(now)) - _count(walk_scalars(before)) - by_class
    return strength


def _count(items: Iterable[object]) -> int:
    return sum(1 for _ in items)
