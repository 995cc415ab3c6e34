"""Glob patterns of channels and keys (``stringmatchlen`` of the Redis source)."""

from __future__ import annotations

import re
from functools import lru_cache

from kebpf.protocols.redis.text import Text, to_bytes


def matches_pattern(pattern: Text, name: Text) -> bool:
    """Whether a name matches: ``*``, ``?``, ``[a-c]``, ``[^a]``, and ``\\`` before any of them."""
    return _compile(to_bytes(pattern)).fullmatch(to_bytes(name)) is not None


@lru_cache(maxsize=256)
def _compile(pattern: bytes) -> re.Pattern[bytes]:
    out, at = b"", 0
    while at < len(pattern):
        piece, at = _translate(pattern, at)
        out += piece
    return re.compile(out, re.DOTALL)


def _translate(pattern: bytes, at: int) -> tuple[bytes, int]:
    """One element as a regular expression, and where the next begins."""
    byte = pattern[at : at + 1]
    if byte == b"*":
        return b".*", at + 1
    if byte == b"?":
        return b".", at + 1
    if byte == b"[":
        return _translate_class(pattern, at + 1)
    if byte == b"\\" and at + 1 < len(pattern):
        return re.escape(pattern[at + 1 : at + 2]), at + 2
    return re.escape(byte), at + 1


def _translate_class(pattern: bytes, at: int) -> tuple[bytes, int]:
    """``[…]``, which the pattern's end closes too."""
    is_negated = pattern[at : at + 1] == b"^"
    at += is_negated
    members: set[int] = set()
    while at < len(pattern) and pattern[at] != 0x5D:
        if pattern[at] == 0x5C and at + 1 < len(pattern):
            at += 1
        first = last = pattern[at]
        if pattern[at + 1 : at + 2] == b"-" and at + 2 < len(pattern):
            last = pattern[at + 2]
            at += 2
        members.update(range(min(first, last), max(first, last) + 1))
        at += 1
    if is_negated:
        members = set(range(256)) - members
    choices = b"".join(re.escape(bytes([one])) for one in sorted(members))
    return (b"[" + choices + b"]" if members else b"(?!)"), at + 1
