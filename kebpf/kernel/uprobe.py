"""Attaches programs to functions of running processes (uprobes), held by descriptors alone.

See perf_event_open(2); the probe is on one process's own copy of the page, not on the file, and
goes with the descriptor, however its holder ends.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
import re
import struct
from collections.abc import Sequence
from pathlib import Path

from kebpf.kernel.bpf import libc, link_to_uprobes

_SYSCALL_NUMBERS = {"x86_64": 298, "aarch64": 241}
_TYPE = Path("/sys/bus/event_source/devices/uprobe/type")
# type, size, config (bit 0: at the return), 4 more, flags, 2 more, config1 (path),
# config2 (offset): 72 bytes, version 1
_ATTR = struct.Struct("=IIQ24xQ8xQQ")
_SET_PROGRAM, _ENABLE = 0x40042408, 0x2400  # PERF_EVENT_IOC_SET_BPF, PERF_EVENT_IOC_ENABLE
_CLOSE_ON_EXEC = 8  # PERF_FLAG_FD_CLOEXEC


def attach_uprobe(program: int, path: str, offset: int, pid: int, is_return: bool = False) -> int:
    """Has a program run where process ``pid`` comes to ``offset`` of the file; a descriptor.

    ``pid`` 0 means all processes.

    With ``is_return`` it runs when the function that begins there returns (a uretprobe).
    The offset must be that of an instruction's first byte.  Raises ``OSError``, also where the
    kernel has no such probes (``CONFIG_UPROBE_EVENTS``).
    """
    name = ctypes.create_string_buffer(os.fsencode(path))
    kind = int(_TYPE.read_text())
    attr = _ATTR.pack(kind, _ATTR.size, is_return, 0, ctypes.addressof(name), offset)
    buffer = ctypes.create_string_buffer(attr, len(attr))
    number = _SYSCALL_NUMBERS[platform.machine()]
    descriptor = int(
        libc.syscall(
            number, buffer, pid or -1, -1 if pid else 0, -1, ctypes.c_ulong(_CLOSE_ON_EXEC)
        )
    )
    if descriptor < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    try:
        fcntl.ioctl(descriptor, _SET_PROGRAM, program)
        fcntl.ioctl(descriptor, _ENABLE, 0)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def attach_uprobes(
    program: int, path: str, offsets: Sequence[int], pid: int, is_return: bool, are_linked: bool
) -> list[int]:
    """The same at several places; with ``are_linked`` by one link, which ends much sooner.

    Raises ``OSError``; then none is left.
    """
    if are_linked:
        return [link_to_uprobes(program, path, offsets, pid, is_return)]
    found: list[int] = []
    try:
        for offset in offsets:
            found.append(attach_uprobe(program, path, offset, pid, is_return))
    except OSError:
        for descriptor in found:
            os.close(descriptor)
        raise
    return found


def has_links() -> bool:
    """Whether the kernel links many places at once, each process by itself.

    It does from 6.6 on, but before 6.10 a link to a process saw its first thread only.
    """
    numbers = re.findall(r"\d+", platform.release())
    return tuple(map(int, numbers[:2])) >= (6, 10)
