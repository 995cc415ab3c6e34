"""Attempts to reach what nobody serves, seen by the kernel's own refusals on loopback; packet(7).

A connection to a port that nobody has gets a reset that carries no sequence number (RFC 9293,
3.10.7.1), a datagram an ICMP message with the datagram's head in it (RFC 792, RFC 4443).
"""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
from collections.abc import Iterator

from kebpf.kernel.packetlog import read_packet

_IPV4, _IPV6 = 0x0800, 0x86DD  # ETH_P_IP, ETH_P_IPV6
_ATTACH_FILTER = 26  # SO_ATTACH_FILTER
_OUTGOING = 4  # PACKET_OUTGOING: loopback shows each packet once more on its way out
_MOST_SIZE = 256
_RESET = 0x14  # RST and ACK
_ERROR_HEAD_SIZE = 8

# linux/bpf_common.h: loads of a byte and a word, absolute and behind X; jump if equal; return
_BYTE, _WORD, _BYTE_X, _WORD_X, _HEADER_X, _EQUAL, _RETURN = (
    0x30,
    0x20,
    0x50,
    0x40,
    0xB1,
    0x15,
    0x06,
)
_TAKE, _LEAVE = (_RETURN, 0, 0, _MOST_SIZE), (_RETURN, 0, 0, 0)
_FILTERS = {
    _IPV4: [
        (_HEADER_X, 0, 0, 0),  # X = the header's length
        (_BYTE, 0, 0, 9),
        (_EQUAL, 0, 4, socket.IPPROTO_TCP),
        (_BYTE_X, 0, 0, 13),
        (_EQUAL, 0, 7, _RESET),
        (_WORD_X, 0, 0, 4),
        (_EQUAL, 4, 5, 0),
        (_EQUAL, 0, 4, socket.IPPROTO_ICMP),
        (_BYTE_X, 0, 0, 0),
        (_EQUAL, 0, 2, 3),  # unreachable: a port, or by protocol
        (_EQUAL, 0, 0, 3),
        _TAKE,
        _LEAVE,
    ],
    _IPV6: [
        (_BYTE, 0, 0, 6),
        (_EQUAL, 0, 4, socket.IPPROTO_TCP),
        (_BYTE, 0, 0, 40 + 13),
        (_EQUAL, 0, 6, _RESET),
        (_WORD, 0, 0, 40 + 4),
        (_EQUAL, 3, 4, 0),
        (_EQUAL, 0, 3, socket.IPPROTO_ICMPV6),
        (_BYTE, 0, 0, 40),
        (_EQUAL, 0, 1, 1),  # unreachable
        _TAKE,
        _LEAVE,
    ],
}


class UnansweredCalls:
    """Those of this network namespace from now on.  Raises ``OSError``."""

    def __init__(self) -> None:
        self._sockets = [_open(kind, rules) for kind, rules in _FILTERS.items()]

    def take(self) -> Iterator[tuple[int, str]]:
        """Protocol and destination of each since the last call."""
        for one in self._sockets:
            with contextlib.suppress(BlockingIOError):
                while True:
                    data, address = one.recvfrom(_MOST_SIZE)
                    if address[2] != _OUTGOING:
                        yield read_refusal(data)

    def close(self) -> None:
        """May be called twice."""
        for one in self._sockets:
            one.close()


def read_refusal(data: bytes) -> tuple[int, str]:
    """Which protocol was refused, and where: the answer's sender, or what its content says."""
    packet = read_packet(data)
    if packet.protocol == socket.IPPROTO_TCP:
        return packet.protocol, packet.source
    refused = read_packet(packet.payload[_ERROR_HEAD_SIZE:])
    return refused.protocol, refused.destination


def _open(kind: int, rules: list[tuple[int, int, int, int]]) -> socket.socket:
    found = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0)
    try:
        raw = b"".join(struct.pack("=HBBI", *rule) for rule in rules)
        code = ctypes.create_string_buffer(raw)
        program = struct.pack("HxxxxxxQ", len(rules), ctypes.addressof(code))
        found.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, program)
        found.bind(("lo", kind))
    except OSError:
        found.close()
        raise
    return found
