"""Parses one direction of an HTTP/1 connection into messages, piece by piece (RFC 9112).

Written in the manner of h11 rather than on httptools (llhttp): llhttp does not give the white
space of fields, the bytes it consumed before an upgrade, or the state to step over a known gap in
a body, and all three are needed here.  h11 and llhttp are the references in the tests.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from kebpf.protocols.base import Document, Mark, ProtocolError, Sender
from kebpf.protocols.http1 import framing
from kebpf.protocols.http1.buffer import MarkedBuffer
from kebpf.protocols.http1.grammar import (
    MAX_HEAD_SIZE,
    Headers,
    check_start_line,
    find_head_end,
    parse_fields,
    parse_request_head,
    parse_status_head,
    parse_usual_request,
    parse_usual_status,
)

MAX_BODY_SIZE = 64 * 1024 * 1024
MAX_CHUNK_LINE_SIZE = 4096

_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\x00\r\n]*)?\r\n")
_CLIENT = Sender.CLIENT
_BLANK_LINES = re.compile(rb"(?:\r?\n)+")


class TruncatedError(ProtocolError):
    """The stream ended inside a message."""


@dataclass(slots=True)
class Message:
    """A request or a response as far as it has been read.

    ``start`` is the mark of its first byte, ``piece`` that of the piece which held this byte,
    ``end`` that of the piece with the last byte so far; ``lost_size`` counts bytes of its body
    known to be missing.  ``is_cut`` says that its receiver closed before it had read the rest.
    """

    head: Document
    framing: str
    start: Mark
    piece: Mark
    end: Mark
    body: bytes | bytearray = b""  # in pieces if a bytearray
    trailers: Headers = field(default_factory=list)
    lost_size: int = 0
    has_unknown_loss: bool = False
    is_oversized: bool = False
    is_complete: bool = False
    is_cut: bool = False

    def make_document(self) -> Document:
        """The message as a document, without what only a response has (``interim``)."""
        document = dict(self.head)
        layout = document.pop("layout", None)
        document["body"] = bytes(self.body)
        document["trailers"] = self.trailers
        document["framing"] = self.framing
        if layout is not None:
            document["layout"] = layout
        if self.is_cut:
            document["is_cut"] = True
        return document


@dataclass(frozen=True, slots=True)
class HeadRead:
    """A message's head is whole; its body (if any) follows."""

    message: Message


@dataclass(frozen=True, slots=True)
class MessageRead:
    """A message is whole."""

    message: Message


Event = HeadRead | MessageRead


class _State(enum.Enum):
    HEAD = enum.auto()
    FIXED = enum.auto()
    CHUNK_SIZE = enum.auto()
    CHUNK_DATA = enum.auto()
    CHUNK_END = enum.auto()
    TRAILERS = enum.auto()
    UNTIL_CLOSE = enum.auto()


_BODY_STATES = {
    framing.NONE: _State.FIXED,
    framing.LENGTH: _State.FIXED,
    framing.CHUNKED: _State.CHUNK_SIZE,
    framing.CLOSE: _State.UNTIL_CLOSE,
}


class MessageParser:
    """Bytes of one sender in, `HeadRead` and `MessageRead` out.

    `next_event` gives one event, or ``None`` when it needs more; it raises ``ProtocolError`` for
    what is not HTTP/1 and `TruncatedError` for an end inside a message.  ``method`` must be that
    of the request answered before the head of a response is read.
    """

    def __init__(self, sender: Sender) -> None:
        self.buffer = MarkedBuffer()
        self.message: Message | None = None
        self.method = "GET"
        self.has_eof = False
        self._sender = sender
        self._state = _State.HEAD
        self._remaining = 0
        self._scanned = 0
        self._is_start_checked = False
        self._steps: dict[_State, Callable[[], Event | bool]] = {
            _State.HEAD: self._read_head,
            _State.FIXED: self._read_fixed,
            _State.CHUNK_SIZE: self._read_chunk_size,
            _State.CHUNK_DATA: self._read_chunk_data,
            _State.CHUNK_END: self._read_chunk_end,
            _State.TRAILERS: self._read_trailers,
            _State.UNTIL_CLOSE: self._read_until_close,
        }

    def receive_data(self, data: bytes, mark: Mark) -> None:
        """Takes the next bytes."""
        self.buffer.append(data, mark)

    def receive_eof(self) -> None:
        """Notes that nothing more will come."""
        self.has_eof = True

    def read_whole(self, data: bytes, mark: Mark) -> Message | None:
        """A message with a head as usual that is all there is in a piece; ``None`` if it is not.

        The parser must be between two messages.  Nothing is taken: what this does not read goes
        the long way, through `receive_data`, which would have given the same message.
        """
        size = data.find(b"\r\n\r\n") + 4
        if self.message is not None or self.buffer.data or not 4 <= size <= MAX_HEAD_SIZE:
            return None
        is_request = self._sender is _CLIENT
        head = (parse_usual_request if is_request else parse_usual_status)(data[:size])
        if head is None:
            return None
        try:
            frame = self._get_framing(head)
        except ProtocolError:
            return None
        is_counted = frame.kind in (framing.NONE, framing.LENGTH)
        if not is_counted or len(data) != size + frame.size or frame.size > MAX_BODY_SIZE:
            return None
        return Message(head, frame.kind, mark, mark, mark, data[size:], is_complete=True)

    def _get_framing(self, head: Document) -> framing.Framing:
        if self._sender is _CLIENT:
            return framing.get_request_framing(head)
        return framing.get_response_framing(head, self.method)

    def next_event(self) -> Event | None:
        """The next event, or ``None`` for "need more"."""
        while True:
            step = self._steps[self._state]()
            if isinstance(step, HeadRead | MessageRead):
                return step
            if not step:
                return self._judge_end()

    def skip(self, size: int, mark: Mark) -> bool:
        """Steps over ``size`` lost bytes (0: unknown); false when that loses the framing."""
        message = self.message
        if message is None or self.buffer.data:
            return False
        if self._state is _State.UNTIL_CLOSE:
            message.has_unknown_loss |= size == 0
        elif self._state in (_State.FIXED, _State.CHUNK_DATA) and 0 < size <= self._remaining:
            self._remaining -= size
        else:
            return False
        message.lost_size += size
        message.end = mark
        return True

    def reset(self) -> None:
        """Forgets the message under way; the next byte starts a new one."""
        self.buffer.clear()
        self._expect_head()

    def _expect_head(self) -> None:
        self.message = None
        self._state = _State.HEAD
        self._scanned = 0
        self._is_start_checked = False

    def _judge_end(self) -> Event | None:
        if not self.has_eof:
            return None
        if self._state is _State.UNTIL_CLOSE:
            return self._complete()
        if self.message is None and not self.buffer.data:
            return None
        raise TruncatedError("cut off")

    def _read_head(self) -> Event | bool:
        data = self.buffer.data
        blank = _BLANK_LINES.match(data) if self._scanned == 0 else None
        if blank:
            self.buffer.take(blank.end())
        if not data:
            return False
        end = find_head_end(data, self._scanned)
        self._check_start()
        if (end or len(data)) > MAX_HEAD_SIZE:
            raise ProtocolError(f"the head is over {MAX_HEAD_SIZE:,} bytes")
        if end is None:
            self._scanned = 0 if data == b"\r" else len(data)
            return False
        return self._start_message(end)

    def _check_start(self) -> None:
        """Refuses what cannot start a message before a blank line may ever come."""
        end = -1 if self._is_start_checked else self.buffer.data.find(b"\n")
        if end >= 0:
            line = bytes(self.buffer.data[:end]).removesuffix(b"\r")
            check_start_line(line, self._sender is Sender.CLIENT)
            self._is_start_checked = True

    def _start_message(self, size: int) -> HeadRead:
        start, piece = self.buffer.get_mark(), self.buffer.get_piece()
        block = self.buffer.take(size)
        self._scanned = 0
        if self._sender is Sender.CLIENT:
            head = parse_request_head(block)
        else:
            head = parse_status_head(block)
        frame = self._get_framing(head)
        self.message = Message(head, frame.kind, start, piece, self.buffer.last, bytearray())
        self._state = _BODY_STATES[frame.kind]
        self._remaining = frame.size
        return HeadRead(self.message)

    def _read_fixed(self) -> Event | bool:
        self._take_body(self._remaining)
        return self._complete() if not self._remaining else False

    def _read_until_close(self) -> bool:
        self._take_body(len(self.buffer.data))
        return False

    def _take_body(self, size: int) -> None:
        message = self._get_message()
        data = self.buffer.take(size)
        if not data:
            return
        message.end = self.buffer.last
        self._remaining -= len(data)
        room = MAX_BODY_SIZE - len(message.body)
        message.is_oversized |= len(data) > room
        message.body += data[:room]

    def _read_chunk_size(self) -> bool:
        head = bytes(self.buffer.data[:MAX_CHUNK_LINE_SIZE])
        end = head.find(b"\n") + 1
        if not end:
            if len(head) == MAX_CHUNK_LINE_SIZE:
                raise ProtocolError(f"a chunk's size line is over {MAX_CHUNK_LINE_SIZE:,} bytes")
            return False
        found = _CHUNK_LINE.fullmatch(head[:end])
        if found is None:
            raise ProtocolError("not a chunk size")
        self._take_line(end)
        self._remaining = int(found[1], 16)
        self._state = _State.CHUNK_DATA if self._remaining else _State.TRAILERS
        return True

    def _read_chunk_data(self) -> bool:
        self._take_body(self._remaining)
        if self._remaining:
            return False
        self._state = _State.CHUNK_END
        return True

    def _read_chunk_end(self) -> bool:
        end = bytes(self.buffer.data[:2])
        if not b"\r\n".startswith(end):
            raise ProtocolError("a chunk is longer than its size")
        if len(end) < 2:
            return False
        self._take_line(2)
        self._state = _State.CHUNK_SIZE
        return True

    def _read_trailers(self) -> Event | bool:
        data = self.buffer.data
        end = 2 if data.startswith(b"\r\n") else find_head_end(data, self._scanned)
        if (end or len(data)) > MAX_HEAD_SIZE:
            raise ProtocolError(f"the trailers are over {MAX_HEAD_SIZE:,} bytes")
        if end is None:
            self._scanned = len(data)
            return False
        block = self._take_line(end)
        self._get_message().trailers = parse_fields(block.split(b"\n")[:-1]).headers
        return self._complete()

    def _take_line(self, size: int) -> bytes:
        block = self.buffer.take(size)
        self._get_message().end = self.buffer.last
        return block

    def _get_message(self) -> Message:
        if self.message is None:
            raise ProtocolError("no message is under way")
        return self.message

    def _complete(self) -> MessageRead:
        message = self._get_message()
        message.is_complete = True
        self._expect_head()
        return MessageRead(message)
