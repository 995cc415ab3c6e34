"""Whose the socket at the other end of a local TCP connection is; sock_diag(7)."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

from kebpf.kernel.netlink import Netlink, unpack_attributes

_NETLINK_SOCK_DIAG = 4
_BY_FAMILY = 20  # SOCK_DIAG_BY_FAMILY
_CGROUP_ID = 21  # INET_DIAG_CGROUP_ID, since Linux 5.9
_ANY_STATE = 0xFFFFFFFF
# struct inet_diag_req_v2: family, protocol, ext, pad, states; then the socket's own port, the
# other's, both addresses, an interface and no cookie
_REQUEST = struct.Struct("=BBBBI2s2s16s16sIII")
_NO_COOKIE = 0xFFFFFFFF
_ANSWER_SIZE = 72  # struct inet_diag_msg
_INODE_AT = 68  # its last field


def find_cgroup_of(own: tuple[str, int], other: tuple[str, int]) -> int | None:
    """The number (inode) of the control group of the socket whose own end is ``own``.

    ``None`` where the kernel does not say: the socket has gone, say, or Linux is older than 5.9.
    """
    answer = _ask(own, other)
    if answer is None:
        return None
    attributes = dict(unpack_attributes(answer[_ANSWER_SIZE:]))
    raw = attributes.get(_CGROUP_ID)
    return None if raw is None else int.from_bytes(raw, "little")


def find_inode_of(own: tuple[str, int], other: tuple[str, int]) -> int | None:
    """The number of the socket itself, by which whoever holds it does; ``None`` likewise."""
    answer = _ask(own, other)
    return None if answer is None else int.from_bytes(answer[_INODE_AT:_ANSWER_SIZE], "little")


def _ask(own: tuple[str, int], other: tuple[str, int]) -> bytes | None:
    family = socket.AF_INET6 if ":" in own[0] else socket.AF_INET
    ends = [(port.to_bytes(2), socket.inet_pton(family, host)) for host, port in (own, other)]
    ports, hosts = zip(*ends, strict=True)
    request = _REQUEST.pack(
        family, socket.IPPROTO_TCP, 0, 0, _ANY_STATE, *ports, *hosts, 0, _NO_COOKIE, _NO_COOKIE
    )
    try:
        netlink = Netlink(_NETLINK_SOCK_DIAG)
        try:
            return netlink.ask(_BY_FAMILY, request)
        finally:
            netlink.close()
    except OSError:
        return None


def list_cgroups(folder: Path) -> set[int]:
    """The numbers of a control group and of those below it."""
    folders = (one for one in folder.rglob("*") if one.is_dir())
    return {folder.stat().st_ino, *(one.stat().st_ino for one in folders)}
