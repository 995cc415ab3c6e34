"""The processes of one application: who they are, waiting until they are gone, ending them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from kebpf.kernel.members import Network

KILL_ROUNDS = 10  # a program that forks between two rounds is caught in the next
KILL_WAIT_S = 2.0
STAT_SIZE = 4096  # more than proc(5)'s stat ever holds

_BUSY = (b"R", b"D")  # states of a thread, as in proc(5)


class Cgroup(Protocol):
    """The control group (v2) an application is started in."""

    @property
    def path(self) -> Path:
        """Its folder, which holds ``cgroup.procs``."""


Group = Cgroup | Network


class Family:
    """An application's main process and all that came from it.

    With a cgroup or a network that is whoever is in it (nobody leaves them by ``setsid`` or a
    double fork); without one it is the session that the main process leads.
    """

    def __init__(self, leader: int, group: Group | None) -> None:
        self._leader = leader
        self._group = group

    def find_members(self) -> list[int]:
        """The processes that are alive now."""
        if self._group is None:
            return [pid for pid in _list_processes() if _read_session(pid) == self._leader]
        if isinstance(self._group, Network):
            return self._group.find_members()
        return _read_cgroup(self._group.path)

    def is_busy(self) -> bool:
        """Whether one of their threads runs, waits for a processor, or for a disk."""
        return any(state in _BUSY for pid in self.find_members() for state in _thread_states(pid))

    def terminate(self) -> None:
        """Asks all to end (SIGTERM): the leader's process group, and who left it one by one."""
        members = self.find_members()
        if not members:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._leader, signal.SIGTERM)
        for pid in members:
            if _read_session(pid) not in (None, self._leader):
                _signal(pid, signal.SIGTERM)

    async def wait_gone(self, timeout_s: float) -> bool:
        """Waits until all who are members now have ended; false if ``timeout_s`` was not enough."""
        return await wait_gone(self.find_members(), timeout_s)

    async def kill(self) -> list[int]:
        """Ends every member; gives those that even SIGKILL did not end (empty, as a rule)."""
        for _ in range(KILL_ROUNDS):
            members = self.find_members()
            if not members:
                return []
            self._kill_now(members)
            await wait_gone(members, KILL_WAIT_S)
        return self.find_members()

    def _kill_now(self, members: list[int]) -> None:
        group = self._group
        if group is not None and not isinstance(group, Network):
            with (
                contextlib.suppress(OSError),  # cgroup.kill came with Linux 5.14
                (group.path / "cgroup.kill").open("r+", encoding="ascii") as file,
            ):
                file.write("1")
                return
        for pid in members:
            _signal(pid, signal.SIGKILL)


async def wait_gone(pids: Iterable[int], timeout_s: float) -> bool:
    """Waits until every one of ``pids`` has ended; false if that took over ``timeout_s``."""
    try:
        async with asyncio.timeout(timeout_s):
            await asyncio.gather(*(_wait_end(pid) for pid in pids))
    except TimeoutError:
        return False
    return True


async def _wait_end(pid: int) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _read_cgroup(folder: Path) -> list[int]:
    pids: list[int] = []
    for procs in (folder / "cgroup.procs", *folder.glob("**/*/cgroup.procs")):
        with contextlib.suppress(OSError):  # a group that was removed holds nobody
            pids.extend(int(line) for line in procs.read_text(encoding="ascii").split())
    return [pid for pid in pids if _read_session(pid) is not None]


def _list_processes() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdecimal())  # noqa: PTH208


def _thread_states(pid: int) -> Iterator[bytes]:
    """Asked for behind every response, so without the ado of `Path`."""
    tasks = f"/proc/{pid}/task"
    with contextlib.suppress(OSError):  # it ended
        for tid in os.listdir(tasks):  # noqa: PTH208
            with contextlib.suppress(OSError):  # a thread that ended
                yield _read_stat(f"{tasks}/{tid}/stat").rpartition(b")")[2].split(maxsplit=1)[0]


def _read_stat(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, STAT_SIZE)
    finally:
        os.close(descriptor)


def _read_session(pid: int) -> int | None:
    """The session of a process that is alive; zombies wait for their parent only (proc(5))."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    state, _parent, _group, session = stat.rpartition(b")")[2].split()[:4]
    return None if state in (b"Z", b"X") else int(session)
