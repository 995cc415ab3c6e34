"""Decides how the body of an HTTP/1 message is delimited (RFC 9112 section 6.3)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kebpf.protocols.base import Document, ProtocolError
from kebpf.protocols.http1.grammar import get_tokens

_DIGITS = re.compile(r"[0-9]{1,18}")

NONE = "none"
LENGTH = "length"
CHUNKED = "chunked"
CLOSE = "close"


@dataclass(frozen=True, slots=True)
class Framing:
    """``kind`` is none, length, chunked or close; ``size`` is that of ``length``, in bytes."""

    kind: str
    size: int = 0


_NO_BODY = Framing(NONE)
_NAME_SIZES = frozenset(map(len, ("content-length", "transfer-encoding")))


def get_request_framing(head: Document) -> Framing:
    """Raises ``ProtocolError`` when the end of the body cannot be known."""
    fields = _select(head["headers"])
    codings = get_tokens(fields, "transfer-encoding")
    if codings:
        if codings[-1] != "chunked":
            raise ProtocolError("the last transfer coding of a request is not chunked")
        return Framing(CHUNKED)
    return _get_length(fields) or _NO_BODY


def get_response_framing(head: Document, method: str) -> Framing:
    """``method`` is that of the request answered.  Raises ``ProtocolError``."""
    if not has_body(head["status"], method):
        return _NO_BODY
    fields = _select(head["headers"])
    codings = get_tokens(fields, "transfer-encoding")
    if codings:
        return Framing(CHUNKED if codings[-1] == "chunked" else CLOSE)
    return _get_length(fields) or Framing(CLOSE)


def _select(headers: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """The fields that may say how a body is delimited."""
    return [field for field in headers if len(field[0]) in _NAME_SIZES]


def has_body(status: int, method: str) -> bool:
    """Whether a response may have a body at all, whatever its headers say."""
    if method == "HEAD" or status < 200 or status in (204, 304):
        return False
    return not (method == "CONNECT" and status < 300)


def _get_length(headers: Sequence[Sequence[str]]) -> Framing | None:
    size = get_content_length(headers)
    return None if size is None else Framing(LENGTH, size)


def get_content_length(headers: Sequence[Sequence[str]]) -> int | None:
    """The agreed Content-Length.  Raises ``ProtocolError`` for contradicting or odd values."""
    tokens = get_tokens(headers, "content-length")
    if not tokens:
        return None
    values = set(tokens)
    value = values.pop()
    if values or _DIGITS.fullmatch(value) is None:
        raise ProtocolError("Content-Length is not one number")
    return int(value)


def is_persistent(version: str, headers: Sequence[Sequence[str]]) -> bool:
    """Whether the connection stays open after the message (RFC 9112 section 9.3)."""
    options = get_tokens(headers, "connection")
    if "close" in options:
        return False
    return version != "1.0" or "keep-alive" in options


def is_switch(method: str, status: int) -> bool:
    """Whether a response ends HTTP on the connection (101, or a CONNECT that succeeded)."""
    return status == 101 or is_tunnel(method, status)


def is_tunnel(method: str, status: int) -> bool:
    """Whether a CONNECT succeeded (RFC 9110, 9.3.6)."""
    return method == "CONNECT" and 200 <= status < 300


def may_switch(head: Document) -> bool:
    """Whether the bytes after a request may turn out not to be HTTP."""
    if head["method"] == "CONNECT":
        return True
    fields = [field for field in head["headers"] if len(field[0]) == len("upgrade")]
    return bool(fields) and bool(get_tokens(fields, "upgrade"))


def name_switch(request: Document, response: Document) -> str:
    """What the connection was switched to."""
    if response["status"] != 101:
        return "switched to a tunnel"
    names = get_tokens(response["headers"], "upgrade") or get_tokens(request["headers"], "upgrade")
    return f"switched to {', '.join(names) or 'an unnamed protocol'}"
