"""Attaches programs to functions of running processes (uprobes), held by descriptors alone.

See perf_event_open(2); the probe is on one process's own copy of the page, not on the file, and
goes with the descriptor, however its holder ends.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
import struct
from pathlib import Path

from kebpf.kernel.bpf import libc

_SYSCALL_NUMBERS = {"x86_64": 298, "aarch64": 241}
_TYPE = Path("/sys/bus/event_source/devices/uprobe/type")
# type, size, config, 4 more, flags, 2 more, config1 (path), config2 (offset): 72 bytes, version 1
_ATTR = struct.Struct("=IIQ24xQ8xQQ")
_SET_PROGRAM, _ENABLE = 0x40042408, 0x2400  # PERF_EVENT_IOC_SET_BPF, PERF_EVENT_IOC_ENABLE
_CLOSE_ON_EXEC = 8  # PERF_FLAG_FD_CLOEXEC


def attach_uprobe(program: int, path: str, offset: int, pid: int) -> int:
    """Has a program run where process ``pid`` comes to ``offset`` of the file; a descriptor.

    The offset must be that of an instruction's first byte.  Raises ``OSError``, also where the
    kernel has no such probes (``CONFIG_UPROBE_EVENTS``).
    """
    name = ctypes.create_string_buffer(os.fsencode(path))
    kind = int(_TYPE.read_text())
    attr = _ATTR.pack(kind, _ATTR.size, 0, 0, ctypes.addressof(name), offset)
    buffer = ctypes.create_string_buffer(attr, len(attr))
    number = _SYSCALL_NUMBERS[platform.machine()]
    descriptor = int(libc.syscall(number, buffer, pid, -1, -1, ctypes.c_ulong(_CLOSE_ON_EXEC)))
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
