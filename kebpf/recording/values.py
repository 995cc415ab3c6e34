"""Finds the values a program generates (ids, times, random tokens) inside trees and strings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from kebpf.recording import ids, times
from kebpf.recording.randomness import is_random
from kebpf.recording.templates import (
    instance_class,
    is_time_class,
    match_template,
    matches_class,
    write_template,
)
from kebpf.recording.times import Window
from kebpf.recording.wrapping import open_token

__all__ = [
    "Token",
    "Window",
    "candidate_class",
    "find_candidates",
    "find_texts",
    "find_tokens",
    "instance_class",
    "is_time_class",
    "match_template",
    "matches_class",
    "may_hold_tokens",
    "text_of",
    "walk_scalars",
    "write_template",
]

SCANNED_TEXT_SIZE = 4 << 20  # longer text is not searched for tokens: it is compared exactly
SHORTEST_TOKEN = 8
_CACHED_SIZE = 64  # characters of a text of which the answer is worth remembering

_BOUNDARY = r"(?<![0-9A-Za-z])"
# With what each form begins, at the least: where prose does not, the forms are not tried.
_START = r"(?=\d\d[\d./]|[\w.:%+/=$-]{12}|[MTWFS][a-z]{2}[, ]|\\x|\$2|[x\x1f])"
_FORMS = (
    r"(?:"
    r"(?P<packed>\A(?:\x1f\x8b\x08|x[\x01\x5e\x9c\xda])[\s\S]{8,}\Z)"
    r"|(?P<payload>\.?(?:ey|eJ|W)[\w-]{6,}={0,2}(?=[.:][\w-]{6}[.:][\w-]{27,86}(?![\w.:-])))"
    r"|(?P<signed>(?<=[\w=-][.:])[\w-]{6}[.:][\w-]{27,86}(?![\w.:-]))"
    r"|(?P<express>s%3A[\w-]{20,}\.(?:[A-Za-z0-9]|%2[BF]){43})"
    r"|(?P<bytea>\\x[0-9a-f]{16,})"
    r"|(?P<bcrypt>\$2[abxy]\$\d\d\$[./A-Za-z0-9]{53})"
    r"|(?P<werkzeug>(?:scrypt|pbkdf2)(?::\w+)+\$[A-Za-z0-9]{8,}\$[0-9a-f]{40,})"
    r"|(?P<jwt>eyJ[\w-]{8,}\.[\w-]{2,}\.[\w-]{16,})"
    r"|(?P<json>(?:ey|W[1-9A-Za-z])[\w+/-]{10,}={0,2})"
    r"|(?P<uuid>[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
    r"|[0-9A-F]{8}-(?:[0-9A-F]{4}-){3}[0-9A-F]{12})"
    rf"|(?P<time>{times.SCAN_PATTERN})"
    r"|(?P<ulid>[0-7][0-9A-HJKMNP-TV-Z]{25})"
    r"|(?P<hex>[0-9a-f]{16,}|[0-9A-F]{16,})"
    r"|(?P<number>\d{10}\.\d{1,9}|\d{10}|\d{13}|\d{16,19})"
    r")(?![0-9A-Za-z])"
)
_SPECIFIC = re.compile(_BOUNDARY + _START + _FORMS, re.ASCII)
_RUN = r"(?=[A-Za-z0-9+/_-]{18})"  # as _START
_DRAWN = (
    r"(?:[A-Za-z0-9+/]{18,}={1,2}(?![\w=])"
    r"|[A-Za-z0-9_-]{20,}(?![+])"
    r"|(?=[A-Za-z0-9/]*\+)[A-Za-z0-9+/]{20,})"
)
_GENERIC = re.compile(_RUN + _DRAWN, re.ASCII)
_WHOLE_BASE64 = re.compile(r"[A-Za-z0-9][A-Za-z0-9+/]{19,}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Token:
    """A piece ``text[start:end]`` with a recognisable form; a candidate looks freshly made."""

    start: int
    end: int
    class_name: str
    text: str
    is_candidate: bool = True


def walk_scalars(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every scalar of a tree with its JSON pointer (RFC 6901), in order."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from walk_scalars(value, f"{path}/{_escape(key)}")
    elif isinstance(tree, list | tuple):
        for index, value in enumerate(tree):
            yield from walk_scalars(value, f"{path}/{index}")
    else:
        yield path, tree


def list_texts(tree: Any, least: int, most: int) -> list[tuple[str, str]]:
    """The texts of ``least`` to ``most`` characters, in bytes too, with their JSON pointers."""
    found: list[tuple[str, str]] = []
    _add_texts(tree, "", least, most, found)
    return found


def _add_texts(tree: Any, path: str, least: int, most: int, found: list[tuple[str, str]]) -> None:
    if isinstance(tree, str | bytes):
        # in UTF-8 a character takes four bytes at most
        text = text_of(tree) if least <= len(tree) <= 4 * most else None
        if text is not None and least <= len(text) <= most:
            found.append((path, text))
        return
    if not isinstance(tree, dict | list | tuple):
        return
    is_map = isinstance(tree, dict)
    items: Iterable[tuple[Any, Any]] = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for step, value in items:
        if type(value) is not str:
            if value is not None and type(value) is not int:
                _add_texts(value, f"{path}/{_escape(step) if is_map else step}", least, most, found)
        elif least <= len(value) <= most:
            found.append((f"{path}/{_escape(step) if is_map else step}", value))


def text_of(scalar: Any) -> str | None:
    """A scalar as the text to look for tokens in; ``None`` when it has none.

    Bytes that are no UTF-8, a pickle say, are read as Latin-1: the texts in them stand out.
    """
    if isinstance(scalar, str):
        return scalar
    if isinstance(scalar, bool) or scalar is None:
        return None
    if isinstance(scalar, int | float):
        return repr(scalar)
    if isinstance(scalar, bytes):
        try:
            return scalar.decode()
        except UnicodeDecodeError:
            return scalar.decode("latin-1")  # each byte one character
    return None


def find_texts(tree: Any, path: str, found: list[tuple[str, str]]) -> int:
    """Adds the texts in which tokens may lie, with their JSON pointers; counts all scalars."""
    if not isinstance(tree, dict | list | tuple):
        text = text_of(tree)
        if text is not None and may_hold_tokens(text):
            found.append((path, text))
        return 1
    count = 0
    is_map = isinstance(tree, dict)
    items: Iterable[tuple[Any, Any]] = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for step, value in items:
        kind = type(value)
        if kind is str:
            count += 1
            if may_hold_tokens(value):
                found.append((f"{path}/{_escape(step) if is_map else step}", value))
        elif value is None or kind is bool:
            count += 1
        else:
            count += find_texts(value, f"{path}/{_escape(step) if is_map else step}", found)
    return count


def _escape(step: Any) -> str:
    return str(step).replace("~", "~0").replace("/", "~1")


def find_candidates(text: str, window: Window | None) -> list[Token]:
    """The tokens that look generated at the time of the window."""
    return [token for token in find_tokens(text, window) if token.is_candidate]


def find_tokens(text: str, window: Window | None) -> list[Token]:
    """All tokens of a text in order, never overlapping.

    The window decides only classes and ``is_candidate`` of the time-carrying ones; without one
    they are no candidates.
    """
    if not SHORTEST_TOKEN <= len(text) <= SCANNED_TEXT_SIZE:
        return []
    tokens: list[Token] = []
    end = 0
    for match in _SPECIFIC.finditer(text):
        for token in _judge(match, window):
            tokens += _find_generic(text, end, token.start, window)
            tokens.append(token)
            end = token.end
    return tokens + _find_generic(text, end, len(text), window)


def may_hold_tokens(text: str) -> bool:
    """Whether `find_tokens` finds something for some window."""
    if len(text) <= _CACHED_SIZE:
        return len(text) >= SHORTEST_TOKEN and _may_short_hold_tokens(text)
    return len(text) <= SCANNED_TEXT_SIZE and _search_tokens(text)


def _search_tokens(text: str) -> bool:
    return _SPECIFIC.search(text) is not None or bool(_find_generic(text, 0, len(text), None))


_may_short_hold_tokens = lru_cache(maxsize=4096)(_search_tokens)


def _find_generic(text: str, start: int, end: int, window: Window | None) -> list[Token]:
    if end - start < 20:
        return []
    if start == 0 and end == len(text) and _WHOLE_BASE64.fullmatch(text) and is_random(text):
        return [_generic_token(text, 0, window)]
    found = []
    for match in _GENERIC.finditer(text, start, end):
        piece = match.group()
        if is_random(piece):
            found.append(_generic_token(piece, match.start(), window))
    return found


def _generic_token(text: str, start: int, window: Window | None) -> Token:
    is_ksuid = len(text) == 27 and text.isalnum()
    if is_ksuid and _is_fresh(ids.read_ksuid_time(text), times.SECOND_NS, window):
        return Token(start, start + len(text), "ksuid", text)
    return Token(start, start + len(text), _generic_class(text), text)


def _generic_class(text: str) -> str:
    if set(text) & set("+/="):
        return f"base64:{len(text)}"
    return f"{'base64url' if set(text) & set('-_') else 'token'}:{len(text)}"


def _judge(match: re.Match[str], window: Window | None) -> list[Token]:
    kind, text = str(match.lastgroup), match.group()
    if kind in _SPLIT:
        return list(_SPLIT[kind](text, match.start(), window))
    judged = _JUDGES[kind](text, window)
    if judged is None:
        return []
    class_name, is_candidate = judged
    return [Token(match.start(), match.end(), class_name, text, is_candidate)]


def _judge_opened(text: str, _window: Window | None) -> tuple[str, bool] | None:
    opened = open_token(text)
    return None if opened is None else (opened.kind, True)


def _split_signed(text: str, start: int, window: Window | None) -> Iterator[Token]:
    """A time and a signature, as behind a value that itsdangerous or Django signed."""
    stamp, signature = text[:6], text[7:]
    unit = "epoch_b64" if text[6] == "." else "epoch_b62"
    value = times.parse_epoch(stamp, unit)
    if value is None or len(signature) not in _SIGNATURE_SIZES or not times.is_plausible(value):
        return
    is_fresh = _is_fresh(value.time_ns, value.resolution_ns, window)
    yield Token(start, start + 6, f"time:{unit}", stamp, is_fresh)
    yield Token(start + 7, start + len(text), f"base64url:{len(signature)}", signature)


def _split_express(text: str, start: int, _window: Window | None) -> Iterator[Token]:
    """A value signed by cookie-signature: ``s:value.signature``, URL-encoded."""
    value, _, signature = text[4:].rpartition(".")
    begin = start + 4
    yield Token(begin, begin + len(value), _generic_class(value), value)
    yield Token(begin + len(value) + 1, start + len(text), "escaped64:43", signature)


def _split_bytea(text: str, start: int, window: Window | None) -> Iterator[Token]:
    """Bytes that PostgreSQL prints in hex: generated if text in them is, or they are no text."""
    digits = text[2:]
    data = bytes.fromhex(digits[: len(digits) // 2 * 2])
    is_new = bool(find_candidates(data.decode("latin-1"), window)) or not data.isascii()
    yield Token(start + 2, start + len(text), f"hex:{len(digits)}", digits, is_new)


def _split_bcrypt(text: str, start: int, _window: Window | None) -> Iterator[Token]:
    """The salt and the hash behind ``$2b$12$``."""
    yield Token(start + 7, start + 60, "crypt:53", text[7:])


def _split_werkzeug(text: str, start: int, _window: Window | None) -> Iterator[Token]:
    """The salt and the hash behind ``scrypt:32768:8:1$``."""
    method, salt, digest = text.split("$")
    begin = start + len(method) + 1
    yield Token(begin, begin + len(salt), f"token:{len(salt)}", salt)
    yield Token(begin + len(salt) + 1, start + len(text), f"hex:{len(digest)}", digest)


def _judge_uuid(text: str, window: Window | None) -> tuple[str, bool] | None:
    version = text[14]
    if text[19] not in "89abAB" or version not in "12345678":
        return ("uuid", False)
    if version in "167":
        return (f"uuid{version}", _is_fresh(ids.read_uuid_time(text), 1_000_000, window))
    return (f"uuid{version}", version == "4")


def _judge_time(text: str, window: Window | None) -> tuple[str, bool] | None:
    readings = times.parse_readings(text)
    shifts = [(times.find_shift(one, window), one) for one in readings] if window else []
    found = [(abs(shift), shift, one.format) for shift, one in shifts if shift is not None]
    if not found:
        return (f"time:{readings[0].format}", False) if readings else None
    _, shift, format_ = min(found)
    return (f"time:{format_}{f'@{shift:+d}' if shift else ''}", True)


def _judge_ulid(text: str, window: Window | None) -> tuple[str, bool] | None:
    if _is_fresh(ids.read_ulid_time(text), 1_000_000, window):
        return ("ulid", True)
    return ("ulid", False) if not text.isdigit() else None


def _judge_hex(text: str, window: Window | None) -> tuple[str, bool] | None:
    if len(text) == 24 and _is_fresh(int(text[:8], 16) * times.SECOND_NS, times.SECOND_NS, window):
        return ("objectid", True)
    if text.isdigit() and len(text) <= 19:
        return _judge_number(text, window)
    if text.isdigit() or not any(c.isdigit() for c in text) or len(set(text)) < 6:
        return None
    return (f"{'HEX' if text.upper() == text else 'hex'}:{len(text)}", True)


def _judge_number(text: str, window: Window | None) -> tuple[str, bool] | None:
    class_name = ids.classify_number(text, window)
    return ("number", False) if class_name is None else (class_name, True)


_JUDGES = {
    "jwt": _judge_opened, "json": _judge_opened, "payload": _judge_opened,
    "packed": _judge_opened, "uuid": _judge_uuid, "time": _judge_time, "ulid": _judge_ulid,
    "hex": _judge_hex, "number": _judge_number,
}  # fmt: skip
_SPLIT = {
    "signed": _split_signed, "express": _split_express, "bytea": _split_bytea,
    "bcrypt": _split_bcrypt, "werkzeug": _split_werkzeug,
}  # fmt: skip
_SIGNATURE_SIZES = (27, 43, 64, 86)  # of SHA-1, 256, 384 and 512 in base64


def _is_fresh(time_ns: int, resolution_ns: int, window: Window | None) -> bool:
    return window is not None and window.holds(time_ns, resolution_ns)


def candidate_class(text: str, window: Window | None) -> str | None:
    """The class of a text that is as a whole one candidate token."""
    tokens = find_candidates(text, window)
    is_whole = len(tokens) == 1 and (tokens[0].start, tokens[0].end) == (0, len(text))
    return tokens[0].class_name if is_whole else None
