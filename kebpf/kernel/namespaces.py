"""Moves this process into namespaces of its own: a network with only loopback, private mounts.

A namespace lives as long as a process is in it, so nothing is left to clean up, whatever ends the
run.  All that a run is made of (responder, replayer, application) is started from the process that
moved.  Call these while the process has one thread: a namespace is a thread's (namespaces(7)).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
from dataclasses import dataclass, field
from pathlib import Path

from kebpf.kernel.errors import KernelError

# sched.h, sys/mount.h
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000

LOOPBACK = 1  # its index in every network namespace

_SETTINGS_FOLDER = Path("/proc/sys/net")  # shows the network namespace of who looks
_SETTINGS = (
    "core/somaxconn",
    "ipv4/ip_local_port_range",
    "ipv4/ip_nonlocal_bind",
    "ipv4/ip_unprivileged_port_start",
    "ipv4/ping_group_range",
    "ipv4/tcp_max_syn_backlog",
    "ipv4/tcp_rmem",
    "ipv4/tcp_wmem",
    "ipv6/bindv6only",
    "ipv6/ip_nonlocal_bind",
    "ipv6/conf/all/disable_ipv6",
    "ipv6/conf/default/disable_ipv6",
)
_LOOPBACK_IPV6 = "ipv6/conf/lo/disable_ipv6"
_REASONS = {
    errno.EPERM: "the kernel does not let this process make one",
    errno.ENOSPC: "the limit on their number is reached",
    errno.EUSERS: "the limit on their number is reached",
    errno.EINVAL: "this kernel was built without them",
    errno.ENOSYS: "this kernel was built without them",
}


def unshare(flags: int) -> None:
    """Moves this thread into new namespaces; unshare(2).  Raises ``OSError``."""
    _check(ctypes.CDLL(None, use_errno=True).unshare(ctypes.c_int(flags)))


def mount(
    source: str, target: str, flags: int, kind: str | None = None, data: str | None = None
) -> None:
    """mount(2).  Raises ``OSError`` that names ``target``."""
    libc = ctypes.CDLL(None, use_errno=True)
    words = [None if one is None else os.fsencode(one) for one in (kind, data)]
    place = os.fsencode(source), os.fsencode(target)
    _check(libc.mount(*place, words[0], ctypes.c_ulong(flags), words[1]), target)


def _check(result: int, path: str | None = None) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)


def make_mounts_private() -> None:
    """From now on nothing that is mounted here is seen outside.  Raises ``OSError``."""
    mount("none", "/", MS_REC | MS_PRIVATE)


@dataclass(frozen=True, slots=True)
class HostNetwork:
    """What of a host's network its programs can tell without a packet: addresses and settings.

    Which families there are decides what a look-up asks for (``AI_ADDRCONFIG``), and a program may
    listen on the host's own address.
    """

    addresses: tuple[tuple[int, str], ...] = ()  # (family, numeric address), loopback's left out
    settings: dict[str, str] = field(default_factory=dict)  # path below /proc/sys/net → value
    has_ipv6: bool = True

    @classmethod
    def read(cls) -> HostNetwork:
        """That of the network namespace this process is in.  Raises ``OSError``."""
        from pyroute2 import IPRoute

        with IPRoute() as route:
            found = [
                (message["index"], message["family"], message.get_attr("IFA_LOCAL") or address)
                for message in route.get_addr()
                if (address := message.get_attr("IFA_ADDRESS")) is not None
            ]
        addresses = dict.fromkeys((one[1], one[2]) for one in found if not _is_loopback(one[2]))
        has_ipv6 = any(
            index == LOOPBACK and family == socket.AF_INET6 for index, family, _ in found
        )
        return cls(tuple(addresses), _read_settings(), has_ipv6)

    def rebuild(self) -> None:
        """Makes the new network namespace of this process alike, with nothing but loopback.

        The host's addresses become loopback's.  A route for all else leads nowhere, so that what a
        program sends is refused where it can be counted.  Raises ``OSError``.
        """
        from pyroute2 import IPRoute
        from pyroute2.netlink.exceptions import NetlinkError

        self._write_settings()
        try:
            with IPRoute() as route:
                route.link("set", index=LOOPBACK, state="up")
                for family, address in self.addresses:
                    if family == socket.AF_INET or self.has_ipv6:
                        size = 32 if family == socket.AF_INET else 128
                        route.addr(
                            "add", index=LOOPBACK, address=address, prefixlen=size, family=family
                        )
                route.route("add", dst="0.0.0.0/0", oif=LOOPBACK, family=socket.AF_INET)
                if self.has_ipv6:
                    route.route("add", dst="::/0", oif=LOOPBACK, family=socket.AF_INET6)
        except NetlinkError as error:
            raise OSError(error.code, os.strerror(error.code)) from None

    def _write_settings(self) -> None:
        here = _read_settings()
        wanted = {**self.settings, _LOOPBACK_IPV6: str(int(not self.has_ipv6))}
        for name, value in wanted.items():
            if name in here and here[name] == value:
                continue
            with contextlib.suppress(OSError):  # not there in this kernel, or /proc/sys is fixed
                (_SETTINGS_FOLDER / name).write_text(value)


def _is_loopback(address: str) -> bool:
    return address.startswith("127.") or address == "::1"


def _read_settings() -> dict[str, str]:
    found = {}
    for name in _SETTINGS:
        with contextlib.suppress(OSError):  # a kernel without IPv6, or an older one
            found[name] = (_SETTINGS_FOLDER / name).read_text().strip()
    return found


def isolate() -> None:
    """Moves this process into a network and a mount namespace of its own.

    Raises `KernelError` if they may not be made.
    """
    try:
        host = HostNetwork.read()
        unshare(CLONE_NEWNET | CLONE_NEWNS)
        make_mounts_private()
        host.rebuild()
    except OSError as error:
        raise explain_refusal("a network namespace", error) from None


def explain_refusal(what: str, error: OSError) -> KernelError:
    """A namespace that may not be made, in one sentence."""
    reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
    hint = (
        "run it as root (in a container: --privileged), with --rootless, or without --isolated "
        "and --jobs"
    )
    return KernelError(f"{what} cannot be made: {reason}", hint)
