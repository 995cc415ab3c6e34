"""The two ends of a network in which all that is sent is brought to sockets of ours.

A socket there stands for every destination: an accepted connection's own address is the one that
was asked for, and each datagram comes with its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

from kebpf.kernel.interception import HOOK_PORT, OWN_MARK
from kebpf.recording.model import Endpoint

BACKLOG = 1024
MOST_DATAGRAM_SIZE = 65536

# linux/in.h, linux/in6.h
_IP_TRANSPARENT, _IP_RECVORIGDSTADDR = 19, 20
_IPV6_TRANSPARENT, _IPV6_RECVORIGDSTADDR, _IPV6_HDRINCL = 75, 74, 36
_ANCILLARY_SIZE = 128
_UDP_HEADER = struct.Struct(">HHHH")

Host = tuple[str, int]


@runtime_checkable
class Doors(Protocol):
    """A redirect that opens the responder's sockets itself."""

    def listen(self, destinations: Sequence[Endpoint]) -> list[socket.socket]:
        """Listening sockets; what one accepts has the destination for its own address.

        ``destinations`` are those that were recorded.
        """

    def open_datagrams(
        self,
        make_protocol: Callable[[], asyncio.DatagramProtocol],
        destinations: Sequence[Endpoint],
    ) -> list[asyncio.DatagramTransport]:
        """What takes datagrams to anywhere and answers from there; in the running loop."""


def open_stream_door(family: int, at: Host | None = None) -> socket.socket:
    """Where TCP connections of one family end, or those to one place.  Raises ``OSError``."""
    door = _open_door(family, socket.SOCK_STREAM, at)
    door.listen(BACKLOG)
    return door


def open_datagram_door(family: int, at: Host | None = None) -> socket.socket:
    """Where datagrams of one family end, or those to one place.  Raises ``OSError``."""
    door = _open_door(family, socket.SOCK_DGRAM, at)
    level, option = _choose(
        family,
        (socket.IPPROTO_IP, _IP_RECVORIGDSTADDR),
        (socket.IPPROTO_IPV6, _IPV6_RECVORIGDSTADDR),
    )
    door.setsockopt(level, option, 1)
    return door


def _open_door(family: int, kind: int, at: Host | None) -> socket.socket:
    door = socket.socket(family, kind | socket.SOCK_NONBLOCK)
    try:
        if kind == socket.SOCK_STREAM:
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, OWN_MARK)
        level, option = _choose(
            family, (socket.IPPROTO_IP, _IP_TRANSPARENT), (socket.IPPROTO_IPV6, _IPV6_TRANSPARENT)
        )
        door.setsockopt(level, option, 1)
        if family == socket.AF_INET6:
            door.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        door.bind(at or ("::1" if family == socket.AF_INET6 else "127.0.0.1", HOOK_PORT))
    except OSError:
        door.close()
        raise
    return door


def _choose(family: int, ipv4: tuple[int, int], ipv6: tuple[int, int]) -> tuple[int, int]:
    return ipv6 if family == socket.AF_INET6 else ipv4


class DoorDatagrams(asyncio.DatagramTransport):
    """A transport over one datagram door.

    An answer must come from where the question went, which a raw socket can say without binding
    anything: no address or port of the application's is in its way.
    """

    def __init__(self, door: socket.socket, protocol: asyncio.DatagramProtocol) -> None:
        super().__init__()
        self._door = door
        self._protocol = protocol
        self._answers = _open_raw(door.family)
        self._wanted: dict[Host, Host] = {}  # by who asked: at most one a port
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(door.fileno(), self._receive)
        protocol.connection_made(self)

    def original_destination(self, host: str, port: int) -> Host | None:
        """Where the last datagram from there was meant to go."""
        return self._wanted.get((host, port))

    def _receive(self) -> None:
        try:
            data, ancillary, _, source = self._door.recvmsg(MOST_DATAGRAM_SIZE, _ANCILLARY_SIZE)
        except OSError:  # none after all, or an error that one before it met
            return
        for _, _, address in ancillary:
            self.deliver(data, source, _read_address(address))

    def deliver(self, data: bytes, source: Any, wanted: Host) -> None:
        """A datagram that ``source`` sent to ``wanted``."""
        self._wanted[source[:2]] = wanted
        self._protocol.datagram_received(data, source)

    @property
    def family(self) -> int:
        return self._door.family

    def sendto(self, data: Any, addr: Any = None) -> None:
        """Answers who asked from ``addr``, as the one that was asked."""
        wanted = self._wanted.get(addr[:2])
        if wanted is None:
            return
        write = _write_datagram6 if self._door.family == socket.AF_INET6 else _write_datagram4
        with contextlib.suppress(OSError):  # it is not there any more: as on any network
            self._answers.sendto(write(bytes(data), wanted, addr[:2]), (addr[0], 0))

    def is_closing(self) -> bool:
        return self._door.fileno() < 0

    def close(self) -> None:
        if not self.is_closing():
            self._loop.remove_reader(self._door.fileno())
            self._door.close()
            self._answers.close()
            self._loop.call_soon(self._protocol.connection_lost, None)

    abort = close

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._door.getsockname() if name == "sockname" else default


def _open_raw(family: int) -> socket.socket:
    """It takes whole packets with their headers, and receives nothing; raw(7)."""
    answers = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_RAW)
    answers.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, OWN_MARK)
    if family == socket.AF_INET6:
        answers.setsockopt(socket.IPPROTO_IPV6, _IPV6_HDRINCL, 1)
    return answers


def _read_address(raw: bytes) -> Host:
    """A struct sockaddr_in or sockaddr_in6."""
    family, port = int.from_bytes(raw[:2], "little"), int.from_bytes(raw[2:4])
    if family == socket.AF_INET:
        return socket.inet_ntop(family, raw[4:8]), port
    return socket.inet_ntop(socket.AF_INET6, raw[8:24]), port


def _write_datagram4(data: bytes, source: Host, to: Host) -> bytes:
    """RFC 791 and RFC 768; the kernel fills in length and checksum, UDP may go without one."""
    addresses = socket.inet_aton(source[0]) + socket.inet_aton(to[0])
    size = _UDP_HEADER.size + len(data)
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + size, 0, 0, 64, socket.IPPROTO_UDP, 0)
    return head + addresses + _UDP_HEADER.pack(source[1], to[1], size, 0) + data


def _write_datagram6(data: bytes, source: Host, to: Host) -> bytes:
    """RFC 8200, with the checksum that UDP must have there (section 8.1)."""
    addresses = b"".join(socket.inet_pton(socket.AF_INET6, host) for host in (source[0], to[0]))
    size = _UDP_HEADER.size + len(data)
    pseudo = addresses + struct.pack(">II", size, socket.IPPROTO_UDP)
    without = _UDP_HEADER.pack(source[1], to[1], size, 0) + data
    checksum = _sum_words(pseudo + without) ^ 0xFFFF or 0xFFFF
    head = struct.pack(">IHBB", 6 << 28, size, socket.IPPROTO_UDP, 64)
    return head + addresses + _UDP_HEADER.pack(source[1], to[1], size, checksum) + data


def _sum_words(data: bytes) -> int:
    """The ones' complement sum of RFC 1071: what is left of the number modulo 65535."""
    total = int.from_bytes(data + bytes(len(data) % 2))
    return total % 0xFFFF or (0xFFFF if total else 0)
