"""Holds the agent to its share of processor and memory, by its own control group."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from kebpf.agent.config import Limits
from kebpf.kernel.hierarchies import Hierarchy, list_hierarchies, list_memberships
from kebpf.kernel.processes import find_descendants

_PERIOD_US = 100_000
_WEIGHT = "10"  # of 100 that others have, where the processors do not suffice for all
_HINT = "set it in the unit instead, with CPUQuota= and MemoryMax="


def apply_limits(
    limits: Limits,
    hierarchies: list[Hierarchy] | None = None,
    memberships: Mapping[int, str] | None = None,
) -> list[str]:
    """Sentences on what could not be applied; nothing is asked for, nothing is done."""
    if limits.cpu is None and limits.memory is None:
        return []
    found = list_hierarchies() if hierarchies is None else hierarchies
    folder = find_own_group(found, memberships)
    if folder is None:
        return [f"limits are not applied: the agent is in no control group of its own; {_HINT}"]
    return list(_write_limits(folder, limits))


def find_own_group(
    hierarchies: list[Hierarchy], memberships: Mapping[int, str] | None = None
) -> Path | None:
    """The version 2 group of this process, if it holds none but this one and what it started."""
    known = list_memberships(os.getpid()) if memberships is None else memberships
    for hierarchy in hierarchies:
        path = known.get(hierarchy.number, "/")
        if hierarchy.number or path == "/":
            continue
        folder = hierarchy.find_folder(path)
        own = {os.getpid(), *find_descendants(os.getpid())}
        try:
            members = {int(word) for word in (folder / "cgroup.procs").read_text().split()}
        except OSError:
            return None
        return folder if members <= own else None
    return None


def _write_limits(folder: Path, limits: Limits) -> Iterator[str]:
    wanted = {}
    if limits.cpu is not None:
        quota = max(1000, int(limits.cpu * _PERIOD_US))
        wanted["cpu.max"] = f"{quota} {_PERIOD_US}"
        wanted["cpu.weight"] = _WEIGHT
    if limits.memory is not None:
        wanted["memory.max"] = str(limits.memory)
        wanted["memory.high"] = str(limits.memory * 9 // 10)
    for name, value in wanted.items():
        try:
            (folder / name).write_text(value)
        except OSError as error:
            yield f"{name} cannot be set in {folder}: {error.strerror}; {_HINT}"
