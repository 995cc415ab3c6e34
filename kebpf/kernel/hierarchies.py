"""Control groups that others made: their hierarchies, ids, processes and what is below them."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from kebpf.kernel.cgroup import MOUNTINFO, unescape_mount
from kebpf.kernel.processes import threads_to_thread_group

MEMBERSHIPS = Path("/proc/self/cgroup")
GROUP_KEY = struct.Struct("=QII")  # struct group of bpf/groups.h
GROUP_PATH_KEY = struct.Struct("=Q504s")  # struct group_path


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """One tree of control groups; version 2 is number 0 and has no ``controllers``.

    A named one of version 1 has its name for a controller (``name=systemd``).  ``root`` is the
    group at the mount point, ``/`` but in some containers.
    """

    mount: Path
    number: int
    controllers: frozenset[str] = frozenset()
    root: str = "/"

    def find_folder(self, path: str) -> Path:
        """The folder of a group by the path the kernel names it by (/proc/PID/cgroup)."""
        inside = os.path.relpath(path, self.root) if self.root != "/" else path.lstrip("/")
        return self.mount / inside


@dataclass(frozen=True)
class Group:
    """A control group: one life of a folder."""

    folder: Path
    hierarchy: Hierarchy
    id: int

    @property
    def path(self) -> str:
        """As the kernel names it within its hierarchy."""
        inside = self.folder.relative_to(self.hierarchy.mount).as_posix()
        return os.path.normpath(f"{self.hierarchy.root}/{inside}").replace("//", "/")

    @cached_property
    def key(self) -> bytes:
        return GROUP_KEY.pack(self.id, self.hierarchy.number, 0)

    @cached_property
    def path_key(self) -> bytes:
        return GROUP_PATH_KEY.pack(self.hierarchy.number, os.fsencode(self.path))


def list_hierarchies(
    mountinfo: Path = MOUNTINFO, memberships: Path = MEMBERSHIPS
) -> list[Hierarchy]:
    """All that are mounted, version 2 first, each once; proc(5), cgroups(7)."""
    numbers = _read_numbers(memberships)
    found: dict[int, Hierarchy] = {}
    for line in mountinfo.read_text(errors="surrogateescape").splitlines():
        fields, _, rest = line.partition(" - ")
        kind, _, options = rest.split(" ", 2)
        if kind not in ("cgroup", "cgroup2"):
            continue
        root, mount = (unescape_mount(field) for field in fields.split(" ")[3:5])
        words = set(options.split(","))
        for number, controllers in numbers.items():
            is_it = controllers <= words if controllers else kind == "cgroup2"
            if is_it and number not in found:
                found[number] = Hierarchy(Path(mount), number, controllers, root)
    return sorted(found.values(), key=lambda one: (one.number != 0, one.number))


def _read_numbers(memberships: Path) -> dict[int, frozenset[str]]:
    """Hierarchies by number, with what tells them apart."""
    numbers = {}
    for line in memberships.read_text(errors="surrogateescape").splitlines():
        number, controllers, _ = line.split(":", 2)
        numbers[int(number)] = frozenset(controllers.split(",")) - {""}
    return numbers


def read_group(folder: Path, hierarchies: list[Hierarchy]) -> Group | None:
    """The group whose folder this is; ``None`` when there is none (any more)."""
    try:
        path = folder.resolve(strict=True)
        number = path.stat().st_ino  # the kernel's id of the group
    except OSError:
        return None
    # the innermost mount: hierarchies may be mounted in one another's folders
    over = [one for one in hierarchies if path.is_relative_to(one.mount)]
    if not over or not (path / "cgroup.procs").exists():
        return None
    return Group(path, max(over, key=lambda one: len(one.mount.parts)), number)


def list_below(group: Group) -> list[Group]:
    """The group itself and all below it, those above first."""
    found = []
    for folder, names, _ in os.walk(group.folder):
        names.sort()
        with contextlib.suppress(OSError):
            found.append(Group(Path(folder), group.hierarchy, Path(folder).stat().st_ino))
    return found


def list_members(group: Group) -> list[int]:
    """The processes in a group, without those in groups below it."""
    try:
        words = (group.folder / "cgroup.procs").read_text().split()
    except OSError:  # gone, or one of threads: those of a process may be in several
        words = []
        with contextlib.suppress(OSError):
            words = (group.folder / "cgroup.threads").read_text().split()
    numbers = dict.fromkeys(threads_to_thread_group(int(word)) for word in words)
    return [number for number in numbers if number]  # 0: of a pid namespace out of sight


def walk_hierarchy(hierarchy: Hierarchy) -> Iterator[Path]:
    """The folders of all groups."""
    for folder, names, _ in os.walk(hierarchy.mount):
        names.sort()
        yield Path(folder)


def list_memberships(pid: int) -> dict[int, str]:
    """The path of a process's group by the hierarchy's number; empty when it is gone."""
    found = {}
    with contextlib.suppress(OSError):
        text = Path("/proc", str(pid), "cgroup").read_text(errors="surrogateescape")
        for line in text.splitlines():
            number, _, path = line.split(":", 2)
            found[int(number)] = path.removesuffix(" (deleted)")
    return found
