"""Facts about real processes, against what ss(8) and the processes themselves say."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from kebpf.kernel.processes import (
    count_open_connections,
    find_descendants,
    is_running,
    list_held_sockets,
    list_processes,
    listening_ports,
    read_process,
    socket_inodes,
)

HOLD = "import sys; print('up', flush=True); sys.stdin.read()"


@contextmanager
def hold(code: str = HOLD) -> Iterator[subprocess.Popen[str]]:
    """A Python process that runs until its standard input ends."""
    with subprocess.Popen(
        [sys.executable, "-I", "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_facts() -> None:
    with hold() as process:
        assert read_line(process) == "up"  # the kernel shows its command a moment after the exec
        facts = read_process(process.pid)
        assert facts.pid == process.pid
        assert facts.parent == os.getpid()
        assert facts.command == [sys.executable, "-I", "-c", HOLD]
        assert facts.executable == os.path.realpath(sys.executable)
        assert not facts.is_kernel_thread
        assert not facts.has_ended
        assert is_running(process.pid)
        assert process.pid in list_processes()


def test_a_name_may_look_like_the_rest_of_the_line() -> None:
    code = (
        "import ctypes, sys; ctypes.CDLL(None).prctl(15, b') Z 1 2 3', 0, 0, 0);"
        "print('named', flush=True); sys.stdin.read()"
    )
    with hold(code) as process:
        read_line(process)
        facts = read_process(process.pid)
        assert facts.name == ") Z 1 2 3"
        assert facts.parent == os.getpid()
        assert is_running(process.pid)


def test_gone_and_ended() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert read_process(child).has_ended
    assert not is_running(child)
    os.waitpid(child, 0)
    with pytest.raises(ProcessLookupError):
        read_process(child)
    assert not is_running(child)
    assert socket_inodes(child) == set()
    assert listening_ports(child) == []


def test_kernel_threads() -> None:
    """ps(1) shows a kernel thread's name in brackets, having no command line to show."""
    text = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True).stdout
    rows = [line.split(None, 2) for line in text.splitlines()]
    threads = [int(row[0]) for row in rows if int(row[1]) in (0, 2) and row[2].startswith("[")]
    known = [pid for pid in threads if is_running(pid)]
    assert known, "every Linux host has kernel threads"
    assert all(read_process(pid).is_kernel_thread for pid in known)


def test_descendants() -> None:
    code = (
        "import subprocess, sys;"
        "child = subprocess.Popen([sys.executable, '-c', "
        '\'import subprocess, sys; p = subprocess.Popen(["sleep", "60"]);'
        "print(p.pid, flush=True); sys.stdin.read(); p.kill()'], stdin=sys.stdin);"
        "print(child.pid, flush=True); child.wait()"
    )
    with hold(code) as process:
        below = {int(read_line(process)), int(read_line(process))}
        assert set(find_descendants(process.pid)) == below
        assert below | {process.pid} <= set(find_descendants(os.getpid()))


def list_listening_by_ss(pid: int) -> set[int]:
    text = subprocess.run(["ss", "-Htlnp"], capture_output=True, text=True, check=True).stdout
    lines = [line for line in text.splitlines() if f"pid={pid}," in line]
    return {int(re.split(r"\s+", line)[3].rpartition(":")[2]) for line in lines}


def test_listening_ports_and_open_connections() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as four,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as six,
    ):
        ports = {four.getsockname()[1], six.getsockname()[1]}
        assert ports <= set(listening_ports(os.getpid()))
        assert set(listening_ports(os.getpid())) == list_listening_by_ss(os.getpid())
        before = count_open_connections(os.getpid())
        with socket.create_connection(four.getsockname()[:2]) as client:
            with four.accept()[0]:
                assert count_open_connections(os.getpid()) == before + 2
            inode = os.fstat(client.fileno()).st_ino
            assert inode in socket_inodes(os.getpid())


def test_ports_of_others_are_not_its_own() -> None:
    with socket.create_server(("127.0.0.1", 0)), hold() as process:
        assert listening_ports(process.pid) == []
        assert count_open_connections(process.pid) == 0


def test_held_sockets_of_a_process_whose_first_thread_has_ended() -> None:
    """Its own folder shows no descriptors then."""
    code = (
        "import ctypes, os, socket, sys, threading\n"
        "sock = socket.socket()\n"
        "def wait():\n"
        "    while open('/proc/self/stat').read().rpartition(')')[2].split()[0] != 'Z': pass\n"
        "    os.write(1, b'%d\\n' % os.fstat(sock.fileno()).st_ino)\n"
        "    os.read(0, 1)\n"
        "    os._exit(0)\n"
        "threading.Thread(target=wait).start()\n"
        "ctypes.CDLL(None).pthread_exit(None)\n"
    )
    with hold(code) as process:
        inode = int(read_line(process))
        assert socket_inodes(process.pid) == set()
        assert list_held_sockets(process.pid) == {inode}
    with pytest.raises(ProcessLookupError):
        list_held_sockets(process.pid)
