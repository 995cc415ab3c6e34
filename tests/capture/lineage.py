"""Ways in which a process of a target comes to be; each ends in one that says its name to a port.

Run as ``lineage.py NAME PORT [FOLDER]``; it waits for a line on standard input before it begins.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
from collections.abc import Callable

SEND = (
    "import socket, sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[1])));"
    "s.sendall(sys.argv[2].encode()); s.shutdown(1); s.recv(1); print('{}', flush=True)"
)
CLONE_INTO_CGROUP = 0x200000000  # clone(2)
NR_CLONE3 = 435


def make_command() -> list[str]:
    return [sys.executable, "-I", "-c", SEND, sys.argv[2], sys.argv[1]]


def execute() -> None:
    os.execv(sys.executable, make_command())


def in_thread(work: Callable[[], None]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def spawn() -> None:
    """CPython uses vfork here."""
    subprocess.run(make_command(), check=True)


def posix_spawn() -> None:
    os.waitpid(os.posix_spawn(sys.executable, make_command(), os.environ), 0)


def daemonise() -> None:
    """The one that does the work has no parent left, and a session of its own."""
    here, there = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            while os.getppid() == os.getpgrp():
                pass  # the process between ends at once
            os.set_inheritable(there, True)
            execute()
        os._exit(0)
    os.wait()
    os.close(there)
    os.read(here, 1)


def clone_into_group() -> None:
    """A process in another group from its first moment on."""
    folder = os.open(sys.argv[3], os.O_RDONLY)
    arguments = (ctypes.c_uint64 * 11)()
    arguments[0], arguments[4], arguments[10] = CLONE_INTO_CGROUP, 17, folder  # 17: SIGCHLD
    child = ctypes.CDLL(None, use_errno=True).syscall(
        NR_CLONE3, arguments, ctypes.c_size_t(ctypes.sizeof(arguments))
    )
    if child < 0:
        raise OSError(ctypes.get_errno(), "clone3")
    if child == 0:
        execute()
    os.waitpid(child, 0)


WAYS = {
    "exec": execute,
    "thread_exec": lambda: in_thread(execute),
    "spawn": spawn,
    "posix_spawn": posix_spawn,
    "thread_spawn": lambda: in_thread(spawn),
    "daemon": daemonise,
    "into_group": clone_into_group,
}

if __name__ == "__main__":
    sys.stdout.write(f"{os.getpid()}\n")
    sys.stdout.flush()
    sys.stdin.readline()
    WAYS[sys.argv[1]]()
    sys.stdout.write("{}\n")
