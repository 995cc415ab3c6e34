"""Splits one direction of a connection into TLS records (RFC 8446, section 5.1)."""

from __future__ import annotations

from dataclasses import dataclass

from kebpf.protocols.base import ProtocolError

HEADER_SIZE = 5
#: Bytes of a record's body that tell it from all others.
MARK_SIZE = 24
#: RFC 5246, 6.2.3: 2^14 and 2048 more for what protects them.
MOST_RECORD_SIZE = (1 << 14) + 2048

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA = 20, 21, 22, 23
_TYPES = frozenset((CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA))


@dataclass(frozen=True, slots=True)
class Record:
    """``body`` is whole for a handshake's record, else only as far as `MARK_SIZE`."""

    kind: int
    size: int
    body: bytes

    @property
    def mark(self) -> bytes | None:
        """What tells it from all others; ``None`` if it is too short for that."""
        return self.body[:MARK_SIZE] if self.size >= MARK_SIZE else None


def find_record(data: bytes) -> bool | None:
    """Whether a record begins at ``data``; ``None``: too few bytes to say."""
    if len(data) < HEADER_SIZE:
        return None if _may_begin(data) else False
    size = int.from_bytes(data[3:5], "big")
    return _may_begin(data) and data[2] <= 4 and 0 < size <= MOST_RECORD_SIZE


def _may_begin(data: bytes) -> bool:
    return (not data or data[0] in _TYPES) and data[1:2] in (b"", b"\x03")


class RecordReader:
    """Takes the bytes of one direction, which begin with a record, however they are cut.

    No more is kept than a handshake's record, or the beginning of another.
    """

    def __init__(self) -> None:
        self._head = b""
        self._body = b""
        self._kind = 0
        self._size = 0
        self._left = 0  # bytes of the body that have not come

    @property
    def is_between(self) -> bool:
        """Whether all records so far are whole."""
        return not self._head and not self._left

    def receive_data(self, data: bytes) -> list[Record]:
        """The records that became whole, or whose beginning did.

        Raises `ProtocolError` where none can begin.
        """
        found: list[Record] = []
        at = 0
        while at < len(data):
            if not self._left:
                at = self._take_header(data, at)
            if self._left:
                at = self._take_body(data, at, found)
        return found

    def _take_header(self, data: bytes, at: int) -> int:
        end = at + HEADER_SIZE - len(self._head)
        self._head += data[at:end]
        if find_record(self._head) is False:
            raise ProtocolError("no TLS record begins where one should")
        if len(self._head) == HEADER_SIZE:
            self._kind, self._size = self._head[0], int.from_bytes(self._head[3:5], "big")
            self._left, self._body, self._head = self._size, b"", b""
        return min(end, len(data))

    def _take_body(self, data: bytes, at: int, found: list[Record]) -> int:
        wanted = self._size if self._kind == HANDSHAKE else min(self._size, MARK_SIZE)
        taken = min(self._left, len(data) - at)
        missing = wanted - len(self._body)
        if missing > 0:
            self._body += data[at : at + min(missing, taken)]
            if len(self._body) == wanted:
                found.append(Record(self._kind, self._size, self._body))
        self._left -= taken
        return at + taken
