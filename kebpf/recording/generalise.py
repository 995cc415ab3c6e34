"""Turns values that were seen to differ into a template: what stayed literal, what varied a class.

The literal skeleton is kept as far as all texts share it.  Every template given matches all
values it was made of; where no class does but the type, it asserts the type.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kebpf.recording import clocks
from kebpf.recording.choosing import Column, choose_class, choose_strict_class
from kebpf.recording.templates import (
    class_pattern,
    match_template,
    placeholder_spans,
    write_template,
)
from kebpf.recording.times import Window
from kebpf.recording.values import find_tokens, text_of

LONGEST_TEXT = 1 << 20  # characters; longer texts are not taken apart

_WORD = re.compile(r"\d+\.\d+|[A-Za-z0-9]+|.", re.ASCII | re.DOTALL)
_CLOCK = re.compile(rf"(?<![0-9A-Za-z])(?:{clocks.SCAN_PATTERN})(?![0-9A-Za-z])", re.ASCII)

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Seen:
    """The values at one place, the recorded one first, each with the time it was made in.

    ``pool`` are those at the same place of cases alike, repeats included; ``template`` is what
    was asserted of the place so far, ``is_strict`` says that no free text is to be allowed there.
    """

    values: Sequence[Any]
    windows: Sequence[Window | None]
    pool: Sequence[Any] = ()
    template: str | None = None
    is_strict: bool = False


def generalise(seen: Seen) -> str | None:
    """The template for what was seen; ``None`` when not even the type is common."""
    if all(isinstance(value, bool) for value in seen.values):
        return "{boolean}"
    texts = [text_of(value) for value in seen.values]
    kinds = {type(value) for value in seen.values}
    if any(text is None or len(text) > LONGEST_TEXT for text in texts):
        return None
    columns = [text for text in texts if text is not None]
    if kinds <= {int, float}:
        return _generalise_number(seen, columns, kinds)
    if len(kinds) > 1:
        return None
    return next((found for found in _templates(seen, columns) if _fits(found, columns)), None)


def _generalise_number(seen: Seen, texts: list[str], kinds: set[type]) -> str:
    pool = [str(text_of(value)) for value in seen.pool]
    name = choose_strict_class(Column(texts, seen.windows, pool))
    if name is None or (len(kinds) > 1 and not name.startswith("decimal")):
        return "{number}"
    return f"{{{name}}}"


def _fits(template: str, texts: Sequence[str]) -> bool:
    return all(match_template(template, text) is not None for text in texts)


def _templates(seen: Seen, texts: list[str]) -> Iterator[str]:
    pool = [text for text in map(text_of, seen.pool) if text is not None]
    whole = _fill_hole(texts, (0, 0), Column(texts, seen.windows, pool), seen.is_strict)
    if whole is not None and not _is_free_text(whole):
        yield whole
    aligned = _align(seen, texts)
    if aligned is not None:
        yield aligned
    holed = _cut_hole(seen, texts)
    if holed is not None:
        yield holed
    if whole is not None:
        yield whole
    if not seen.is_strict:
        yield "{string}"


def _is_free_text(template: str) -> bool:
    return template.startswith("{text:")


def _align(seen: Seen, texts: list[str]) -> str | None:
    """Word by word, if all texts have the same words and signs but for some words."""
    old = placeholder_spans(seen.template, texts[0]) if seen.template else []
    rows = [
        _split(text, window, old if number == 0 else None)
        for number, (text, window) in enumerate(zip(texts, seen.windows, strict=True))
    ]
    if len({len(row) for row in rows}) != 1:
        return None
    places = []
    known = {(start, end): name for start, end, name in old}
    for spans in zip(*rows, strict=True):
        values = [text[a:b] for text, (a, b) in zip(texts, spans, strict=True)]
        name = known.pop(spans[0], None)
        if len(set(values)) == 1 and name is None:
            continue
        if name is None or not all(_is_of(value, name) for value in values):
            if not all(value[:1].isalnum() for value in values):
                return None
            choose = choose_strict_class if seen.is_strict else choose_class
            name = choose(Column(values, seen.windows))
        if name is None:
            return None
        places.append((*spans[0], name))
    return None if known else write_template(texts[0], places)


def _is_of(text: str, class_name: str) -> bool:
    return re.fullmatch(class_pattern(class_name), text, re.ASCII | re.DOTALL) is not None


def _split(
    text: str, window: Window | None, old: Sequence[tuple[int, int, str]] | None
) -> list[Span]:
    """Tokens and times as one piece each, words and single signs between them."""
    atoms = [(token.start, token.end) for token in find_tokens(text, window)]
    atoms = sorted({*atoms, *((start, end) for start, end, _ in old or ())})
    spans: list[Span] = []
    end = 0
    for start, stop in [*atoms, (len(text), len(text))]:
        if start < end:
            continue
        spans += _split_words(text, end, start, window)
        if stop > start:
            spans.append((start, stop))
        end = stop
    return spans


def _split_words(text: str, start: int, end: int, window: Window | None) -> Iterator[Span]:
    if window is not None:
        for match in _CLOCK.finditer(text, start, end):
            if next(clocks.find_clock_classes(match.group(), window), None) is None:
                continue
            yield from ((m.start(), m.end()) for m in _WORD.finditer(text, start, match.start()))
            yield match.span()
            start = match.end()
    yield from ((m.start(), m.end()) for m in _WORD.finditer(text, start, end))


def _cut_hole(seen: Seen, texts: list[str]) -> str | None:
    """One hole between what all texts begin and end with, whole words wide."""
    head = _common_size(texts)
    tail = _common_size([text[head:][::-1] for text in texts])
    while head and any(_cuts_word(text, head) for text in texts):
        head -= 1
    while tail and any(_cuts_word(text, len(text) - tail) for text in texts):
        tail -= 1
    if not head and not tail:
        return None
    values = [text[head : len(text) - tail] for text in texts]
    return _fill_hole(texts, (head, tail), Column(values, seen.windows), seen.is_strict)


def _common_size(texts: Sequence[str]) -> int:
    """How many characters all texts begin with."""
    first, last = min(texts), max(texts)
    pairs = enumerate(zip(first, last, strict=False))
    return next((at for at, (one, other) in pairs if one != other), min(len(first), len(last)))


def _cuts_word(text: str, at: int) -> bool:
    return 0 < at < len(text) and text[at - 1].isalnum() and text[at].isalnum()


def _fill_hole(
    texts: list[str], around: tuple[int, int], column: Column, is_strict: bool
) -> str | None:
    head, tail = around
    choose = choose_strict_class if is_strict else choose_class
    name = choose(column)
    if name is None:
        return None
    return write_template(texts[0], [(head, len(texts[0]) - tail, name)])
