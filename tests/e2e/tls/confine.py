"""Runs a command under a seccomp filter like a container's, made before the kernel it is on.

``confine.py kill|refuse COMMAND…``: system calls whose numbers Linux 6.10 did not have, uretprobe
(335) among them, end the process or give EPERM.  x86-64 only.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from collections.abc import Sequence

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2  # linux/prctl.h, seccomp.h
LOAD, AT_LEAST, GREATER, EQUAL, RETURN = 0x20, 0x35, 0x25, 0x15, 0x06  # of linux/bpf_common.h
NUMBER, ARCHITECTURE = 0, 4  # offsets in struct seccomp_data
X86_64 = 0xC000003E
KILL_PROCESS, REFUSE, ALLOW = 0x80000000, 0x00050000 | errno.EPERM, 0x7FFF0000
LAST_OLD, FIRST_NEW, LAST_NEW = 334, 424, 462  # rseq, pidfd_send_signal, mseal

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, constant


def make_filter(action: int) -> list[Instruction]:
    """An allow list by ranges of numbers."""
    return [
        (LOAD, 0, 0, ARCHITECTURE),
        (EQUAL, 0, 4, X86_64),
        (LOAD, 0, 0, NUMBER),
        (GREATER, 0, 3, LAST_OLD),
        (GREATER, 1, 0, LAST_NEW),
        (AT_LEAST, 1, 0, FIRST_NEW),
        (RETURN, 0, 0, action),
        (RETURN, 0, 0, ALLOW),
    ]


def confine(action: int) -> None:
    """This process from now on, and what it becomes.  Raises ``OSError``."""
    program = b"".join(struct.pack("=HBBI", *one) for one in make_filter(action))
    code = ctypes.create_string_buffer(program, len(program))
    described = struct.pack("=HxxxxxxQ", len(program) // 8, ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "PR_SET_NO_NEW_PRIVS")
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, described):
        raise OSError(ctypes.get_errno(), "PR_SET_SECCOMP")


def main(words: Sequence[str]) -> None:
    """The command line."""
    confine({"kill": KILL_PROCESS, "refuse": REFUSE}[words[0]])
    os.execvp(words[1], list(words[1:]))


if __name__ == "__main__":
    main(sys.argv[1:])
