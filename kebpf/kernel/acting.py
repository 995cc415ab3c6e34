"""Does one thing as another user, in a thread of its own: the other threads stay who they are."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

_UNCHANGED = -1
#: The numbers of setresuid and setresgid; the C library's functions change all threads.
_CALLS = {"x86_64": (117, 119), "aarch64": (147, 149)}


def act_as(uid: int, gid: int, function: Callable[[], T]) -> T:
    """The result of ``function``, called with these as effective ids.

    Raises ``OSError`` where that is not allowed, and what the function raises.
    """
    with ThreadPoolExecutor(1) as pool:  # the thread ends with it, and nothing is to be restored
        return pool.submit(_change_and_call, uid, gid, function).result()


def _change_and_call(uid: int, gid: int, function: Callable[[], T]) -> T:
    set_user, set_group = _CALLS[platform.machine()]
    _call(set_group, gid)
    _call(set_user, uid)
    return function()


def _call(number: int, effective: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.syscall(number, _UNCHANGED, effective, _UNCHANGED) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
