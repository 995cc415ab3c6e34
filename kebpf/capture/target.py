"""Resolves what a person asked to record into processes, and refuses what cannot be."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from kebpf.kernel.processes import (
    ProcessFacts,
    count_open_connections,
    find_descendants,
    is_running,
    listening_ports,
    read_process,
    socket_inodes,
)


class TargetError(Exception):
    """The process cannot be recorded; one sentence says why and what to do."""


class NoTargetError(TargetError):
    """There is no such process, or none any more."""


@dataclass(slots=True)
class Target:
    """The processes to watch, and what is true of them at the start."""

    facts: ProcessFacts
    leaders: list[int]
    pids: list[int] = field(default_factory=list)
    listening: list[int] = field(default_factory=list)
    sockets: list[int] = field(default_factory=list)  # inodes
    open_connections: int = 0


def check_process(pid: int) -> ProcessFacts:
    """Facts about a process that can be recorded.  Raises `TargetError`."""
    try:
        facts = read_process(pid)
    except ProcessLookupError:
        raise NoTargetError(
            f"there is no process {pid}: find the right one with `pgrep -af NAME` or `ss -tlnp`"
        ) from None
    if facts.has_ended:
        raise NoTargetError(f"process {pid} ({facts.name}) has ended already")
    if facts.is_kernel_thread:
        raise TargetError(
            f"process {pid} ({facts.name}) is a kernel thread: only programs can be recorded"
        )
    if pid == os.getpid() or (pid in _ancestors(os.getpid()) and _is_kebpf(facts)):
        raise TargetError(f"process {pid} is this kebpf itself: give the process id of the service")
    return facts


def _is_kebpf(facts: ProcessFacts) -> bool:
    """sudo and a shell's wrapper around kebpf are kebpf too, the shell itself is not."""
    return any(Path(word).name in ("kebpf", "sudo") for word in facts.command[:3])


def _ancestors(pid: int) -> list[int]:
    found = []
    while pid > 1:
        try:
            pid = read_process(pid).parent
        except ProcessLookupError:
            break
        found.append(pid)
    return found


def threads_to_thread_group(pid: int) -> int:
    """The process a thread id belongs to: what tools print is sometimes a thread's."""
    try:
        text = (Path("/proc") / str(pid) / "status").read_text()
    except OSError:
        return pid
    for line in text.splitlines():
        if line.startswith("Tgid:"):
            return int(line.split()[1])
    return pid


def resolve_target(pids: list[int]) -> Target:
    """The named processes with all descendants.  Raises `TargetError`."""
    leaders = [threads_to_thread_group(pid) for pid in pids]
    facts = [check_process(pid) for pid in leaders]
    target = Target(facts[0], leaders)
    refresh_target(target)
    return target


def refresh_target(target: Target) -> None:
    """Looks again for processes and sockets: some may have come or gone since."""
    pids: list[int] = []
    for leader in target.leaders:
        pids += [pid for pid in (leader, *find_descendants(leader)) if pid not in pids]
    own = os.getpid()
    target.pids = [pid for pid in pids if pid != own and is_running(pid)]
    target.sockets = sorted({inode for pid in target.pids for inode in socket_inodes(pid)})
    target.listening = sorted({port for pid in target.pids for port in listening_ports(pid)})
    target.open_connections = sum(count_open_connections(pid) for pid in target.pids)
