"""Cuts a stream of bytes into frames: a type byte (absent at start-up), a length, a payload."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from kebpf.protocols.base import Mark, ProtocolError

# The protocol allows 1 GiB; no more than this is ever buffered for one frame.
MAX_FRAME_SIZE = 64 * 1024 * 1024
# PostgreSQL itself refuses start-up packets over this (MAX_STARTUP_PACKET_LENGTH).
MAX_STARTUP_SIZE = 10_000

FRONTEND_KINDS = b"BCDEFHPQSXcdfp"
BACKEND_KINDS = b"123ACDEGHIKNRSTVWZcdnstv"
UNTYPED = b""

_NO_MARK = Mark(0)
_read_head = struct.Struct("!BI").unpack_from
_KINDS = [bytes([kind]) for kind in range(256)]


@dataclass(slots=True)
class Frame:
    """One message not yet taken apart.

    ``kind`` is its type byte, empty for the untyped ones; ``start`` and ``end`` are the marks of
    the pieces that brought its first and last byte.  ``is_damaged``: bytes of it are missing, and
    ``payload`` is empty.
    """

    kind: bytes
    payload: bytes
    start: Mark
    end: Mark
    is_damaged: bool = False


class FrameReader:
    """Frames of one direction.  Take frames until ``None`` after each piece."""

    __slots__ = ("_buffer", "_kinds", "_mark", "_position", "_skipped", "_start", "is_untyped")

    def __init__(self, kinds: bytes, is_untyped: bool = False) -> None:
        self._kinds = kinds
        self._buffer: bytes | bytearray = b""
        self._position = 0
        self._skipped = 0
        self._start = self._mark = _NO_MARK
        self.is_untyped = is_untyped

    @property
    def buffered_size(self) -> int:
        """Bytes held that are not yet part of a frame given out."""
        return len(self._buffer) - self._position

    def feed(self, data: bytes, mark: Mark = _NO_MARK) -> None:
        """Takes the next bytes."""
        self._mark = mark
        if self._position == len(self._buffer):  # as a rule: then nothing is copied
            self._buffer, self._position, self._start = bytes(data), 0, mark
            return
        if not isinstance(self._buffer, bytearray):
            self._buffer = bytearray(self._buffer[self._position :])
        elif self._position:
            del self._buffer[: self._position]
        self._position = 0
        self._buffer += data

    def clear(self) -> None:
        """Forgets what is buffered."""
        self._buffer = b""
        self._position = self._skipped = 0

    def take_byte(self) -> bytes | None:
        """The next single byte (the answer to an SSLRequest)."""
        if not self.buffered_size:
            return None
        self._position += 1
        return bytes(self._buffer[self._position - 1 : self._position])

    def next_frame(self) -> Frame | None:
        """The next whole frame, ``None`` for "need more".  Raises ``ProtocolError``."""
        return self._take_whole() or self._next_frame()

    def _take_whole(self) -> Frame | None:
        """A typed frame of which nothing is missing: the usual case, in one go."""
        buffer, begin = self._buffer, self._position
        if len(buffer) - begin < 5 or self._skipped or self.is_untyped:
            return None
        start = self._start
        kind, size = _read_head(buffer, begin)
        end = begin + 1 + size
        if kind not in self._kinds or not 4 <= size <= MAX_FRAME_SIZE or end > len(buffer):
            return None
        self._position = end
        self._start = self._mark
        return Frame(_KINDS[kind], bytes(buffer[begin + 5 : end]), start, self._mark)

    def _next_frame(self) -> Frame | None:
        total = self._frame_size()
        if total is None or self.buffered_size + self._skipped < total:
            return None
        head = 4 if self.is_untyped else 5
        begin = self._position
        is_damaged = self._skipped > 0
        end = begin + total - self._skipped
        payload = b"" if is_damaged else bytes(self._buffer[begin + head : end])
        kind = UNTYPED if self.is_untyped else bytes(self._buffer[begin : begin + 1])
        frame = Frame(kind, payload, self._start, self._mark, is_damaged)
        self._position = end
        self._skipped = 0
        self._start = self._mark
        return frame

    def skip(self, size: int, mark: Mark) -> bool:
        """Steps over missing bytes if they lie inside a frame whose length is known."""
        try:
            total = self._frame_size()
        except ProtocolError:
            return False
        if size <= 0 or total is None or self.buffered_size + self._skipped + size > total:
            return False
        self._skipped += size
        self._mark = mark
        return True

    def _frame_size(self) -> int | None:
        """Of the frame at the position, its type byte included; ``None`` if not known yet."""
        if self.is_untyped:
            return self._untyped_size()
        if not self.buffered_size:
            return None
        kind = self._buffer[self._position]
        if kind not in self._kinds:
            raise ProtocolError(f"no message has the type byte 0x{kind:02x}")
        if self.buffered_size < 5:
            return None
        size = self._size_at(self._position + 1)
        if not 4 <= size <= MAX_FRAME_SIZE:
            raise ProtocolError(f"a message of type {chr(kind)!r} says it is {size} bytes long")
        return size + 1

    def _untyped_size(self) -> int | None:
        if self.buffered_size < 4:
            return None
        size = self._size_at(self._position)
        if not 8 <= size <= MAX_STARTUP_SIZE:
            raise ProtocolError(f"a start-up packet says it is {size} bytes long")
        return size

    def _size_at(self, position: int) -> int:
        return int.from_bytes(self._buffer[position : position + 4], "big")
