"""The filter through which a confined process calls the kernel; seccomp(2), classic BPF.

What is not in the lists of `kebpf.kernel.syscalls` is refused with EPERM, as a kernel without it
would do; no memory becomes code any more, and no process is made.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import socket
import struct
from collections.abc import Iterable

from kebpf.kernel.syscalls import ALLOWED, JUDGED, KILLED

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, constant

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # linux/audit.h
_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_AT_LEAST = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_HAS_BITS = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K
_KILL, _REFUSE, _ALLOW = 0x80000000, 0x00050000 | errno.EPERM, 0x7FFF0000
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16  # struct seccomp_data
_X32 = 0x40000000  # calls of another ABI on x86_64
_PROT_EXEC = 4
_TCGETS = 0x5401
_SET_NO_NEW_PRIVS, _SET_SECCOMP, _MODE_FILTER = 38, 22, 2  # prctl(2)


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("size", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def make_filter(machine: str, pid: int) -> list[Instruction]:
    """The program for a process of that id; ``machine`` as `platform.machine` says it.

    Raises ``KeyError`` for a machine that is not known.
    """
    column = list(_ARCHITECTURES).index(machine) if machine in _ARCHITECTURES else -1
    program: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_EQUAL, 1, 0, _ARCHITECTURES[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
    ]
    if machine == "x86_64":
        program += [(_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, _KILL)]
    for numbers in ALLOWED.values():
        program += _answer(numbers[column], [(_RETURN, 0, 0, _ALLOW)])
    for name, numbers in JUDGED.items():
        program += _answer(numbers[column], _judge(name, pid))
    for numbers in KILLED.values():
        program += _answer(numbers[column], [(_RETURN, 0, 0, _KILL)])
    return [*program, (_RETURN, 0, 0, _REFUSE)]


def _answer(number: int | None, then: list[Instruction]) -> list[Instruction]:
    return [] if number is None else [(_EQUAL, 0, len(then), number), *then]


def _judge(name: str, pid: int) -> list[Instruction]:
    """By the low 32 bits of one argument: a value that fits, or bits that must not be set."""
    if name in ("mmap", "mprotect", "pkey_mprotect"):  # nothing new is run
        return [_load(2), (_HAS_BITS, 0, 1, _PROT_EXEC), *_ends(_REFUSE, _ALLOW)]
    if name == "ioctl":  # "is it a terminal?" for each file that is opened
        return [_load(1), (_EQUAL, 0, 1, _TCGETS), *_ends(_ALLOW, _REFUSE)]
    if name == "tgkill":  # abort(3)
        return [_load(0), (_EQUAL, 0, 1, pid), *_ends(_ALLOW, _REFUSE)]
    if name == "prlimit64":  # of itself
        return [_load(0), (_EQUAL, 0, 1, 0), *_ends(_ALLOW, _REFUSE)]
    return [_load(0), (_EQUAL, 0, 1, socket.AF_UNIX), *_ends(_REFUSE, _KILL)]  # socket


def _load(argument: int) -> Instruction:
    return (_LOAD, 0, 0, _ARGUMENTS_AT + 8 * argument)


def _ends(if_true: int, if_false: int) -> Iterable[Instruction]:
    return (_RETURN, 0, 0, if_true), (_RETURN, 0, 0, if_false)


def install_filter() -> None:
    """For this process, its only thread, and for good.  Raises ``OSError``."""
    program = make_filter(platform.machine(), os.getpid())
    code = b"".join(struct.pack("=HBBI", *one) for one in program)
    buffer = ctypes.create_string_buffer(code)
    head = _Program(len(program), ctypes.addressof(buffer))
    call_prctl(_SET_NO_NEW_PRIVS, 1)
    call_prctl(_SET_SECCOMP, _MODE_FILTER, ctypes.addressof(head))


def call_prctl(operation: int, *arguments: int) -> None:
    """prctl(2).  Raises ``OSError``."""
    libc = ctypes.CDLL(None, use_errno=True)
    words = [ctypes.c_ulong(one) for one in (*arguments, 0, 0, 0, 0)[:4]]
    if libc.prctl(operation, *words) < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
