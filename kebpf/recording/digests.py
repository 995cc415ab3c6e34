"""Digests of what came in: a program keeps a key's SHA-256 and looks it up by that."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from functools import lru_cache

SIZES = (32, 40, 64)  # hexadecimal digits of MD5, SHA-1 and SHA-256
LONGEST = 512  # characters of a text that is digested

_BETWEEN = re.compile(r"[\s;,=\"']+")
_LEAST_SECRET = 16  # characters


def find_digests(text: str) -> Iterator[str]:
    """In hexadecimal, those of a text and of each long word with letters and digits in it."""
    if not _LEAST_SECRET <= len(text) <= LONGEST:
        return
    for word in {text, *_BETWEEN.split(text)}:
        if len(word) >= _LEAST_SECRET and not (word.isalpha() or word.isdigit()):
            yield from _digest(word)


def is_digest_size(text: str) -> bool:
    """Whether a text of hexadecimal digits may be one of these."""
    return len(text) in SIZES


@lru_cache(maxsize=2048)
def _digest(text: str) -> tuple[str, ...]:
    data = text.encode(errors="replace")
    made = (hashlib.new(name, data, usedforsecurity=False) for name in ("md5", "sha1", "sha256"))
    return tuple(one.hexdigest() for one in made)


EMPTY = frozenset(_digest(""))  # of nothing at all, so nothing generated
