"""Packets that a rule of nf_tables tells of, as they are; linux/netfilter/nfnetlink_log.h."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from kebpf.kernel.interception import NETFILTER
from kebpf.kernel.netlink import (
    NLM_F_ACK,
    NLM_F_REQUEST,
    Netlink,
    pack_attribute,
    pack_message,
    unpack_attributes,
)

_SUBSYSTEM = 4  # NFNL_SUBSYS_ULOG
_PACKET, _CONFIGURE = 0, 1
_COMMAND, _MODE, _THRESHOLD = 1, 2, 5  # NFULA_CFG_*
_BIND = 1
_COPY_PACKET = 2
_PAYLOAD = 9  # NFULA_PAYLOAD
_HEAD_SIZE = 4  # struct nfgenmsg
_WHOLE = 0xFFFF
_UDP_HEADER = struct.Struct(">HHHH")


@dataclass(frozen=True, slots=True)
class Packet:
    """An IP packet: numeric hosts, the number of its protocol, what is behind its header."""

    source: str
    destination: str
    protocol: int
    payload: bytes

    def as_datagram(self) -> tuple[int, int, bytes]:
        """Source port, destination port and content of a UDP packet (RFC 768)."""
        source, destination, size, _ = _UDP_HEADER.unpack_from(self.payload)
        return source, destination, self.payload[_UDP_HEADER.size : size]


class PacketLog:
    """The packets of one group, from now on.  Raises ``OSError`` where the kernel lacks it."""

    def __init__(self, group: int) -> None:
        self._netlink = Netlink(NETFILTER)
        settings = (
            pack_attribute(_COMMAND, bytes([_BIND])),
            pack_attribute(_MODE, struct.pack(">IBx", _WHOLE, _COPY_PACKET)),
            pack_attribute(_THRESHOLD, struct.pack(">I", 1)),  # at once, not a hundred together
        )
        flags, head = NLM_F_REQUEST | NLM_F_ACK, struct.pack(">BBH", socket.AF_UNSPEC, 0, group)
        try:
            for number, setting in enumerate(settings, 1):
                kind = _SUBSYSTEM << 8 | _CONFIGURE
                self._netlink.order(pack_message(kind, flags, number, head + setting), 1)
        except OSError:
            self._netlink.close()
            raise

    def take(self) -> Iterator[Packet]:
        """Those that came since the last call."""
        for kind, message in self._netlink.take():
            if kind == _SUBSYSTEM << 8 | _PACKET:
                for attribute, value in unpack_attributes(message[_HEAD_SIZE:]):
                    if attribute == _PAYLOAD:
                        with contextlib.suppress(struct.error, IndexError):
                            yield read_packet(value)

    def fileno(self) -> int:
        """Readable when `take` has something to give."""
        return self._netlink.fileno()

    def close(self) -> None:
        """May be called twice."""
        self._netlink.close()


def read_packet(data: bytes) -> Packet:
    """RFC 791, RFC 8200 (without extension headers)."""
    if data[0] >> 4 == 4:
        hosts = [socket.inet_ntop(socket.AF_INET, data[at : at + 4]) for at in (12, 16)]
        return Packet(hosts[0], hosts[1], data[9], data[4 * (data[0] & 15) :])
    hosts = [socket.inet_ntop(socket.AF_INET6, data[at : at + 16]) for at in (8, 24)]
    return Packet(hosts[0], hosts[1], data[6], data[40:])
