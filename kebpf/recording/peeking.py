"""Finds the response in a mock's record by the very bytes of its request, without decoding both.

No MessagePack object's bytes are the beginning of another's.  So if at a request's place there
are the bytes of one request, that is the mock's; and if those of a response that was decoded
before come after it, so is that.
"""

from __future__ import annotations

import msgpack

from kebpf.protocols.base import Document
from kebpf.recording.mockfile import RECORD_START, pack_document, unpack_document

MOST_RESPONSES = 512  # that are kept decoded
MOST_SIZE = 2048  # bytes of one of them

_SMALL_MAPS = range(0x80, 0x90)  # a record is one, its fields always in the same order,
_MAP = 0xDE  # or a larger one: two more bytes are its size
_FIRST = b"\xa4name"
_BEFORE_REQUEST = (b"\xa8protocol", b"\xabdestination")
_AFTER_RESPONSE = b"\xa6timing\x92"
_SHORT_TEXT = range(0xA0, 0xC0)
_TEXT = 0xD9  # of less than 256 bytes


def pack_request(request: Document) -> bytes | None:
    """What stands in the record of a mock from its destination to its response.

    ``None`` for what cannot be stored.
    """
    try:
        return b"\xa7request%b\xa8response" % pack_document(request)
    except ValueError:
        return None


class ResponseFinder:
    """The responses of one file; those found are never to be changed."""

    def __init__(self) -> None:
        self._known: dict[bytes, Document] = {}

    def find(self, record: bytes, end: int, packed: bytes) -> Document | None:
        """The response in a record, which ends at ``end``, if the request is the one ``packed``.

        ``None`` also for a record or response of a form that only decoding tells.
        """
        at = _find_request(record)
        if at is None or not record.startswith(packed, at):
            return None
        at += len(packed)
        data = record[at : record.find(_AFTER_RESPONSE, at, end)]
        return self._known.get(data) or self._decode(data)

    def _decode(self, data: bytes) -> Document | None:
        if len(data) > MOST_SIZE:
            return None
        try:
            response = unpack_document(data)
        except (ValueError, msgpack.UnpackException):
            return None  # what looked like its end was in its middle
        if not isinstance(response, dict):
            return None
        if len(self._known) >= MOST_RESPONSES:
            self._known.clear()
        self._known[data] = response
        return response


def _find_request(record: bytes) -> int | None:
    """Where the name of the request's field is."""
    kind = record[RECORD_START]
    if kind not in _SMALL_MAPS and kind != _MAP:
        return None
    start = RECORD_START + (3 if kind == _MAP else 1)
    if not record.startswith(_FIRST, start):
        return None
    at = _skip_text(record, start + len(_FIRST))
    for name in _BEFORE_REQUEST:
        if at is None or not record.startswith(name, at):
            return None
        at = _skip_text(record, at + len(name))
    return at


def _skip_text(record: bytes, at: int) -> int | None:
    kind = record[at] if at < len(record) else 0
    if kind in _SHORT_TEXT:
        return at + 1 + kind - 0xA0
    return at + 2 + record[at + 1] if kind == _TEXT and at + 1 < len(record) else None
