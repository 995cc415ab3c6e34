"""Follows the asyncio tasks of Python targets: finds where they are, has the probe put there."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from kebpf.capture.interpreter import TaskCode, find_running, find_task_code, find_version
from kebpf.capture.memory import Mapping, Memory, path_of, read_mappings

MOST_PROCESSES = 256  # each takes a descriptor
_SHORTEST_PAUSE, _LONGEST_PAUSE, _FOREIGN_PAUSE = 0.25, 10.0, 60.0  # seconds
_STARTING = 15.0  # seconds in which a program is held to be starting, and looked at often
_LOADING = 3.0  # of these, in which it loads its modules: requests may come just behind
_LOADING_PAUSE = 0.05  # a look takes less than a millisecond


class TaskProbes(Protocol):
    """What is told: `kebpf.capture.probes.Probes`."""

    def watched(self) -> list[int]: ...

    def watch_tasks(self, pid: int, path: str, offset: int, entries: int) -> int: ...

    def read_task_type(self, pid: int) -> int | None: ...

    def tell_running(self, pid: int, entries: int, running: int) -> None: ...


@dataclass(slots=True)
class _Followed:
    """What is known of one process; ``link`` holds its probe."""

    next_look: float = 0.0
    pause: float = _SHORTEST_PAUSE
    since: float = 0.0  # it is known
    code: TaskCode | None = None
    link: int = -1
    is_complete: bool = False


class TaskWatch:
    """Looks at each process when it becomes a target, and again, at growing intervals.

    For a module may be imported late, and another program take the process over.  It only reads;
    what fails leaves the process without this evidence and is tried again.
    """

    def __init__(self, probes: TaskProbes, clock: Callable[[], float] = time.monotonic) -> None:
        self._probes = probes
        self._clock = clock
        self._followed: dict[int, _Followed] = {}
        self._known: set[int] = set()
        self._without: set[tuple[str, int]] = set()  # files

    @property
    def processes(self) -> int:
        """How many processes were followed so far."""
        return len(self._known)

    def look(self) -> None:
        """To be called often: it looks at those processes whose time has come."""
        now = self._clock()
        watched = self._probes.watched()
        for pid in self._followed.keys() - set(watched):
            _close(self._followed.pop(pid))
        for pid in watched:
            one = self._followed.get(pid)
            if one is None:
                if len(self._followed) >= MOST_PROCESSES:
                    continue
                one = self._followed[pid] = _Followed(since=now)
            if now >= one.next_look:
                is_starting = now < one.since + _STARTING and not one.is_complete
                one.pause = _SHORTEST_PAUSE if is_starting else min(2 * one.pause, _LONGEST_PAUSE)
                with contextlib.suppress(OSError):  # it ends, or may not be looked into
                    self._look_at(pid, one)
                is_loading = now < one.since + _LOADING and not one.is_complete
                one.next_look = now + (_LOADING_PAUSE if is_loading else one.pause)

    def close(self) -> None:
        """Takes all probes away."""
        for one in self._followed.values():
            _close(one)
        self._followed.clear()

    def _look_at(self, pid: int, one: _Followed) -> None:
        task_type = self._probes.read_task_type(pid) if one.code else 0
        if one.code is not None and not one.is_complete and task_type == 0 and one.code.awaits_type:
            one.pause = _SHORTEST_PAUSE  # a request may make the first task any time
            return
        mappings = read_mappings(pid)
        if one.code is not None and (task_type is None or one.code.mapping not in mappings):
            _close(one)  # another program runs there
            one.code, one.is_complete, one.pause = None, False, _SHORTEST_PAUSE
        if one.is_complete:
            return
        memory = Memory(pid)
        try:
            self._complete(pid, one, memory, mappings, task_type or 0)
        finally:
            memory.close()

    def _complete(
        self, pid: int, one: _Followed, memory: Memory, mappings: list[Mapping], task_type: int
    ) -> None:
        if one.code is None:
            code = find_task_code(memory, mappings, self._without)
            if code is None:
                if not any(find_version(mapping.path) for mapping in mappings):
                    one.pause = min(2 * one.pause, _FOREIGN_PAUSE)
                return
            one.link = self._probes.watch_tasks(
                pid, path_of(pid, code.mapping), code.offset, code.entries
            )
            one.code, one.pause = code, _SHORTEST_PAUSE
        running = find_running(memory, one.code, task_type)
        if running:
            self._probes.tell_running(pid, one.code.entries, running)
            one.is_complete, one.pause = True, _LONGEST_PAUSE
            self._known.add(pid)


def _close(one: _Followed) -> None:
    if one.link >= 0:
        os.close(one.link)
        one.link = -1
