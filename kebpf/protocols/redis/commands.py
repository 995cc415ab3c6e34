"""Client bytes to commands: arrays of bulk strings, and inline commands (RESP, "Inline commands").

A command is ``{"command": [argument, …]}``; an inline one also holds its line under ``inline``.
Empty commands (``*0``, ``*-1``, an empty line), which a server passes over, are passed over.
"""

from __future__ import annotations

from kebpf.protocols.base import Document, ProtocolError
from kebpf.protocols.redis import whole
from kebpf.protocols.redis.parser import Parser
from kebpf.protocols.redis.stream import MAX_ITEMS, parse_length
from kebpf.protocols.redis.text import Text, to_text

_ESCAPES = {0x6E: 0x0A, 0x72: 0x0D, 0x74: 0x09, 0x62: 0x08, 0x61: 0x07}
_SPACES = frozenset(b" \t\r\n\v\f\0")
_HEX = frozenset(b"0123456789abcdefABCDEF")


class CommandParser(Parser):
    """The commands of one connection."""

    def __init__(self) -> None:
        super().__init__()
        self._arguments: list[Text] = []
        self._left = 0

    def _forget(self) -> None:
        super()._forget()
        self._arguments = []
        self._left = 0

    def _read_whole(self, data: bytes, at: int) -> tuple[Document | None, int]:
        return whole.read_command(data, at)

    def _step(self) -> Document | None:
        if self._left:
            return self._take_argument()
        if self._buffer.peek() == b"*":
            self._take_header()
            return None
        return self._take_inline()

    def _take_header(self) -> None:
        line = self._buffer.find_line()
        if line is None:
            return
        count = 0 if line == b"*-1" else parse_length(line[1:])
        if count > MAX_ITEMS:
            raise ProtocolError("a command has more arguments than the cap")
        self._buffer.consume(len(line) + 2)
        if count:
            self._left = count
        else:
            self._start = None

    def _take_argument(self) -> Document | None:
        line = self._buffer.find_line()
        if line is None:
            return None
        if line[:1] != b"$":
            raise ProtocolError("an argument is not a bulk string")
        payload = self._take_payload(line)
        if payload is None:
            return None
        self._arguments.append(to_text(payload))
        self._left -= 1
        return {"command": self._arguments} if not self._left else None

    def _take_inline(self) -> Document | None:
        line = self._buffer.find_inline()
        if line is None:
            return None
        arguments = split_inline(line)
        self._buffer.consume(len(line))
        if not arguments:
            self._start = None
            return None
        return {"command": [to_text(a) for a in arguments], "inline": to_text(line)}


def split_inline(line: bytes) -> list[bytes]:
    """The arguments of an inline command, quotes and escapes as ``sdssplitargs`` reads them.

    Raises `ProtocolError` for unbalanced quotes.
    """
    arguments: list[bytes] = []
    position = 0
    while True:
        while position < len(line) and line[position] in _SPACES:
            position += 1
        if position == len(line):
            return arguments
        argument, position = _take_word(line, position)
        arguments.append(argument)


def _take_word(line: bytes, position: int) -> tuple[bytes, int]:
    word = bytearray()
    while position < len(line) and line[position] not in _SPACES:
        if line[position] in b"\"'":
            part, position = _take_quoted(line, position + 1, line[position])
            word += part
            if position < len(line) and line[position] not in _SPACES:
                raise ProtocolError("unbalanced quotes in an inline command")
        else:
            word.append(line[position])
            position += 1
    return bytes(word), position


def _take_quoted(line: bytes, position: int, quote: int) -> tuple[bytes, int]:
    part = bytearray()
    while position < len(line):
        if line[position] == quote:
            return bytes(part), position + 1
        byte, size = _unescape(line[position : position + 4], quote)
        part.append(byte)
        position += size
    raise ProtocolError("unbalanced quotes in an inline command")


def _unescape(text: bytes, quote: int) -> tuple[int, int]:
    """The next byte inside quotes, and how many bytes of the line stand for it."""
    if text[0] != 0x5C or len(text) < 2:
        return text[0], 1
    if quote == 0x27:
        return (0x27, 2) if text[1] == 0x27 else (text[0], 1)
    if text[1] == 0x78 and len(text) == 4 and _HEX.issuperset(text[2:]):
        return int(text[2:], 16), 4
    return _ESCAPES.get(text[1], text[1]), 2
