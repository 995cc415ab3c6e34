"""Domain names between wire and text (RFC 1035, 3.1, 4.1.4 and 5.1).

The text has no final dot, the root is ``.``.  A dot or backslash inside a label is written with a
backslash before it, a byte that is no printable ASCII as ``\\DDD``: text and wire map one to one,
the case of letters included.
"""

from __future__ import annotations

from kebpf.protocols.base import ProtocolError

MAX_NAME_SIZE = 255
MAX_LABEL_SIZE = 63
_POINTER = 0xC0
_LAST_POINTED = 0x3FFF


def read_name(message: bytes, offset: int) -> tuple[str, int]:
    """The name at ``offset`` and the offset after it.  Raises `ProtocolError`.

    A pointer must lead to bytes before the name it is part of, so no loop is possible.
    """
    labels: list[bytes] = []
    size, limit = 1, offset
    end = None
    while True:
        length = _byte(message, offset)
        if length >= _POINTER:
            target = (length & 0x3F) << 8 | _byte(message, offset + 1)
            if target >= limit:
                raise ProtocolError("a name's pointer does not lead backwards")
            end = offset + 2 if end is None else end
            offset = limit = target
            continue
        if length > MAX_LABEL_SIZE:
            raise ProtocolError("a label is longer than 63 bytes")
        if not length:
            break
        labels.append(_label(message, offset + 1, length))
        size += length + 1
        if size > MAX_NAME_SIZE:
            raise ProtocolError("a name is longer than 255 bytes")
        offset += length + 1
    return join_labels(labels), offset + 1 if end is None else end


def _byte(message: bytes, offset: int) -> int:
    if offset >= len(message):
        raise ProtocolError("a name runs past the message's end")
    return message[offset]


def _label(message: bytes, offset: int, size: int) -> bytes:
    label = message[offset : offset + size]
    if len(label) != size:
        raise ProtocolError("a name runs past the message's end")
    return label


def join_labels(labels: list[bytes]) -> str:
    """Labels as text."""
    return ".".join("".join(map(_escape, label)) for label in labels) or "."


def _escape(byte: int) -> str:
    if byte in b".\\":
        return "\\" + chr(byte)
    return chr(byte) if 0x21 <= byte <= 0x7E else f"\\{byte:03d}"


def split_name(name: str) -> list[bytes]:
    """The reverse of `join_labels`.  Raises `ProtocolError`."""
    if name == ".":
        return []
    labels = [bytearray()]
    position = 0
    while position < len(name):
        character = name[position]
        if character == ".":
            labels.append(bytearray())
        elif character == "\\" and name[position + 1 : position + 4].isdecimal():
            labels[-1].append(int(name[position + 1 : position + 4]) & 0xFF)
            position += 3
        elif character == "\\":
            position += 1
            labels[-1] += name[position : position + 1].encode()
        else:
            labels[-1] += character.encode()
        position += 1
    if any(not 0 < len(label) <= MAX_LABEL_SIZE for label in labels):
        raise ProtocolError("a label is empty or longer than 63 bytes")
    return [bytes(label) for label in labels]


def write_name(name: str) -> bytes:
    """The name on the wire, uncompressed."""
    return b"".join(bytes([len(label)]) + label for label in split_name(name)) + b"\0"


class NameWriter:
    """Writes the names of one message, pointing back to what is already there."""

    def __init__(self) -> None:
        self._offsets: dict[tuple[bytes, ...], int] = {}

    def write(self, name: str, offset: int) -> bytes:
        """The name as it is written at ``offset`` of the message."""
        labels = tuple(split_name(name))
        out = bytearray()
        for index in range(len(labels)):
            suffix = labels[index:]
            if suffix in self._offsets:
                return bytes(out) + (_POINTER << 8 | self._offsets[suffix]).to_bytes(2, "big")
            if offset + len(out) <= _LAST_POINTED:
                self._offsets[suffix] = offset + len(out)
            out += bytes([len(labels[index])]) + labels[index]
        return bytes(out) + b"\0"
