"""What a process that joins had is told once; what targets start has nothing of its own."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterable

from kebpf.capture.events import Held, decode_run
from kebpf.capture.joining import JoinWatch

HOLDER = """
import os, socket, sys
with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket(socket.AF_UNIX) as sock:
    inodes = [os.fstat(one.fileno()).st_ino for one in (listener, sock)]
    print(listener.getsockname()[1], *inodes, flush=True)
    sys.stdin.read()
"""


class FakeProbes:
    """Who is watched, and which ports were told."""

    def __init__(self, watched: Iterable[int] = ()) -> None:
        self.pids = list(watched)
        self.told: list[int] = []

    def watched(self) -> list[int]:
        return self.pids

    def tell_listening(self, listening: Iterable[int]) -> None:
        self.told += listening


def look(watch: JoinWatch) -> list[tuple[int, int, int, bool]]:
    events = list(decode_run(b"".join(watch.look())))
    assert all(isinstance(event, Held) for event in events)
    return [
        (event.head.pid, event.inode, event.port, event.is_last)
        for event in events
        if isinstance(event, Held)
    ]


def test_a_real_process_is_told_of_once() -> None:
    with subprocess.Popen(
        [sys.executable, "-I", "-c", HOLDER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        port, *inodes = map(int, process.stdout.readline().split())
        probes = FakeProbes()
        watch = JoinWatch(probes, [])
        assert look(watch) == []
        probes.pids = [process.pid]
        pid = process.pid
        assert look(watch) == [
            (pid, 0, port, False),
            *((pid, inode, 0, False) for inode in sorted(inodes)),
            (pid, 0, 0, True),
        ]
        assert probes.told == [port]
        assert look(watch) == []
        socket.create_connection(("127.0.0.1", port)).close()


def test_known_processes_and_what_targets_start_are_not() -> None:
    parents = {1: 0, 2: 1, 3: 9}
    watch = JoinWatch(
        probes := FakeProbes([1]), [1], lambda pid: {70 + pid}, lambda _: [], parents.__getitem__
    )
    assert look(watch) == []
    probes.pids = [1, 2, 3]
    assert look(watch) == [(3, 73, 0, False), (3, 0, 0, True)]
    probes.pids = [1]
    assert look(watch) == []


def test_one_that_is_gone_already() -> None:
    def find_parent(pid: int) -> int:
        raise ProcessLookupError(pid)

    watch = JoinWatch(FakeProbes([5]), [], find_parent=find_parent)
    assert look(watch) == []
