"""The events of TLS sessions: what a library was given, and how its connection is found."""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass

from kebpf.capture.head import Head, read_text

PLAIN_TAIL = struct.Struct("=QQQIIIIQ")
MARK_TAIL = struct.Struct("=QQI44s")
SESSION_TAIL = struct.Struct("=QQQQ")
TLS_CODE_TAIL = struct.Struct("=II48s")


class Library(enum.IntEnum):
    """enum kebpf_library: what encrypts."""

    OPENSSL = 1
    GNUTLS = 2
    GO = 3
    RUSTLS = 4
    JAVA = 5


SessionKey = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Plain:
    """Bytes that a program gave a TLS library (EGRESS) or was given by it, of one session.

    ``data`` is ``None`` where they could not be read.  The head names the connection, if it is
    known; ``offset`` counts from where the session was first seen.
    """

    head: Head
    session: int
    generation: int
    offset: int
    size: int
    call_size: int
    data: bytes | None
    task: int = 0

    @property
    def key(self) -> SessionKey:
        """The session: process, address, and which life of that."""
        return self.head.pid, self.session, self.generation


@dataclass(frozen=True, slots=True)
class Mark:
    """How a record begins that a session took from its BIO or put into it, or what follows."""

    head: Head
    session: int
    generation: int
    data: bytes

    @property
    def key(self) -> SessionKey:
        """As `Plain.key`."""
        return self.head.pid, self.session, self.generation


@dataclass(frozen=True, slots=True)
class SessionEnd:
    """A session is no more; ``moved`` are its bytes by direction."""

    head: Head
    session: int
    generation: int
    moved: tuple[int, int]

    @property
    def key(self) -> SessionKey:
        """As `Plain.key`."""
        return self.head.pid, self.session, self.generation


@dataclass(frozen=True, slots=True)
class TlsCode:
    """From now on a process's calls to a library are seen; if not ``is_read`` they cannot be."""

    head: Head
    library: Library
    is_read: bool
    name: str


SessionEvent = Plain | Mark | SessionEnd | TlsCode


def decode_plain(_: int, head: Head, data: bytes, at: int, end: int) -> Plain:
    (session, generation, offset, size, call_size, _, reason, task) = PLAIN_TAIL.unpack_from(
        data, at
    )
    start = at + PLAIN_TAIL.size
    if start + size > end:
        raise ValueError(f"{size} bytes of payload where there is room for {end - start}")
    payload = None if reason else data[start : start + size]
    return Plain(head, session, generation, offset, size, call_size, payload, task)


def decode_mark(_: int, head: Head, data: bytes, at: int, __: int) -> Mark:
    session, generation, size, content = MARK_TAIL.unpack_from(data, at)
    return Mark(head, session, generation, content[:size])


def decode_session_end(_: int, head: Head, data: bytes, at: int, __: int) -> SessionEnd:
    session, generation, moved_in, moved_out = SESSION_TAIL.unpack_from(data, at)
    return SessionEnd(head, session, generation, (moved_in, moved_out))


def decode_tls_code(_: int, head: Head, data: bytes, at: int, __: int) -> TlsCode:
    library, is_read, name = TLS_CODE_TAIL.unpack_from(data, at)
    return TlsCode(head, Library(library), bool(is_read), read_text(name))
