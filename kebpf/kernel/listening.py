"""Which TCP sockets of this network namespace listen, asked of the kernel; sock_diag(7)."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from kebpf.kernel.netlink import Netlink

_NETLINK_SOCK_DIAG = 4
_BY_FAMILY = 20  # SOCK_DIAG_BY_FAMILY
_LISTEN = 1 << 10
# struct inet_diag_req_v2: family, protocol, ext, pad, states, and a socket's identity (48 bytes)
_REQUEST = struct.Struct("=BBBBI48x")
# struct inet_diag_msg: family, state, timer, retrans, then sport, dport, src, dst, if, cookie;
# expires, rqueue, wqueue, uid, inode
_ANSWER = struct.Struct("=BBBB2s2s16s16sI8sIIIII")


@dataclass(frozen=True, slots=True)
class ListeningSocket:
    """``host`` is numeric; the inode is what /proc/PID/fd names the socket by."""

    host: str
    port: int
    inode: int


class ListeningSockets:
    """Asks again and again.  Raises ``OSError`` where the kernel lacks it."""

    def __init__(self) -> None:
        self._netlink = Netlink(_NETLINK_SOCK_DIAG)

    def list(self) -> Iterator[ListeningSocket]:
        """Those that there are now."""
        for family in (socket.AF_INET, socket.AF_INET6):
            request = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, _LISTEN)
            for answer in self._netlink.dump(_BY_FAMILY, request):
                fields = _ANSWER.unpack_from(answer)
                size = 4 if fields[0] == socket.AF_INET else 16
                host = socket.inet_ntop(fields[0], fields[6][:size])
                yield ListeningSocket(host, int.from_bytes(fields[4]), fields[-1])

    def close(self) -> None:
        """May be called twice."""
        self._netlink.close()
