"""Resolves what a person asked to record into processes, and refuses what cannot be."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from kebpf.capture.containers import find_container
from kebpf.capture.errors import NoTargetError, TargetError
from kebpf.capture.naming import name_program
from kebpf.capture.units import complete_name, find_unit
from kebpf.kernel.hierarchies import Group, list_below, list_hierarchies, list_members, read_group
from kebpf.kernel.processes import (
    ProcessFacts,
    count_open_connections,
    find_descendants,
    is_running,
    listening_ports,
    read_process,
    socket_inodes,
    threads_to_thread_group,
)


@dataclass(slots=True)
class Target:
    """The processes to watch, and what is true of them at the start.

    They are ``leaders`` with their descendants, or all that is in the control group ``group``.
    ``title`` is what it is called to a person (empty for processes), ``name`` what a recording of
    it is called, ``origin`` what was asked for if that was neither.  One that ``is_lasting`` is
    recorded on when none of its processes is left.
    """

    facts: ProcessFacts
    leaders: list[int]
    name: str = ""
    title: str = ""
    group: Group | None = None
    is_lasting: bool = False
    pids: list[int] = field(default_factory=list)
    listening: list[int] = field(default_factory=list)
    sockets: list[int] = field(default_factory=list)  # inodes
    open_connections: int = 0
    origin: str = ""

    @property
    def groups(self) -> list[Group]:
        """The control group, if it is one, and those below it now."""
        return [] if self.group is None else list_below(self.group)

    def describe(self) -> str:
        """What was asked for: ``process 4711``, ``unit shop.service``."""
        if self.origin or self.title:
            return self.origin or self.title
        pids = self.leaders or [self.facts.pid]
        return f"process{'es' if len(pids) > 1 else ''} {', '.join(map(str, pids))}"


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


def resolve_target(pids: list[int]) -> Target:
    """The named processes with all descendants.  Raises `TargetError`."""
    leaders = [threads_to_thread_group(pid) for pid in pids]
    facts = [check_process(pid) for pid in leaders]
    target = Target(facts[0], leaders, name_program(facts[0].command, facts[0].name))
    refresh_target(target)
    return target


def resolve_cgroup(path: Path) -> Target:
    """All processes of a control group and of those below it.

    ``path`` is its folder's, or within the version 2 hierarchy.  Raises `TargetError`.
    """
    hierarchies = list_hierarchies()
    within = [one.find_folder(str(path)) for one in hierarchies if not one.number]
    candidates = [path, *within] if path.is_absolute() else within
    for folder in candidates:
        group = read_group(folder, hierarchies)
        if group is not None:
            name = "root" if group.path == "/" else group.folder.name
            return _make_group_target(group, name, f"control group {group.folder}")
    raise NoTargetError(
        f"there is no control group {path}: `cat /proc/PID/cgroup` shows a process's, and "
        "`systemd-cgls` all of them"
    )


def resolve_unit(name: str) -> Target:
    """All processes of a systemd unit, over its restarts too.  Raises `TargetError`."""
    whole = complete_name(name)
    group = find_unit(whole, list_hierarchies())
    target = _make_group_target(group, whole.rpartition(".")[0], f"unit {whole}")
    target.is_lasting = True
    return target


def resolve_container(wanted: str) -> Target:
    """All processes of a container, by its id, an id's beginning, or its name.

    Raises `TargetError`.
    """
    found = find_container(wanted, list_hierarchies())
    return _make_group_target(found.group, found.name, f"container {found.name}")


def _make_group_target(group: Group, name: str, title: str) -> Target:
    pids = _list_group(group)
    if not pids:
        raise NoTargetError(
            f"no process that can be recorded is in {title}: see with "
            f"`cat {group.folder}/cgroup.procs`"
        )
    target = Target(read_process(pids[0]), [], name, title, group)
    refresh_target(target)
    return target


def _list_group(group: Group) -> list[int]:
    """The processes in a control group, without kebpf's own and the kernel's."""
    members = {pid for one in list_below(group) for pid in list_members(one)}
    own = os.getpid()
    if own in members:
        members -= {own, *find_descendants(own)}
    return [pid for pid in sorted(members) if _is_program(pid)]


def _is_program(pid: int) -> bool:
    try:
        facts = read_process(pid)
    except ProcessLookupError:
        return False
    return not (facts.is_kernel_thread or facts.has_ended)


def _list_pids(target: Target) -> list[int]:
    if target.group is not None:
        return _list_group(target.group)
    pids: list[int] = []
    for leader in target.leaders:
        pids += [pid for pid in (leader, *find_descendants(leader)) if pid not in pids]
    own = os.getpid()
    return [pid for pid in pids if pid != own and is_running(pid)]


def refresh_target(target: Target) -> None:
    """Looks again for processes and sockets: some may have come or gone since."""
    target.pids = _list_pids(target)
    target.sockets = sorted({inode for pid in target.pids for inode in socket_inodes(pid)})
    target.listening = sorted({port for pid in target.pids for port in listening_ports(pid)})
    target.open_connections = sum(count_open_connections(pid) for pid in target.pids)
