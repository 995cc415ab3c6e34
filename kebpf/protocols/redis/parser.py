"""What the command and the reply parser share: feeding, gaps inside payloads, messages out."""

from __future__ import annotations

import abc

from kebpf.protocols.base import Document, Mark, ProtocolError
from kebpf.protocols.redis.stream import MAX_MESSAGE_SIZE, MarkedBuffer, Message, parse_length
from kebpf.protocols.redis.whole import MAX_PIECE_SIZE


class Parser(abc.ABC):
    """Bytes in, whole messages out; nothing is parsed twice however the bytes are cut."""

    def __init__(self) -> None:
        self._buffer = MarkedBuffer()
        self._start: Mark | None = None
        self._size = 0  # bytes of the current message taken so far
        self._is_damaged = False
        self._piece = b""  # not in the buffer: begins between two messages
        self._piece_mark = Mark(0)
        self._piece_at = 0  # how much of it was read

    @property
    def is_idle(self) -> bool:
        """Whether it stands between two messages with nothing buffered."""
        return self._start is None and not self._buffer and not self._piece

    def feed(self, data: bytes, mark: Mark) -> None:
        if self._start is None and not self._buffer and not self._piece:
            self._piece, self._piece_mark, self._piece_at = data, mark, 0
            return
        self._buffer_piece()
        self._buffer.append(data, mark)

    def clear(self) -> None:
        """Forgets what is unfinished."""
        self._piece = b""
        self._buffer.clear()
        self._forget()

    def skip(self, size: int, mark: Mark) -> bool:
        """Bridges a gap of ``size`` bytes if all of it lies inside the payload being read.

        The message is then whole in its framing and marked as damaged.
        """
        self._buffer_piece()
        missing = self._missing_payload()
        if not 0 < size <= missing or size > MAX_MESSAGE_SIZE:
            return False
        self._is_damaged = True
        self._buffer.append(bytes(size), mark)
        return True

    def next_message(self) -> Message | None:
        """The next whole message, or ``None`` for "need more".  Raises `ProtocolError`."""
        if self._piece:
            message = self._read_piece()
            if message is not None or not self._buffer:
                return message
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

    def _read_piece(self) -> Message | None:
        """The next message if all of it lies in the piece; what does not goes to the buffer."""
        piece, at, (time_ns, tid, offset, task) = self._piece, self._piece_at, self._piece_mark
        document, end = self._read_whole(piece, at) if len(piece) <= MAX_PIECE_SIZE else (None, 0)
        if document is None:
            self._buffer_piece()
            return None
        if end == len(piece):
            self._piece = b""
        else:
            self._piece_at = end
        start = Mark(time_ns, tid, offset + at, task) if at else self._piece_mark
        return Message(document, start, Mark(time_ns, tid, offset + end, task))

    def _buffer_piece(self) -> None:
        """Puts what is left of the piece into the buffer, to be read step by step."""
        if self._piece:
            mark, at = self._piece_mark, self._piece_at
            self._buffer.append(self._piece[at:], mark._replace(offset=mark.offset + at))
            self._piece = b""

    @abc.abstractmethod
    def _read_whole(self, data: bytes, at: int) -> tuple[Document | None, int]:
        """The message at ``at`` and its end; ``None`` if it is to be read step by step."""

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
