"""Names of test cases: ``<method>-<route>-<hash>``, the same for the same request each time."""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from kebpf.protocols.base import Document

ROUTE_SIZE = 60  # characters
HASH_SIZE = 6  # hexadecimal digits
COUNTED_NAMES_CAP = 50_000

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_LONG_TOKEN = re.compile(r"(?=[^/]*\d)[\w.~=+-]{20,}")
_HEX = re.compile(r"(?=.*\d)[0-9a-f]{8,}", re.IGNORECASE)
_UNSAFE = re.compile(r"[^a-z0-9_.]+")


def name_request(request: Document) -> str:
    """The name of an HTTP request's test case, before repeats are told apart."""
    method = _text(request.get("method", "")).lower()
    target = _text(request.get("target", ""))
    parts = [_safe(method) or "call", name_route(target), hash_request(request)]
    return "-".join(part for part in parts if part)


def name_route_of(request: Document) -> str:
    """The method of a request and its path without identifiers."""
    return f"{_text(request.get('method'))} {name_route(_text(request.get('target')))}"


def name_route(target: str) -> str:
    """The path in at most 60 safe characters, with ``id`` where an identifier stands."""
    path = re.sub(r"^[a-z]+://[^/]*", "", target.partition("?")[0])
    segments = ["id" if _is_identifier(part) else _safe(part) for part in path.split("/")]
    return "-".join(part for part in segments if part)[:ROUTE_SIZE].strip("-.") or "root"


def hash_request(request: Document) -> str:
    """A short hash over method, target and body."""
    digest = hashlib.sha256()
    for key in ("method", "target", "body"):
        value = request.get(key)
        data = value if isinstance(value, bytes) else _text(value).encode(errors="replace")
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:HASH_SIZE]


def _is_identifier(segment: str) -> bool:
    return bool(
        segment.isdecimal()
        or _UUID.fullmatch(segment)
        or _LONG_TOKEN.fullmatch(segment)
        or _HEX.fullmatch(segment)
    )


def _safe(text: str) -> str:
    return _UNSAFE.sub("-", text.lower()).strip("-.")


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


class NameGiver:
    """Tells repeats of a name apart: the second is ``…-2``.

    ``is_taken`` says whether a name was given already; it is asked only about names that fell
    out of the capped count; where names ``have_gaps``, as some are taken back, about each.
    """

    def __init__(
        self,
        is_taken: Callable[[str], bool],
        cap: int = COUNTED_NAMES_CAP,
        have_gaps: bool = False,
    ) -> None:
        self._is_taken = is_taken
        self._cap = cap
        self._have_gaps = have_gaps
        self._counts: OrderedDict[str, int] = OrderedDict()

    def give(self, base: str) -> str:
        """The next free name that starts with ``base``."""
        count = self._counts.pop(base, None)
        if count is None:
            count = self._find_last(base)
        while self._have_gaps and self._is_taken(_numbered(base, count + 1)):
            count += 1
        self._counts[base] = count + 1
        if len(self._counts) > self._cap:
            self._counts.popitem(last=False)
        return _numbered(base, count + 1)

    def _find_last(self, base: str) -> int:
        """The highest number given to ``base``, 0 for none: doubled, then halved."""
        if not self._is_taken(base):
            return 0
        low, high = 1, 2
        while self._is_taken(_numbered(base, high)):
            low, high = high, high * 2
        while high - low > 1:
            middle = (low + high) // 2
            if self._is_taken(_numbered(base, middle)):
                low = middle
            else:
                high = middle
        return low


def _numbered(base: str, number: int) -> str:
    return base if number == 1 else f"{base}-{number}"
