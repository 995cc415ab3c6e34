"""Tells which processes begin a program, as they do: the kernel's process events; connector.h."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from dataclasses import dataclass

_NETLINK_CONNECTOR = 11
_GROUP = _INDEX = _VALUE = 1  # CN_IDX_PROC, CN_VAL_PROC
_LISTEN = 1  # PROC_CN_MCAST_LISTEN
_EXEC = 0x2  # PROC_EVENT_EXEC
_MESSAGE_DONE = 3  # NLMSG_DONE: what a connector's message is called
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_CONNECTOR = struct.Struct("=IIIIHH")  # struct cn_msg
_EVENT = struct.Struct("=IIQii")  # struct proc_event of an exec: what, cpu, time, pid, tgid
_EVENT_AT = _HEADER.size + _CONNECTOR.size
_ATTACH_FILTER = 26  # SO_ATTACH_FILTER
_INSTRUCTION = struct.Struct("=HBBI")  # struct sock_filter
_LOAD_WORD, _IF_EQUAL, _GIVE = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
_BUFFER_SIZE = 1 << 20
_MOST_EVENTS = 4096  # of one look


@dataclass(frozen=True, slots=True)
class Exec:
    """A process that began another program; ``time_ns`` is of CLOCK_MONOTONIC."""

    pid: int
    time_ns: int


class ExecWatch:
    """Subscribes when it is made.  Raises ``OSError`` where the kernel lacks it.

    That is so outside the host's first network and process namespaces, and without CAP_NET_ADMIN.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK,
            socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK,
            _NETLINK_CONNECTOR,
        )
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_SIZE)
            self._filter()
            self._socket.bind((0, _GROUP))
            self._subscribe()
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """Readable when there is something to `look` at."""
        return self._socket.fileno()

    def look(self) -> tuple[list[Exec], bool]:
        """What came since the last look, and whether that is all: some may have found no room."""
        found: list[Exec] = []
        while len(found) < _MOST_EVENTS:
            try:
                data = self._socket.recv(_BUFFER_SIZE)
            except BlockingIOError:
                return found, True
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                return found, False
            if len(data) >= _EVENT_AT + _EVENT.size:
                what, _, time_ns, _, process = _EVENT.unpack_from(data, _EVENT_AT)
                if what == _EXEC:
                    found.append(Exec(process, time_ns))
        return found, False

    def close(self) -> None:
        """May be called twice."""
        self._socket.close()

    def _filter(self) -> None:
        """Has the kernel drop all but execs: forks and exits are many more."""
        instructions = (
            (_LOAD_WORD, 0, 0, _EVENT_AT),
            (_IF_EQUAL, 0, 1, socket.htonl(_EXEC)),  # words are loaded in network byte order
            (_GIVE, 0, 0, 0xFFFFFFFF),
            (_GIVE, 0, 0, 0),
        )
        code = ctypes.create_string_buffer(
            b"".join(_INSTRUCTION.pack(*instruction) for instruction in instructions)
        )
        program = struct.pack("@HP", len(instructions), ctypes.addressof(code))  # sock_fprog
        self._socket.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, program)

    def _subscribe(self) -> None:
        order = struct.pack("=I", _LISTEN)
        message = _CONNECTOR.pack(_INDEX, _VALUE, 0, 0, len(order), 0) + order
        size = _HEADER.size + len(message)
        head = _HEADER.pack(size, _MESSAGE_DONE, 0, 0, os.getpid())
        self._socket.sendto(head + message, (0, 0))
