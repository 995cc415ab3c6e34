"""Reads what both sides say before anything is encrypted (RFC 8446, 4.1; RFC 6066, RFC 7301)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kebpf.protocols.base import ProtocolError

CLIENT_HELLO, SERVER_HELLO = 1, 2
_SERVER_NAME, _ALPN, _VERSIONS = 0, 16, 43  # extensions
TLS_1_3 = "1.3"
_NAMES = {0x0301: "1.0", 0x0302: "1.1", 0x0303: "1.2", 0x0304: TLS_1_3}


@dataclass(frozen=True, slots=True)
class Hello:
    """``alpn`` is what a client offers, and of a server (up to TLS 1.2) what it chose."""

    server_name: str = ""
    alpn: tuple[str, ...] = ()
    version: str = ""


class _Fields:
    """A cursor over a message.  Raises `ProtocolError` where it is too short."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        end = self.at + size
        if end > len(self.data):
            raise ProtocolError("a TLS greeting is cut off")
        taken, self.at = self.data[self.at : end], end
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, length_size: int) -> _Fields:
        return _Fields(self.take(self.number(length_size)))

    @property
    def has_more(self) -> bool:
        return self.at < len(self.data)


def read_hello(body: bytes, kind: int) -> Hello | None:
    """The greeting of ``kind`` that a handshake's record begins with; ``None``: another message.

    Raises `ProtocolError` for one that is cut off (it may go on in the next record) or damaged.
    """
    fields = _Fields(body)
    if fields.number(1) != kind:
        return None
    message = fields.vector(3)
    version = message.number(2)
    message.take(32)  # random
    message.vector(1)  # session id
    if kind == CLIENT_HELLO:
        message.vector(2)  # cipher suites
        message.vector(1)  # compression methods
    else:
        message.take(3)  # the ones chosen
    extensions = dict(_read_extensions(message)) if message.has_more else {}
    if kind == SERVER_HELLO and _VERSIONS in extensions:
        version = extensions[_VERSIONS].number(2)
    name = extensions.get(_SERVER_NAME)
    alpn = extensions.get(_ALPN)
    return Hello(
        _read_name(name) if name and name.has_more else "",
        tuple(_read_protocols(alpn)) if alpn else (),
        _NAMES.get(version, ""),
    )


def _read_extensions(message: _Fields) -> Iterator[tuple[int, _Fields]]:
    block = message.vector(2)
    while block.has_more:
        kind = block.number(2)
        yield kind, block.vector(2)


def _read_name(extension: _Fields) -> str:
    names = extension.vector(2)
    names.number(1)  # host_name is the only type
    return names.vector(2).data.decode("ascii", "replace")


def _read_protocols(extension: _Fields) -> Iterator[str]:
    names = extension.vector(2)
    while names.has_more:
        yield names.vector(1).data.decode("latin-1")


def begins_client_hello(data: bytes) -> bool | None:
    """Whether a ClientHello's record begins at ``data``; ``None``: too few bytes to say."""
    fixed = (0x16, 0x03)
    if any(byte != wanted for byte, wanted in zip(data, fixed, strict=False)):
        return False
    if len(data) < 9:
        return None
    record_size, hello_size = int.from_bytes(data[3:5], "big"), int.from_bytes(data[6:9], "big")
    return data[5] == CLIENT_HELLO and hello_size >= 42 and 46 <= record_size <= hello_size + 4
