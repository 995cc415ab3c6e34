"""Goes over single texts: to learn the secrets in them, or to write what stands for these.

What is in a text of the usual kind is told by a few quick looks (`Signs`), none of which depends
on what is known, so that they are remembered for short texts, which come again.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from kebpf.recording.redaction import forms
from kebpf.recording.redaction.headers import find_password
from kebpf.recording.redaction.names import OTHER
from kebpf.recording.redaction.spans import BASE64, RAW, Span, choose_spans, write_spans
from kebpf.recording.redaction.vault import Vault, find_runs

Finder = Callable[[str], Iterable[Span]]
Learn = Callable[[str, str], None]  # a secret's value and its kind

_CACHED_SIZE = 64  # characters of a text whose signs are worth remembering
_LEAST = 3  # characters of a text that can hold anything
_LEAST_ENCODED = 16  # of one in which something may be encoded
_MOST_DEPTH = 3  # encodings within each other
_ENCODED = re.compile(r"[A-Za-z0-9+/_-](?<![A-Za-z0-9+/_-].)[A-Za-z0-9+/_-]{15,}+={0,2}", re.ASCII)
_HEX = re.compile(r"(?:[0-9a-f]{2}){8,}|(?:[0-9A-F]{2}){8,}", re.ASCII)


class Encoded(NamedTuple):
    """A run ``text[start:end]`` that says ``inner``, a text, in base64 or in hexadecimal."""

    start: int
    end: int
    inner: str
    is_hex: bool


class Signs(NamedTuple):
    """What a text may hold: its runs, whether secrets by form, and the texts encoded in it."""

    runs: frozenset[str]
    has_forms: bool
    encoded: tuple[Encoded, ...]


def _look(text: str) -> Signs:
    encoded = tuple(_list_encoded(text)) if len(text) >= _LEAST_ENCODED else ()
    return Signs(find_runs(text), forms.may_hold_forms(text), encoded)


def _list_encoded(text: str) -> Iterator[Encoded]:
    for found in _ENCODED.finditer(text):
        run = found.group()
        inner = _read_hex(run) if _HEX.fullmatch(run) else None
        is_hex = inner is not None
        inner = inner or read_base64(run)
        if inner is not None and len(inner) >= _LEAST:
            yield Encoded(*found.span(), inner, is_hex)


def _read_hex(run: str) -> str | None:
    data = bytes.fromhex(run)
    return data.decode() if data.isascii() else None


def read_base64(run: str) -> str | None:
    """The text that a run says in base64, ``None`` if it is none."""
    body = run.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(body + "=" * (-len(body) % 4), validate=True).decode()
    except (ValueError, binascii.Error):
        return None


def write_base64(text: str, model: str) -> str:
    """A text in base64 of the model's alphabet, padded as that."""
    written = base64.b64encode(text.encode()).decode()
    if "-" in model or "_" in model:
        written = written.replace("+", "-").replace("/", "_")
    return written if len(model) % 4 == 0 else written.rstrip("=")


_look_at_short = lru_cache(maxsize=2048)(_look)


def read_signs(text: str) -> Signs:
    """Remembered for short texts."""
    return _look_at_short(text) if len(text) <= _CACHED_SIZE else _look(text)


class Learner:
    """Tells of the secrets that are found by their places; changes nothing."""

    def __init__(self, learn: Learn) -> None:
        self._learn = learn

    def edit(self, text: str, find: Finder | None = None, only_known: bool = False) -> str:
        """The text itself."""
        if find is not None:
            for span in find(text):
                self._learn(span.value, span.kind)
        return text

    @property
    def needs_all(self) -> bool:
        """Only texts whose place tells."""
        return False

    def passes(self, texts: Iterable[str]) -> bool:
        """Whether texts whose places say nothing need not be looked at."""
        return True


class Writer:
    """Writes what stands for the secrets in texts.

    ``stand_in`` gives it for a value and its kind, and is told of each that is used.  ``echoes``
    are secrets too common to be looked for everywhere: here they are where they are a whole value.
    """

    def __init__(
        self,
        vault: Vault,
        stand_in: Callable[[str, str], str],
        patterns: Collection[re.Pattern[str]] = (),
        echoes: Collection[str] = (),
    ) -> None:
        self._vault = vault
        self._look_up = stand_in
        self.used: dict[str, None] = {}  # secrets, in the order in which they came
        self._patterns = patterns
        self._echoes = _compile_echoes(echoes)
        self._depth = 0

    @property
    def needs_all(self) -> bool:
        """Also texts whose place says nothing."""
        return True

    def passes(self, texts: Iterable[str]) -> bool:
        """Whether there is nothing to change in all of them, their places left aside."""
        return self._is_clean("\n".join(texts))

    def edit(self, text: str, find: Finder | None = None, only_known: bool = False) -> str:
        """The text with what stands for its secrets; the same object if it has none.

        ``only_known``: what is a secret by its form is none here.
        """
        if find is None and self._is_clean(text):
            return text
        spans = list(self._find_known(text) if only_known else self._find_spans(text, find))
        if not spans:
            return text
        return write_spans(text, choose_spans(spans), lambda span: self._replace(text, span))

    def _is_clean(self, text: str) -> bool:
        signs = _look_at_short(text) if len(text) <= _CACHED_SIZE else _look(text)
        if signs.has_forms or signs.encoded or self._echoes is not None:
            return False
        if self._patterns and any(pattern.search(text) for pattern in self._patterns):
            return False
        return not self._vault.may_hold(signs.runs)

    def _find_spans(self, text: str, find: Finder | None) -> Iterator[Span]:
        signs = read_signs(text)
        if find is not None:
            yield from find(text)
        if signs.has_forms:
            yield from forms.find_forms(text)
        yield from self._find_known(text)
        if self._echoes is not None:
            for found in self._echoes.finditer(text):
                yield Span(*found.span(), found.group(), OTHER)
        for pattern in self._patterns:
            for found in pattern.finditer(text):
                yield Span(*found.span(pattern.groups and 1), found[pattern.groups and 1], OTHER)
        if signs.encoded and self._depth < _MOST_DEPTH:
            yield from self._find_encoded(text, signs.encoded)

    def _find_known(self, text: str) -> Iterator[Span]:
        runs = read_signs(text).runs
        if self._vault.may_hold(runs):
            yield from self._vault.find(text, runs)

    def _find_encoded(self, text: str, encoded: Iterable[Encoded]) -> Iterator[Span]:
        """The texts in base64 and in hexadecimal in which there is something to change."""
        for one in encoded:
            changed = self._edit_inner(one.inner)
            if changed is not one.inner:
                run = text[one.start : one.end]
                written = changed.encode().hex() if one.is_hex else write_base64(changed, run)
                written = written.upper() if one.is_hex and run.isupper() else written
                yield Span(one.start, one.end, run, "", RAW, written)

    def _replace(self, text: str, span: Span) -> str:
        if span.style == BASE64:
            return self._replace_inside(text[span.start : span.end])
        if span.style == RAW and span.stand_in is not None and not span.kind:
            return span.stand_in  # of an encoded text, whose secrets were looked up before
        self.used[span.value] = None
        known = self._look_up(span.value, span.kind)
        return known if span.stand_in is None else span.stand_in

    def _replace_inside(self, run: str) -> str:
        """Basic credentials."""
        inner = read_base64(run)
        return "" if inner is None else write_base64(self._edit_inner(inner, find_password), run)

    def _edit_inner(self, inner: str, find: Finder | None = None) -> str:
        self._depth += 1
        try:
            return self.edit(inner, find)
        finally:
            self._depth -= 1


def _compile_echoes(echoes: Collection[str]) -> re.Pattern[str] | None:
    """Where one of them is a whole text, or stands in quotes, or behind ``=``."""
    if not echoes:
        return None
    whole = "|".join(re.escape(one) for one in sorted(echoes, key=len, reverse=True))
    return re.compile(rf"(?:\A|(?<=[\"'=&]))(?:{whole})(?=[\"'&\\]|\Z)")
