"""Moves the monotonic clock of processes started from here: a time namespace of their own.

See time_namespaces(7).  Linux 5.6 and newer have them; making one takes root's rights in the user
namespace.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kebpf.kernel.bpf import libc
from kebpf.kernel.errors import KernelError

_CLONE_NEWTIME = 0x80
_OFFSETS = Path("/proc/self/timens_offsets")
_SECOND_NS = 1_000_000_000


@contextmanager
def shifted_monotonic(target_ns: int) -> Iterator[None]:
    """For processes started within, CLOCK_MONOTONIC and CLOCK_BOOTTIME say ``target_ns`` now.

    They go on from there at their usual pace.  This process keeps its clocks, and what it starts
    afterwards gets them too.  To be used in the main thread.  Raises `KernelError`.
    """
    monotonic = target_ns - time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    boot = target_ns - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    _make_namespace(monotonic, boot)
    try:
        yield
    finally:
        _make_namespace(0, 0)


def _make_namespace(monotonic_ns: int, boot_ns: int) -> None:
    """The one that children are born into; its offsets are to the host's clocks."""
    if libc.unshare(ctypes.c_int(_CLONE_NEWTIME)) < 0:
        raise _refuse(ctypes.get_errno())
    text = f"monotonic {_split(monotonic_ns)}\nboottime {_split(boot_ns)}\n"
    try:
        _OFFSETS.write_text(text, encoding="ascii")
    except OSError as error:
        raise _refuse(error.errno or 0) from error


def _split(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, _SECOND_NS)
    return f"{seconds} {rest}"


def _refuse(number: int) -> KernelError:
    return KernelError(
        f"a time namespace, which --clock recorded needs, cannot be made: {os.strerror(number)}",
        "it takes Linux 5.6 or newer and root's rights; --clock real works without",
    )
