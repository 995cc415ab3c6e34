"""Takes everything from a process that it does not need to read hostile bytes and write files.

It becomes a user of its own, without any capability and any way to get one back, cannot be looked
into and leaves no core, has no descriptors but those it is given, and may call the kernel only
through the filter of `kebpf.kernel.seccomp`.
"""

from __future__ import annotations

import ctypes
import json
import os
import pwd
import resource
import signal
import struct
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from kebpf.kernel.errors import KernelError
from kebpf.kernel.seccomp import call_prctl, install_filter

_SET_DUMPABLE, _DROP_FROM_BOUND = 4, 24  # prctl(2)
_AMBIENT, _CLEAR_ALL = 47, 4
_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION = 0x20080522  # of capset(2), the third: 64 bits
_MOST_CAPABILITIES = 64


@dataclass(frozen=True, slots=True)
class Sandbox:
    """``user`` is whom the process becomes: its name."""

    user: str = "kebpf"

    def find_ids(self) -> tuple[int, int]:
        """The user's id and its group's.  Raises `KernelError`."""
        try:
            entry = pwd.getpwnam(self.user)
        except KeyError as error:
            raise KernelError(
                f"there is no user {self.user!r}, as whom what was recorded is to be parsed",
                "make one with 'useradd --system --no-create-home --shell /usr/sbin/nologin "
                f"{self.user}'",
            ) from error
        if entry.pw_uid == 0:
            raise KernelError(
                f"{self.user!r} is root: what was recorded is to be parsed by another"
            )
        return entry.pw_uid, entry.pw_gid


def drop_privileges(uid: int, gid: int, keep: Collection[int]) -> None:
    """For good, and for a process of one thread; of its descriptors only ``keep`` stay open.

    0, 1 and 2 lead nowhere then.  Raises ``OSError``, and is not to go on then.
    """
    _close_others(keep)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for capability in range(_MOST_CAPABILITIES):
        with suppress(OSError):  # there are fewer, or it may not: it gets none back all the same
            call_prctl(_DROP_FROM_BOUND, capability)
    call_prctl(_AMBIENT, _CLEAR_ALL)
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    _clear_capabilities()
    call_prctl(_SET_NO_NEW_PRIVS, 1)
    call_prctl(_SET_DUMPABLE, 0)


def close_the_door() -> None:
    """From here on only what the filter allows; to be called last.  Raises ``OSError``."""
    install_filter()


def _close_others(keep: Collection[int]) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        if standard not in keep:
            os.dup2(nowhere, standard)
    first = 3
    for descriptor in sorted(one for one in keep if one > 2):
        os.closerange(first, descriptor)
        first = descriptor + 1
    os.closerange(first, os.sysconf("SC_OPEN_MAX"))


def _clear_capabilities() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    head = struct.pack("=Ii", _CAPABILITY_VERSION, 0)
    if libc.capset(head, bytes(24)) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


class ConfinedError(Exception):
    """What was to be done in confinement failed; the text is one sentence."""


def run_confined(sandbox: Sandbox, work: Callable[[], Any]) -> Any:
    """What ``work``, which needs no privileges, gives (as JSON holds it), done by a child.

    To be called while this process has one thread only.  Raises `KernelError` and
    `ConfinedError`.
    """
    uid, gid = sandbox.find_ids()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _work_confined(uid, gid, writing, work)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if not said:
        how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        raise ConfinedError(f"the process that had it in hand was ended by {how}")
    result = json.loads(said)
    if "failed" in result:
        raise ConfinedError(result["failed"])
    return result["done"]


def _work_confined(uid: int, gid: int, writing: int, work: Callable[[], Any]) -> None:
    try:
        drop_privileges(uid, gid, [writing])
        close_the_door()
        try:
            said = {"done": work()}
        except Exception as error:  # noqa: BLE001 - the boundary of a process: told to the other
            said = {"failed": f"{type(error).__name__}: {error}"}
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(json.dumps(said).encode())
    finally:
        os._exit(1)
