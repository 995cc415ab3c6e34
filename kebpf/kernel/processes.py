"""Facts about processes from /proc: who they are, their descendants, where they listen."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
_LISTEN_STATE = "0A"
_ESTABLISHED_STATE = "01"
_ENDED_STATES = ("Z", "X")
_KTHREAD = 0x00200000  # PF_KTHREAD, include/linux/sched.h


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """What a recording says of its target."""

    pid: int
    parent: int
    name: str
    command: list[str]
    executable: str
    is_kernel_thread: bool
    has_ended: bool = False  # a zombie: its parent has not asked for its status yet


def _stat_fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on (field 3); proc(5)."""
    text = (PROC / str(pid) / "stat").read_text()
    return text[text.rindex(")") + 2 :].split()


def read_process(pid: int) -> ProcessFacts:
    """Facts about one process.  Raises ``ProcessLookupError`` when it is gone."""
    folder = PROC / str(pid)
    try:
        fields = _stat_fields(pid)
        name = (folder / "comm").read_text().strip()
        command = (folder / "cmdline").read_bytes().split(b"\0")[:-1]
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessLookupError(pid) from None
    executable = ""
    with contextlib.suppress(OSError):
        executable = str((folder / "exe").readlink())
    words = [word.decode("utf-8", "surrogateescape") for word in command]
    is_kernel = bool(int(fields[6]) & _KTHREAD)
    has_ended = fields[0] in _ENDED_STATES
    return ProcessFacts(pid, int(fields[1]), name, words, executable, is_kernel, has_ended)


def is_running(pid: int) -> bool:
    """Whether there is such a process and it has not ended."""
    try:
        return _stat_fields(pid)[0] not in _ENDED_STATES
    except OSError:
        return False


def threads_to_thread_group(pid: int) -> int:
    """The process a thread id belongs to: what tools print is sometimes a thread's."""
    try:
        text = (PROC / str(pid) / "status").read_text()
    except OSError:
        return pid
    for line in text.splitlines():
        if line.startswith("Tgid:"):
            return int(line.split()[1])
    return pid


def list_processes() -> list[int]:
    """The processes there are."""
    return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]


def find_descendants(pid: int) -> list[int]:
    """Children, their children and so on, without ``pid`` itself."""
    children: dict[int, list[int]] = {}
    for other in list_processes():
        with contextlib.suppress(OSError):
            children.setdefault(int(_stat_fields(other)[1]), []).append(other)
    found: list[int] = []
    queue = [pid]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def socket_inodes(pid: int) -> set[int]:
    """Inodes of the sockets a process holds; empty when it is gone."""
    try:
        return _read_inodes(PROC / str(pid) / "fd")
    except OSError:
        return set()


class HiddenSocketsError(Exception):
    """A process runs, and may not be looked into."""


def list_held_sockets(pid: int) -> set[int]:
    """Inodes of the sockets a process holds, also one whose first thread has ended.

    Raises ``ProcessLookupError`` when it is gone and `HiddenSocketsError`.
    """
    folder = PROC / str(pid)
    try:
        has_ended = _stat_fields(pid)[0] in _ENDED_STATES
        owners = list((folder / "task").iterdir()) if has_ended else [folder]
        return {inode for owner in owners for inode in _read_inodes(owner / "fd")}
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessLookupError(pid) from None
    except OSError:
        raise HiddenSocketsError(pid) from None


def _read_inodes(folder: Path) -> set[int]:
    inodes = set()
    with os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                target = os.readlink(entry.path)  # noqa: PTH115 - a Path takes thrice as long
                if target.startswith("socket:["):
                    inodes.add(int(target[8:-1]))
    return inodes


def _tcp_lines(pid: int) -> list[list[str]]:
    """Lines of /proc/PID/net/tcp and tcp6: the process's own network namespace; proc(5)."""
    lines: list[list[str]] = []
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            text = (PROC / str(pid) / "net" / name).read_text()
            lines += [line.split() for line in text.splitlines()[1:]]
    return lines


def listening_ports(pid: int) -> list[int]:
    """TCP ports on which sockets of the process listen, ascending."""
    inodes = socket_inodes(pid)
    ports = {
        int(line[1].rpartition(":")[2], 16)
        for line in _tcp_lines(pid)
        if line[3] == _LISTEN_STATE and int(line[9]) in inodes
    }
    return sorted(ports)


def count_open_connections(pid: int) -> int:
    """Established TCP connections the process holds."""
    inodes = socket_inodes(pid)
    return sum(
        1 for line in _tcp_lines(pid) if line[3] == _ESTABLISHED_STATE and int(line[9]) in inodes
    )
