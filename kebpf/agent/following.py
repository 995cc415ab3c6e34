"""Follows one target's processes: which are new, what version each is, and which are gone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from kebpf.agent.programs import Program, is_alive, list_ancestors, read_program
from kebpf.agent.selecting import Selector
from kebpf.agent.version import Version, VersionReader
from kebpf.kernel.processes import find_descendants

_WHOLE_LOOK_SECONDS = 30.0
#: A shell that has not started what it is to start is then itself the program, and a process that
#: has no words one without: amid an exec they are not there yet.
_UNDECIDED_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Followed:
    """A process to be watched with its descendants; ``program`` says which version it is."""

    pid: int
    started: int
    version: Version
    program: Program
    seen_ns: int = 0  # CLOCK_MONOTONIC: since when it could have been watched; 0: from before


class Follower:
    """Asks a selector, and /proc; ``is_own`` tells the agent's own processes.

    With ``are_told`` all programs that begin are given to `look`, so that what was once found not
    to be the target's need not be looked at again and again.
    """

    def __init__(
        self,
        selector: Selector,
        versions: VersionReader,
        is_own: Callable[[int], bool],
        clock: Callable[[], float] = time.monotonic,
        are_told: bool = False,
    ) -> None:
        self._selector = selector
        self._versions = versions
        self._is_own = is_own
        self._clock = clock
        self.followed: dict[int, Followed] = {}
        self._undecided: dict[int, tuple[int, float, int]] = {}  # started, until, seen
        self._below: dict[int, int] = {}  # processes of those followed, with when they started
        self._last_look_ns = 0
        self._are_told = are_told
        self._others: set[int] = set()  # processes
        self._next_whole_look = 0.0

    def look(self, pids: Iterable[int] | None = None, seen_ns: int = 0) -> list[Followed]:
        """Processes that are new, or run another version now: of all there are, or of ``pids``.

        Those began a program at ``seen_ns``.
        """
        is_begun, now_ns = pids is not None, time.monotonic_ns()
        found: list[Followed] = []
        candidates = dict.fromkeys(self._selector.list() if pids is None else pids)
        if not is_begun:
            self._drop_others(candidates)
        for pid in [*candidates, *self._undecided]:
            program = read_program(pid)
            self._others.discard(pid)
            if program is None:
                self._undecided.pop(pid, None)
            elif one := self._consider(program, seen_ns, is_begun):
                found.append(one)
        if not is_begun:
            self._last_look_ns = now_ns
        return found

    def _drop_others(self, candidates: dict[int, None]) -> None:
        """Once in a while all are looked at anew: one may have become the target's otherwise."""
        now = self._clock()
        if now >= self._next_whole_look:
            self._next_whole_look = now + _WHOLE_LOOK_SECONDS
            self._others.clear()
        self._others.intersection_update(candidates)
        for pid in self._others:
            del candidates[pid]

    def forget_ended(self) -> list[Followed]:
        """Those that are gone since the last call."""
        gone = [one for one in self.followed.values() if not is_alive(one.pid, one.started)]
        for one in gone:
            del self.followed[one.pid]
        ended = [pid for pid, started in self._below.items() if not is_alive(pid, started)]
        for pid in ended:
            del self._below[pid]
        return gone

    def close(self) -> None:
        """Nobody is looked for any more."""
        self._selector.close()

    @property
    def is_undecided(self) -> bool:
        """Whether a process is to be looked at again soon."""
        return bool(self._undecided)

    def _consider(self, program: Program, seen_ns: int, is_begun: bool) -> Followed | None:
        """``is_begun``: it may run another program than at the last look."""
        known = self.followed.get(program.pid)
        if known is not None and known.started == program.started:
            return self._decide(program, seen_ns) if is_begun else None
        if program.pid in self._undecided:
            return self._decide(program, seen_ns)
        if self._below.get(program.pid) == program.started:
            return self._consider_above(program, seen_ns) if is_begun else None
        if not self._has_wrappers and not self._selector.matches(program):
            if self._are_told:
                self._others.add(program.pid)
            return None
        return self._consider_new(program, seen_ns, is_begun)

    def _consider_new(self, program: Program, seen_ns: int, is_begun: bool) -> Followed | None:
        above = list_ancestors(program.pid)
        if self._is_own(program.pid) or any(pid in self._undecided for pid in above):
            return None  # in the second case it is looked at with that one
        if any(self._is_own(pid) for pid in above):
            return None
        if any(pid in self.followed for pid in above):
            self._below[program.pid] = program.started
            return self._consider_above(program, seen_ns) if is_begun else None
        if not self._selector.matches(program):
            return None
        leader = self._find_leader(program, above)
        if leader is not program:
            self._below[program.pid] = program.started
        return self._decide(leader, seen_ns)

    def _find_leader(self, program: Program, above: list[int]) -> Program:
        """The process furthest above it that is the target's too: it may not have been seen yet."""
        for pid in reversed(above):
            leader = read_program(pid)
            if leader is not None and self._selector.matches(leader):
                return leader
        return program

    @property
    def _has_wrappers(self) -> bool:
        return any(one.program.pid != one.pid for one in self.followed.values())

    def _consider_above(self, program: Program, seen_ns: int) -> Followed | None:
        """What a shell started is the version of what the shell is."""
        for pid in list_ancestors(program.pid):
            known = self.followed.get(pid)
            leader = read_program(pid) if known else None
            if leader is not None and not leader.counts:
                return self._decide(leader, seen_ns)
        return None

    def _decide(self, leader: Program, seen_ns: int) -> Followed | None:
        now = self._clock()
        started, until, first_ns = self._undecided.get(leader.pid, (0, 0.0, 0))
        if started != leader.started:
            began_ns = seen_ns or find_beginning(leader, self._last_look_ns)
            until, first_ns = now + _UNDECIDED_SECONDS, began_ns
        program = find_program(leader)
        if not (program.counts and program.words) and now < until:
            self._undecided[leader.pid] = (leader.started, until, first_ns)
            return None
        self._undecided.pop(leader.pid, None)
        version = self._versions.read(program)
        known = self.followed.get(leader.pid)
        one = Followed(leader.pid, leader.started, version, program, first_ns)
        self.followed[leader.pid] = one
        is_same = known is not None and known.started == one.started and known.version == version
        return None if is_same else one


def find_program(leader: Program) -> Program:
    """What a shell or another wrapper has started, if that is there already; else itself."""
    if leader.counts:
        return leader
    below = [program for pid in find_descendants(leader.pid) if (program := read_program(pid))]
    counting = [program for program in below if program.counts]
    return min(counting, key=lambda one: (one.started, one.pid), default=leader)


def find_beginning(program: Program, looked_ns: int) -> int:
    """Since when a process found at a look could have been found; 0: at the first look.

    On CLOCK_MONOTONIC; it may have become one of the target's long after it was started.
    """
    asleep_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()
    return max(looked_ns, program.started_ns - asleep_ns) if looked_ns else 0
