"""Tells what a process brings along that becomes a target without a target having started it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Protocol

from kebpf.capture.events import (
    HELD_TAIL,
    PROCESS_TAIL,
    Kind,
    ProcessChange,
    make_record,
)
from kebpf.capture.head import HEAD
from kebpf.kernel.processes import listening_ports, read_process, socket_inodes


class Watched(Protocol):
    """What is looked at and told: `kebpf.capture.probes.Probes`."""

    def watched(self) -> list[int]: ...

    def tell_listening(self, listening: Iterable[int]) -> None: ...


class JoinWatch:
    """Looks for targets that are new, and that no target has started.

    Until their sockets are told, those of a process that joined count as older than it.
    """

    def __init__(
        self,
        probes: Watched,
        known: Iterable[int],
        list_sockets: Callable[[int], set[int]] = socket_inodes,
        list_ports: Callable[[int], list[int]] = listening_ports,
        find_parent: Callable[[int], int] = lambda pid: read_process(pid).parent,
    ) -> None:
        self._probes = probes
        self._known = set(known)
        self._list_sockets = list_sockets
        self._list_ports = list_ports
        self._find_parent = find_parent

    def look(self) -> list[bytes]:
        """KEBPF_HELD records for what joined since the last look."""
        watched = set(self._probes.watched())
        records: list[bytes] = []
        for pid in watched - self._known:
            try:
                parent = self._find_parent(pid)
            except ProcessLookupError:
                continue
            if parent not in watched:
                records += self._tell(pid)
        self._known = watched
        return records

    def _tell(self, pid: int) -> list[bytes]:
        ports = self._list_ports(pid)
        self._probes.tell_listening(ports)
        told = [(0, port, 0) for port in ports]
        told += [(inode, 0, 0) for inode in sorted(self._list_sockets(pid))]
        head = HEAD.pack(time.monotonic_ns(), 0, 0, pid, pid, Kind.HELD, 0, 0, 0, 0)
        return [make_record(head + HELD_TAIL.pack(*one)) for one in (*told, (0, 0, 1))]


def make_join(pid: int) -> bytes:
    """The record of KEBPF_JOIN, of a process that is about to be watched from here."""
    head = HEAD.pack(time.monotonic_ns(), 0, 0, pid, pid, Kind.PROCESS, 0, 0, 0, 0)
    return make_record(head + PROCESS_TAIL.pack(pid, ProcessChange.JOIN))
