"""The templates of generated values, made anew for a redacted message.

What a program sends of its own (a key from its configuration) is compared by class only: at
replay it sends the real one, and nothing that is written can tell it from another of its length.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from kebpf.recording.redaction.editor import read_base64
from kebpf.recording.redaction.redactor import Redactor
from kebpf.recording.redaction.spans import variants_of
from kebpf.recording.redaction.vault import is_telling
from kebpf.recording.templates import match_template, placeholder_spans, write_template
from kebpf.recording.values import text_of

_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{4,}={0,2}", re.ASCII)

Placeholder = tuple[int, int, str]


class Change(NamedTuple):
    """A scalar as it was and as it is written, and where it is in both trees (JSON pointers)."""

    old_path: str
    new_path: str
    before: Any
    after: Any


def list_changes(before: Any, after: Any, old: str = "", new: str = "") -> Iterator[Change]:
    """The scalars that are not what, or where, they were; the trees are of one shape."""
    if before is after and old == new:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for (step, one), (other_step, other) in zip(before.items(), after.items(), strict=False):
            yield from list_changes(
                one, other, f"{old}/{_escape(step)}", f"{new}/{_escape(other_step)}"
            )
    elif isinstance(before, list | tuple) and isinstance(after, list | tuple):
        for index, (one, other) in enumerate(zip(before, after, strict=False)):
            yield from list_changes(one, other, f"{old}/{index}", f"{new}/{index}")
    elif before != after or old != new:
        yield Change(old, new, before, after)


def _escape(step: Any) -> str:
    return str(step).replace("~", "~0").replace("/", "~1")


def adapt_templates(
    redactor: Redactor,
    generated: dict[str, str],
    before: Any,
    after: Any,
    sent: Collection[str],
) -> dict[str, str]:
    """The templates for the view ``after``, which was ``before``; ``sent`` are its secrets."""
    adapted = dict(generated)
    own = [value for value in sent if not is_telling(value) or not redactor.came_in(value)]
    for change in list_changes(before, after):
        template = adapted.pop(change.old_path, None)
        if template is not None:
            adapted[change.new_path] = _fit_template(template, change)
        elif own and change.before != change.after:
            loose = _loosen(redactor, change, own)
            if loose is not None:
                adapted[change.new_path] = loose
    return adapted


def _fit_template(template: str, change: Change) -> str:
    """The same placeholders in the text as it is now."""
    old, new = text_of(change.before), text_of(change.after)
    if old is None or new is None or old == new:
        return template
    spans = placeholder_spans(template, old)
    if len(old) == len(new) and spans:
        fitted = write_template(new, spans)
        if match_template(fitted, new) is not None:
            return fitted
    return _cover(new, _find_difference(old, new), "secret")


def _loosen(redactor: Redactor, change: Change, own: Collection[str]) -> str | None:
    """A template for what the program sends of its own; ``None`` if there is none of it here."""
    old, new = text_of(change.before), text_of(change.after)
    if old is None or new is None:
        return None
    stand_ins = {redactor.stand_in_of(value): value for value in own}
    spans = [span for one, value in stand_ins.items() for span in _find_all(new, one, value)]
    spans += _find_encoded(new, stand_ins)
    if not spans:
        is_other = any(value in old for value in own) or not any(map(is_telling, own))
        return _cover(new, _find_difference(old, new), "secret") if is_other else None
    chosen: list[Placeholder] = []
    for span in sorted(spans, key=lambda one: (one[0], -one[1])):
        if not chosen or span[0] >= chosen[-1][1]:
            chosen.append(span)
    return write_template(new, chosen)


def _find_all(text: str, stand_in: str, value: str) -> Iterator[Placeholder]:
    """What is too common to be known for one thing is not bound to one."""
    charset = "secret" if is_telling(value) else "text:any"
    for spelling in (stand_in, *(one for one, _ in variants_of(stand_in))):
        start = text.find(spelling) if spelling else -1
        while start >= 0:
            end = start + len(spelling)
            yield start, end, f"{charset}:{len(spelling)}"
            start = text.find(spelling, end)


def _find_encoded(text: str, stand_ins: Collection[str]) -> Iterator[Placeholder]:
    """What is in base64 with one of these in it: Basic credentials."""
    for found in _BASE64.finditer(text):
        inner = read_base64(found.group())
        if inner is not None and any(one in inner for one in stand_ins if one):
            yield *found.span(), f"secret:{len(found.group())}"


def _find_difference(old: str, new: str) -> tuple[int, int]:
    """The part of ``new`` that is not as in ``old``."""
    shortest = min(len(old), len(new))
    start = next((index for index in range(shortest) if old[index] != new[index]), shortest)
    rest = shortest - start
    tail = next((size for size in range(rest) if old[-1 - size] != new[-1 - size]), rest)
    return start, len(new) - tail


def _cover(text: str, span: tuple[int, int], charset: str) -> str:
    start, end = span
    return write_template(text, [(start, end, f"{charset}:{end - start}")])
