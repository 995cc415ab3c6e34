"""Takes what a client sends in one go apart at once, if it is whole messages.

Parts that were read before are known by their bytes: a driver prepares the same statements, and
what follows its Bind is nearly always the same.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache

from kebpf.protocols.base import ProtocolError
from kebpf.protocols.postgres import messages as m
from kebpf.protocols.postgres.framing import FRONTEND_KINDS
from kebpf.protocols.postgres.parser import parse_frontend

MAX_FLIGHT_SIZE = 64 * 1024  # larger ones are left to the frame reader, which looks after the caps
_MAX_KEPT_SIZE = 1024  # bytes of a part that is kept
_MOST_KEPT = 1024
_HEAD_SIZE = 5

_read_head = struct.Struct("!BI").unpack_from
_KINDS = {kind: bytes([kind]) for kind in FRONTEND_KINDS}
_ALWAYS_NEW = frozenset(b"BQFdfp")  # hold a program's values


def read_flight(data: bytes) -> Sequence[m.FrontendMessage] | None:
    """The messages, not to be changed, of which ``data`` is made.

    ``None`` if it is not whole messages, or one of them is wrong.
    """
    if len(data) > MAX_FLIGHT_SIZE:
        return None
    try:
        return _read(data)
    except ProtocolError:
        return None


def _read(data: bytes) -> Sequence[m.FrontendMessage] | None:
    messages: list[m.FrontendMessage] = []
    at, whole = 0, len(data)
    while at < whole:
        kind = data[at]
        is_new = kind in _ALWAYS_NEW
        if not is_new and whole - at <= _MAX_KEPT_SIZE:
            known = _read_known(data[at:])
            if known is not None:
                messages += known
                return messages
        end = _find_end(data, at)
        if end is None:
            return None
        if is_new or end - at > _MAX_KEPT_SIZE:
            messages.append(parse_frontend(_KINDS[kind], data[at + _HEAD_SIZE : end]))
        else:
            messages.append(_read_kept(data[at:end]))
        at = end
    return messages


def _find_end(data: bytes, at: int) -> int | None:
    """The end of the message at a place, if it is whole."""
    if len(data) - at < _HEAD_SIZE:
        return None
    kind, size = _read_head(data, at)
    end: int = at + 1 + size
    return end if kind in _KINDS and size >= 4 and end <= len(data) else None


@lru_cache(_MOST_KEPT)
def _read_kept(frame: bytes) -> m.FrontendMessage:
    return parse_frontend(frame[:1], frame[_HEAD_SIZE:])


@lru_cache(_MOST_KEPT)
def _read_known(data: bytes) -> Sequence[m.FrontendMessage] | None:
    """The messages of which ``data`` is made, unless one of them is always new."""
    messages = []
    at = 0
    while at < len(data):
        end = _find_end(data, at)
        if end is None or data[at] in _ALWAYS_NEW:
            return None
        messages.append(_read_kept(data[at:end]))
        at = end
    return tuple(messages)
