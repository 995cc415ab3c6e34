"""The unparsed bytes of one direction, and where and when each piece of them was seen."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from kebpf.protocols.base import Document, Mark, ProtocolError

MAX_LINE_SIZE = 64 * 1024  # PROTO_INLINE_MAX_SIZE of the Redis source
MAX_MESSAGE_SIZE = 64 * 1024 * 1024  # bytes of one command or reply kept while it is incomplete
MAX_ITEMS = 1024 * 1024  # arguments of a command, or elements of a reply at all depths
MAX_DEPTH = 32  # aggregates inside aggregates

_DIGITS = frozenset(b"0123456789")


@dataclass(slots=True)
class Message:
    """One command or reply, with where it began and ended; ``is_damaged`` if bytes were lost."""

    document: Document
    start: Mark
    end: Mark
    is_damaged: bool = False


class MarkedBuffer:
    """A byte queue that can say when its first byte, or the byte last taken, was seen."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._pieces: deque[tuple[int, Mark]] = deque()
        self._position = 0  # of the first byte of _data, counted from the first byte ever

    def __len__(self) -> int:
        return len(self._data)

    def append(self, data: bytes, mark: Mark) -> None:
        if data:
            self._pieces.append((self._position + len(self._data), mark))
            self._data += data

    def clear(self) -> None:
        self._position += len(self._data)
        self._data.clear()
        self._pieces.clear()

    def peek(self, size: int = 1) -> bytes:
        return bytes(self._data[:size])

    def find_line(self) -> bytes | None:
        """The bytes before the first CRLF, which stay in the buffer.

        Raises `ProtocolError` when there is none within `MAX_LINE_SIZE`.
        """
        end = self._data.find(b"\r\n", 0, MAX_LINE_SIZE + 2)
        if end < 0:
            if len(self._data) > MAX_LINE_SIZE:
                raise ProtocolError("a line is longer than the cap")
            return None
        return bytes(self._data[:end])

    def find_inline(self) -> bytes | None:
        """The first line with its end (CRLF or LF).  Raises as `find_line`."""
        end = self._data.find(b"\n", 0, MAX_LINE_SIZE)
        if end < 0:
            if len(self._data) >= MAX_LINE_SIZE:
                raise ProtocolError("an inline command is longer than the cap")
            return None
        return bytes(self._data[: end + 1])

    def slice(self, start: int, end: int) -> bytes:
        return bytes(self._data[start:end])

    def consume(self, size: int) -> None:
        del self._data[:size]
        self._position += size

    def start_mark(self) -> Mark:
        """Where the first byte in the buffer was seen."""
        self._drop_pieces(self._position)
        return self._mark(self._position)

    def end_mark(self) -> Mark:
        """Where the byte last taken was seen; its offset is that of the byte after it."""
        self._drop_pieces(self._position - 1)
        return self._mark(self._position)

    def _drop_pieces(self, position: int) -> None:
        while len(self._pieces) > 1 and self._pieces[1][0] <= position:
            self._pieces.popleft()

    def _mark(self, position: int) -> Mark:
        if not self._pieces:
            return Mark(0)
        start, mark = self._pieces[0]
        return mark._replace(offset=mark.offset + position - start)


def parse_length(digits: bytes) -> int:
    """A length or count as Redis writes it: no sign, no leading zero.  Raises `ProtocolError`."""
    is_number = 0 < len(digits) <= 10 and _DIGITS.issuperset(digits)
    if not is_number or (len(digits) > 1 and digits[0] == 0x30):
        raise ProtocolError("a length is not a number")
    return int(digits)
