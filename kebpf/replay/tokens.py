"""Finds requests whose JSON Web Token was valid when they were recorded, and is not any more."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kebpf.recording.model import TestCase
from kebpf.recording.wrapping import open_token

SECOND_NS = 1_000_000_000
MOST_NAMED = 3

_TOKEN = re.compile(r"eyJ[\w-]{8,}\.[\w-]{2,}\.[\w-]*")
_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


@dataclass(frozen=True, slots=True)
class ExpiredToken:
    """A case's request carries a token that ended at ``expiry_ns`` (RFC 7519 section 4.1.4)."""

    case: str
    expiry_ns: int


def find_expired(cases: Sequence[TestCase], now_ns: int) -> list[ExpiredToken]:
    """Those of cases whose token will be sent as it was recorded.

    One that an earlier response gave out is replaced by what the application gives out now.
    """
    given: set[str] = set()
    found = []
    for case in cases:
        ends = [
            expiry_ns
            for token in _find_tokens(case.request)
            if token not in given and (expiry_ns := _read_expiry(token)) is not None
        ]
        last_ns = min(ends, default=now_ns)
        if case.timing.start_ns < last_ns < now_ns:
            found.append(ExpiredToken(case.name, last_ns))
        given.update(_find_tokens(case.response))
    return found


def describe_expired(found: Sequence[ExpiredToken], now_ns: int) -> str:
    """One sentence for a person who is about to run these cases by the real clock."""
    first = min(one.expiry_ns for one in found)
    names = ", ".join(one.case for one in found[:MOST_NAMED])
    more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    what = "a case carries a token" if len(found) == 1 else f"{len(found)} cases carry tokens"
    return (
        f"{what} (JWT) valid when recorded, expired since, the first {_say_ago(now_ns - first)}"
        f" ago: {names}{more}; --clock recorded runs them in the time of the recording"
    )


def _say_ago(nanoseconds: int) -> str:
    seconds = nanoseconds // SECOND_NS
    size, name = next((unit for unit in _UNITS if seconds >= unit[0]), _UNITS[-1])
    count = seconds // size
    return f"{count} {name}" if count == 1 else f"{count} {name}s"


def _find_tokens(document: Any) -> Iterator[str]:
    for text in _walk_texts(document):
        yield from _TOKEN.findall(text)


def _walk_texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, bytes):
        yield value.decode("latin-1")
    elif isinstance(value, dict):
        for one in value.values():
            yield from _walk_texts(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _walk_texts(one)


def _read_expiry(token: str) -> int | None:
    """Nanoseconds since 1970."""
    opened = open_token(token)
    if opened is None or opened.kind != "jwt" or not isinstance(opened.tree["claims"], dict):
        return None
    expiry = opened.tree["claims"].get("exp")
    if isinstance(expiry, bool) or not isinstance(expiry, int | float):
        return None
    return int(expiry * SECOND_NS)
