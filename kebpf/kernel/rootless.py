"""A network of our own without any right: user namespace, every address local, all intercepted.

The user keeps the ids they have, so the application sees the same user as otherwise.  Rights in the
new user namespace are this process's and end at the exec of a program that is not root's: the
application gets none.  Call these while the process has one thread (user_namespaces(7)).
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from kebpf.kernel.errors import KernelError
from kebpf.kernel.interception import intercept
from kebpf.kernel.members import Network
from kebpf.kernel.namespaces import (
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWUSER,
    LOOPBACK,
    HostNetwork,
    make_mounts_private,
    unshare,
)

PROC = Path("/proc")
OTHER_FORM = "where root is to be had, `sudo kebpf test` does without a user namespace"

_LOCAL_TABLE = 255
_EVERYWHERE: dict[int, tuple[str, str]] = {
    socket.AF_INET: ("0.0.0.0/0", "127.0.0.1"),
    socket.AF_INET6: ("::/0", "::1"),
}
_FORBIDDING = (  # settings of proc/sys with the value that forbids, and what to say of it
    ("user/max_user_namespaces", "0", "user.max_user_namespaces is 0"),
    ("kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone is 0"),
    (
        "kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "AppArmor takes all rights in them (kernel.apparmor_restrict_unprivileged_userns is 1)",
    ),
)


@contextlib.contextmanager
def entered(intercepts: bool = True) -> Iterator[Network]:
    """Moves this process into its own network, in which all that is sent stays and is intercepted.

    It stays there.  Without ``intercepts``, or where the kernel has no means for it, every address
    is only local.  What the application leaves running when the context ends, or this process
    does in whatever way, is ended.  Raises `KernelError` if the kernel or a policy refuses.
    """
    try:
        host = HostNetwork.read()
        is_user = _leave()
        try:
            make_mounts_private()
        except PermissionError:
            # what is mounted in a user namespace's is not seen outside anyway (mount_namespaces(7))
            if not is_user:
                raise
        host.rebuild()
        families = _make_all_local(host.has_ipv6)
    except OSError as error:
        raise explain_refusal(error) from None
    with contextlib.suppress(OSError):  # /proc/sys may be read-only; then ports < 1024 are root's
        (PROC / "sys/net/ipv4/ip_unprivileged_port_start").write_text("0")
    is_intercepted = intercepts and _try_intercept(families)
    inode, here = (PROC / "self/ns/net").stat().st_ino, os.getpid()
    keeper, pipe = _start_keeper(inode, here)
    try:
        yield Network(inode, frozenset((here, keeper)), is_intercepted)
    finally:
        os.close(pipe)
        os.waitpid(keeper, 0)


def _try_intercept(families: list[int]) -> bool:
    try:
        intercept(families)
    except KernelError:
        return False
    return True


def _leave() -> bool:
    """Whether it took a user namespace: root needs none but in a container that forbids this."""
    uid, gid = os.geteuid(), os.getegid()  # afterwards they are nobody's, until they are mapped
    if uid != 0:
        unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS)
        _map_own_ids(uid, gid)
        return True
    try:
        unshare(CLONE_NEWNET | CLONE_NEWNS)
    except PermissionError:
        if not _unshare_mapping_all(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS):
            _map_own_ids(uid, gid)
        return True
    return False


def _map_own_ids(uid: int, gid: int) -> None:
    folder = PROC / "self"
    (folder / "setgroups").write_text("deny")  # else gid_map is not for those without rights
    (folder / "uid_map").write_text(f"{uid} {uid} 1")
    (folder / "gid_map").write_text(f"{gid} {gid} 1")


def _unshare_mapping_all(flags: int) -> bool:
    """Moves into new namespaces with every id mapped to itself, so that one may become another.

    Only somebody outside may write that: a child that stays behind.  False where it may not.
    """
    maps = {name: _map_to_itself(PROC / "self" / name) for name in ("uid_map", "gid_map")}
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        ours.close()
        _write_maps(theirs, os.getppid(), maps)
    theirs.close()
    try:
        unshare(flags)
        ours.send(b"!")
        return ours.recv(1) == b"y"
    finally:
        ours.close()
        os.waitpid(child, 0)


def _map_to_itself(current: Path) -> str:
    ranges = (line.split() for line in current.read_text().splitlines())
    return "".join(f"{inside} {inside} {count}\n" for inside, _, count in ranges)


def _write_maps(told: socket.socket, parent: int, maps: dict[str, str]) -> NoReturn:
    """The child's whole life; it ends without any of Python's own endings."""
    try:
        if told.recv(1):
            for name, text in maps.items():
                (PROC / str(parent) / name).write_text(text)
            told.send(b"y")
    except OSError:
        told.close()  # says no
    finally:
        os._exit(0)


def _make_all_local(has_ipv6: bool) -> list[int]:
    """Every address is this host's own from now on; the families there are."""
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    families: list[int] = [socket.AF_INET, *([socket.AF_INET6] if has_ipv6 else [])]
    try:
        with IPRoute() as route:
            for family in families:
                everywhere, source = _EVERYWHERE[family]
                scope = {"scope": "host"} if family == socket.AF_INET else {}
                route.route(
                    "add",
                    dst=everywhere,
                    type="local",
                    table=_LOCAL_TABLE,
                    oif=LOOPBACK,
                    family=family,
                    prefsrc=source,
                    **scope,
                )
    except NetlinkError as error:
        raise OSError(error.code, os.strerror(error.code)) from None
    return families


def _start_keeper(inode: int, watched: int) -> tuple[int, int]:
    """A process that outlives this one by a moment, to end what it left: its id, and a descriptor.

    It acts when that descriptor closes.
    """
    read, write = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _keep(read, Network(inode, frozenset((os.getpid(), watched))))
    os.close(read)
    return pid, write


def _keep(pipe: int, network: Network) -> NoReturn:
    """Waits in a session of its own, holding no file of anybody's."""
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        os.closerange(0, pipe)
        os.closerange(pipe + 1, os.sysconf("SC_OPEN_MAX"))
        os.read(pipe, 1)
        network.kill_members()
    finally:
        os._exit(0)


def explain_refusal(error: OSError, proc: Path = PROC) -> KernelError:
    """Why there is no network without root here, in one sentence, and what works instead."""
    what = "a network of the run's own cannot be made without root"
    return KernelError(f"{what}: {_find_reason(error, proc)}", OTHER_FORM)


def _find_reason(error: OSError, proc: Path) -> str:
    if error.errno in (errno.EPERM, errno.EACCES, errno.ENOSPC, errno.EUSERS):
        for name, value, reason in _FORBIDDING:
            with contextlib.suppress(OSError):
                if (proc / "sys" / name).read_text().strip() == value:
                    return reason
        if "Seccomp:\t2" in (proc / "self/status").read_text():
            return "a seccomp filter forbids it (as a container's does unless told otherwise)"
    if error.errno in (errno.EINVAL, errno.ENOSYS):
        return "this kernel was built without user namespaces"
    return error.strerror or str(error)
