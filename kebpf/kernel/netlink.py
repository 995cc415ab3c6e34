"""Netlink messages by hand: headers, attributes, the kernel's answers; netlink(7).

For what runs beside an event loop or is in no library: requests are small and answers are read at
once, so nothing here waits for anybody but the kernel.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator

NLM_F_REQUEST, NLM_F_ACK, NLM_F_CREATE, NLM_F_APPEND = 0x1, 0x4, 0x400, 0x800
NLM_F_DUMP = 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLA_F_NESTED = 0x8000

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_ERROR = struct.Struct("=i")
_MOST_ANSWER_SIZE = 1 << 17


def pack_attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    size = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(size, kind) + value + bytes(-size % 4)


def pack_nested(kind: int, *attributes: bytes) -> bytes:
    """An attribute made of attributes."""
    return pack_attribute(kind | NLA_F_NESTED, b"".join(attributes))


def pack_message(kind: int, flags: int, number: int, payload: bytes) -> bytes:
    """One message; its sequence ``number`` is what an answer names it by."""
    return _HEADER.pack(_HEADER.size + len(payload), kind, flags, number, 0) + payload


def unpack_messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Kind, sequence number and payload of each message in a datagram."""
    at = 0
    while at + _HEADER.size <= len(data):
        size, kind, _, number, _ = _HEADER.unpack_from(data, at)
        if size < _HEADER.size:
            return
        yield kind, number, data[at + _HEADER.size : at + size]
        at += size + -size % 4


def unpack_attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and value of each attribute in a row of them."""
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        size, kind = _ATTRIBUTE.unpack_from(data, at)
        if size < _ATTRIBUTE.size:
            return
        yield kind & ~NLA_F_NESTED, data[at + _ATTRIBUTE.size : at + size]
        at += size + -size % 4


class Netlink:
    """A netlink socket of the network namespace it is made in.  Raises ``OSError``."""

    def __init__(self, family: int) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family
        )
        self._socket.bind((0, 0))

    def order(self, messages: bytes, acknowledged: int) -> None:
        """Sends ``messages`` and reads so many acknowledgements.

        Raises the ``OSError`` of the first that the kernel refuses.
        """
        self._socket.send(messages)
        while acknowledged:
            for kind, _, payload in unpack_messages(self._socket.recv(_MOST_ANSWER_SIZE)):
                if kind == NLMSG_ERROR:
                    _raise(payload)
                    acknowledged -= 1

    def ask(self, kind: int, payload: bytes) -> bytes:
        """The payload of the one answer to a request.  Raises ``OSError``."""
        self._socket.send(pack_message(kind, NLM_F_REQUEST, 1, payload))
        for answer, _, body in unpack_messages(self._socket.recv(_MOST_ANSWER_SIZE)):
            if answer == NLMSG_ERROR:
                _raise(body)
            return body
        raise OSError(errno.ENODATA, os.strerror(errno.ENODATA))

    def dump(self, kind: int, payload: bytes) -> Iterator[bytes]:
        """The payloads of all answers to a request for a list.  Raises ``OSError``."""
        self._socket.send(pack_message(kind, NLM_F_REQUEST | NLM_F_DUMP, 1, payload))
        while True:
            for answer, _, body in unpack_messages(self._socket.recv(_MOST_ANSWER_SIZE)):
                if answer == NLMSG_DONE:
                    return
                if answer == NLMSG_ERROR:
                    _raise(body)
                yield body

    def take(self) -> Iterator[tuple[int, bytes]]:
        """Kind and payload of what came unasked since the last call; never waits."""
        while True:
            try:
                data = self._socket.recv(_MOST_ANSWER_SIZE, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # some were dropped; those after them were not
                    raise
                continue
            for kind, _, payload in unpack_messages(data):
                yield kind, payload

    def fileno(self) -> int:
        """Readable when `take` has something to give."""
        return self._socket.fileno()

    def close(self) -> None:
        """May be called twice."""
        self._socket.close()


def _raise(payload: bytes) -> None:
    [number] = _ERROR.unpack_from(payload)
    if number:
        raise OSError(-number, os.strerror(-number))
