"""Cuts what comes of one direction into messages, datagrams or TCP's length-prefixed ones."""

from __future__ import annotations

from kebpf.protocols.base import Mark, ProtocolError
from kebpf.protocols.dns.detection import is_sane_query, is_sane_response
from kebpf.protocols.dns.messages import HEADER_SIZE, Message, read_message

MAX_MESSAGE_SIZE = 65535  # the length prefix has no more


class StreamFramer:
    """A TCP direction.  At most one message and its length stay buffered."""

    def __init__(self, is_whole: bool) -> None:
        self._buffer = bytearray()
        self._start = Mark(0)
        self._is_aligned = is_whole

    @property
    def is_idle(self) -> bool:
        return not self._buffer

    def lose(self) -> None:
        """Bytes are missing: the next piece that begins with a sane message is where it goes on."""
        self._buffer.clear()
        self._is_aligned = False

    def receive(self, data: bytes, mark: Mark) -> list[tuple[bytes, Mark]]:
        """The messages that ``data`` completes, each with the mark of its beginning."""
        if not self._is_aligned and not _starts_message(data):
            return []
        self._is_aligned = True
        messages: list[tuple[bytes, Mark]] = []
        offset = 0
        while offset < len(data):
            if not self._buffer:
                self._start = mark._replace(offset=mark.offset + offset)
            taken = self._missing(len(data) - offset)
            self._buffer += data[offset : offset + taken]
            offset += taken
            if len(self._buffer) >= 2 and not self._missing(1):
                messages.append((bytes(self._buffer[2:]), self._start))
                self._buffer.clear()
        return messages

    def _missing(self, available: int) -> int:
        """How many of ``available`` bytes belong to the length, or to the message after it."""
        have = len(self._buffer)
        wanted = 2 if have < 2 else 2 + int.from_bytes(self._buffer[:2], "big")
        return min(wanted - have, available)


def _starts_message(data: bytes) -> bool:
    """Whether a piece from the middle of a stream begins with a whole, sane message."""
    size = int.from_bytes(data[:2], "big")
    if size < HEADER_SIZE or len(data) < 2 + size:
        return False
    try:
        message = read_message(data[2 : 2 + size])
    except ProtocolError:
        return False
    return message.size == size and (is_sane_query(message) or is_sane_response(message))


def read_whole(data: bytes) -> Message:
    """A message that takes all of ``data``.  Raises `ProtocolError`."""
    message = read_message(data)
    if message.size != len(data):
        raise ProtocolError("bytes follow a message")
    return message
