"""The texts of a message in which values may lie: what came in with it, read once.

A text is read as it is and as it may have been written for another medium: URL-encoded, escaped,
in base64.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from functools import lru_cache
from typing import Any
from urllib.parse import unquote, unquote_plus

from kebpf.recording.values import SHORTEST_TOKEN, may_hold_tokens, text_of

_CACHED_SIZE = 64  # characters of a text whose forms are worth remembering


class Intake:
    """Of one message; ``size`` in characters.

    ``texts`` are all of its texts in lower case that are long enough for a token, ``telling``
    those, as they were written, that may hold one.
    """

    __slots__ = ("size", "telling", "texts")

    def __init__(self, view: Any) -> None:
        self.texts: list[str] = []
        self.telling: list[str] = []
        _read(view, self.texts, self.telling)
        self.size = sum(map(len, self.texts))


def _read(tree: Any, texts: list[str], telling: list[str]) -> None:
    if isinstance(tree, dict | list | tuple):
        for value in tree.values() if isinstance(tree, dict) else tree:
            if type(value) is str:
                if len(value) >= SHORTEST_TOKEN:
                    _read_text(value, texts, telling)
            elif value is not None:
                _read(value, texts, telling)
        return
    text = text_of(tree)
    if text is None and isinstance(tree, bytes):
        text = tree.decode("latin-1")  # a pickle, say: the texts in it came in with it
    if text is not None and len(text) >= SHORTEST_TOKEN:
        _read_text(text, texts, telling)


def _read_text(text: str, texts: list[str], telling: list[str]) -> None:
    lowered, found = _forms_of(text) if len(text) <= _CACHED_SIZE else _find_forms(text)
    texts += lowered
    if found:
        telling += found


def _find_forms(text: str) -> tuple[list[str], list[str]]:
    """All forms in lower case, and those that may hold a token."""
    forms = list(_decoded_forms(text))
    return [form.lower() for form in forms], [form for form in forms if may_hold_tokens(form)]


_forms_of = lru_cache(maxsize=4096)(_find_forms)


def _decoded_forms(text: str) -> Iterator[str]:
    """A text as it is and, where that differs, URL-decoded, unescaped and base64-decoded."""
    yield text
    if "%" in text:
        yield unquote(text)
    if "+" in text or "%" in text:
        yield unquote_plus(text)
    if "\\" in text:
        yield text.replace("\\/", "/").replace('\\"', '"')
    decoded = _decode_base64(text.removeprefix("Basic ").removeprefix("Bearer "))
    if decoded is not None:
        yield decoded


def _decode_base64(text: str) -> str | None:
    if not 12 <= len(text) <= 1 << 16 or " " in text:
        return None
    body = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(body + "=" * (-len(body) % 4), validate=True).decode()
    except (ValueError, binascii.Error):
        return None
