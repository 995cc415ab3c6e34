"""What the command and the reply parser share: feeding, gaps inside payloads, messages out."""

from __future__ import annotations

import abc

from kebpf.protocols.base import Document, Mark, ProtocolError
from kebpf.protocols.redis.stream import MAX_MESSAGE_SIZE, MarkedBuffer, Message, parse_length


class Parser(abc.ABC):
    """Bytes in, whole messages out; nothing is parsed twice however the bytes are cut."""

    def __init__(self) -> None:
        self._buffer = MarkedBuffer()
        self._start: Mark | None = None
        self._size = 0  # bytes of the current message taken so far
        self._is_damaged = False

    @property
    def is_idle(self) -> bool:
        """Whether it stands between two messages with nothing buffered."""
        return self._start is None and not self._buffer

    def feed(self, data: bytes, mark: Mark) -> None:
        self._buffer.append(data, mark)

    def clear(self) -> None:
        """Forgets what is unfinished."""
        self._buffer.clear()
        self._forget()

    def skip(self, size: int, mark: Mark) -> bool:
        """Bridges a gap of ``size`` bytes if all of it lies inside the payload being read.

        The message is then whole in its framing and marked as damaged.
        """
        missing = self._missing_payload()
        if not 0 < size <= missing or size > MAX_MESSAGE_SIZE:
            return False
        self._is_damaged = True
        self._buffer.append(bytes(size), mark)
        return True

    def next_message(self) -> Message | None:
        """The next whole message, or ``None`` for "need more".  Raises `ProtocolError`."""
        while self._buffer:
            if self._start is None:
                self._start = self._buffer.start_mark()
            before = len(self._buffer)
            document = self._step()
            self._size += before - len(self._buffer)
            if document is not None:
                return self._finish(document)
            if len(self._buffer) == before:
                return None
            if self._start is None:  # something that is no message was passed over
                self._size = 0
            if self._size > MAX_MESSAGE_SIZE:
                raise ProtocolError("a message is larger than the cap")
        return None

    @abc.abstractmethod
    def _step(self) -> Document | None:
        """Takes one element; gives the message if that completed it.  Nothing taken: need more."""

    def _forget(self) -> None:
        self._start = None
        self._size = 0
        self._is_damaged = False

    def _finish(self, document: Document) -> Message:
        start = self._start or Mark(0)
        message = Message(document, start, self._buffer.end_mark(), self._is_damaged)
        self._forget()
        return message

    def _take_payload(self, line: bytes, prefix_size: int = 1) -> bytes | None:
        """The payload that ``line`` announces, taken with line and CRLF; ``None``: not all here."""
        size = parse_length(line[prefix_size:])
        if self._size + size > MAX_MESSAGE_SIZE:
            raise ProtocolError("a bulk string is larger than the cap")
        start = len(line) + 2
        if len(self._buffer) < start + size + 2:
            return None
        if self._buffer.slice(start + size, start + size + 2) != b"\r\n":
            raise ProtocolError("a bulk string does not end with CRLF")
        payload = self._buffer.slice(start, start + size)
        self._buffer.consume(start + size + 2)
        return payload

    def _missing_payload(self) -> int:
        """How many bytes of the payload being read have not come yet (0: none is being read)."""
        line = self._buffer.find_line()
        if line is None or line[:1] not in (b"$", b"=", b"!", b";") or not line[1:].isdigit():
            return 0
        return len(line) + 2 + parse_length(line[1:]) - len(self._buffer)
