"""Which processes a target is: by unit, control group, program, port or a container's label."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Protocol

from kebpf.agent.config import TargetConfig
from kebpf.agent.labels import LabelReader, find_container_id
from kebpf.agent.programs import INTERPRETERS, Program, list_executables, read_program
from kebpf.kernel.hierarchies import (
    Group,
    Hierarchy,
    list_below,
    list_hierarchies,
    list_members,
    list_memberships,
    read_group,
)
from kebpf.kernel.listening import ListeningSockets
from kebpf.kernel.processes import list_processes, socket_inodes

_SYSTEMD_HIERARCHY = "name=systemd"
_CONTROL_GROUP = ".control"  # systemd's, for a unit's ExecStartPre, ExecReload and the like
_MOST_KNOWN = 4096
_SEARCH_PAUSE, _TOLD_PAUSE = 1.0, 5.0  # seconds between two walks through all groups


class Selector(Protocol):
    """Tells a target's processes from others."""

    def matches(self, program: Program) -> bool:
        """Whether a process is one of the target's, by what it runs and where."""

    def list(self) -> Iterable[int]:
        """Those there are now, perhaps with others: `matches` decides."""

    def close(self) -> None:
        """It is asked no more, or not in this process."""


def make_selector(target: TargetConfig, are_told: bool = False) -> Selector:
    """What `TargetConfig` says, to be asked again and again.

    With ``are_told`` about each program that begins; then all groups are looked for more rarely.
    """
    pause = _TOLD_PAUSE if are_told else _SEARCH_PAUSE
    if target.kind == "executable":
        return ProgramSelector(target.pattern)
    if target.kind == "listen":
        return PortSelector({int(port) for port in target.pattern.split(", ")})
    if target.kind == "unit":
        return GroupSelector(lambda path: _is_unit(path, target.pattern), pause)
    if target.kind == "cgroup":
        return GroupSelector(lambda path: _is_below(path, target.pattern), pause)
    reader = LabelReader(target.pattern)
    return GroupSelector(lambda path: _has_label(path, reader), pause)


def _is_unit(path: PurePosixPath, name: str) -> bool:
    return any(PurePosixPath(part).match(name) for part in path.parts[1:])


def _is_below(path: PurePosixPath, pattern: str) -> bool:
    return any(str(one) == pattern or one.match(pattern) for one in (path, *path.parents))


def _has_label(path: PurePosixPath, reader: LabelReader) -> bool:
    found = find_container_id(path)
    return found is not None and reader.has_label(found)


class ProgramSelector:
    """By the path of what runs; a pattern's ``*`` is within one folder's name."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._needs_words: dict[str, bool] = {}

    def matches(self, program: Program) -> bool:
        return self._is_link(program.executable) or any(map(self._fits, program.paths()))

    def list(self) -> Iterator[int]:
        """The command line is read of those only that may be named by it."""
        for pid, path in list_executables().items():
            name = path.rpartition("/")[2]
            if self._fits(path) or name.startswith(INTERPRETERS) or self._is_link(path):
                yield pid

    def close(self) -> None:
        """Nothing is held."""

    def _fits(self, path: str) -> bool:
        return path == self._pattern or PurePosixPath(path).match(self._pattern)

    def _is_link(self, path: str) -> bool:
        """Whether the pattern is a link to the file."""
        if len(self._needs_words) > _MOST_KNOWN:
            self._needs_words.clear()
        if path not in self._needs_words:
            self._needs_words[path] = path == os.path.realpath(self._pattern)
        return self._needs_words[path]


class GroupSelector:
    """By the control group; ``fits`` is asked about the path of one, ``pause`` is in seconds."""

    def __init__(
        self,
        fits: Callable[[PurePosixPath], bool],
        pause: float = _SEARCH_PAUSE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fits = fits
        self._pause = pause
        self._clock = clock
        self._hierarchies = [one for one in list_hierarchies() if _is_systemd(one)]
        self._groups: dict[Path, Group] = {}
        self._next_search = 0.0

    def matches(self, program: Program) -> bool:
        memberships = list_memberships(program.pid)
        for hierarchy in self._hierarchies:
            path = memberships.get(hierarchy.number, "/")
            if path != "/" and self._is_wanted(path):
                return True
        return False

    def list(self) -> Iterator[int]:
        for folder in list(self._groups):
            if not folder.is_dir():
                del self._groups[folder]
        if self._clock() >= self._next_search:
            self._search()
            self._next_search = self._clock() + self._pause
        for group in self._groups.values():
            for below in list_below(group):
                yield from list_members(below)

    def close(self) -> None:
        """Nothing is held."""

    def _search(self) -> None:
        """Walks the trees: a folder of a group that is wanted is not looked into any further."""
        for hierarchy in self._hierarchies:
            for name, folders, _ in os.walk(hierarchy.mount):
                path = Path(name)
                inside = "/" + path.relative_to(hierarchy.mount).as_posix().lstrip(".")
                if inside != "/" and self._is_wanted(inside):
                    folders.clear()
                    group = read_group(path, self._hierarchies)
                    if group is not None:
                        self._groups[path] = group

    def _is_wanted(self, path: str) -> bool:
        whole = PurePosixPath(path)
        return _CONTROL_GROUP not in whole.parts and self._fits(whole)


def _is_systemd(hierarchy: Hierarchy) -> bool:
    return not hierarchy.number or _SYSTEMD_HIERARCHY in hierarchy.controllers


class PortSelector:
    """By who listens on one of these ports, in the host's network."""

    def __init__(
        self,
        ports: set[int],
        list_pids: Callable[[], Iterable[int]] = list_processes,
    ) -> None:
        self._ports = ports
        self._list_pids = list_pids
        self._sockets = ListeningSockets()
        self._owners: dict[int, set[int]] = {}  # by inode

    def matches(self, program: Program) -> bool:
        return any(program.pid in owners for owners in self._owners.values())

    def list(self) -> Iterator[int]:
        """All processes are looked through for the owners of a socket that was not there before."""
        inodes = self._list_inodes()
        for inode in self._owners.keys() - inodes:
            del self._owners[inode]
        missing = {inode for inode in inodes if not self._is_known(inode)}
        if missing:
            self._find_owners(missing)
        for owners in self._owners.values():
            yield from owners

    def close(self) -> None:
        self._sockets.close()

    def _list_inodes(self) -> set[int]:
        return {one.inode for one in self._sockets.list() if one.port in self._ports}

    def _is_known(self, inode: int) -> bool:
        owners = self._owners.get(inode, set())
        return any(read_program(pid) is not None for pid in owners)

    def _find_owners(self, inodes: set[int]) -> None:
        for inode in inodes:
            self._owners[inode] = set()
        for pid in self._list_pids():
            with suppress(OSError):
                for inode in inodes & socket_inodes(pid):
                    self._owners[inode].add(pid)
