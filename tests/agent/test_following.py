"""Which processes are followed, and as which version, against real processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from kebpf.agent.following import Follower, find_beginning, find_program
from kebpf.agent.programs import Program, read_program
from kebpf.agent.version import VersionReader
from tests.agent.builders import WAITING, make_program, running


class Chosen:
    """Selects the processes that a test names."""

    def __init__(self, *pids: int) -> None:
        self.pids = set(pids)

    def matches(self, program: Program) -> bool:
        return program.pid in self.pids

    def list(self) -> Iterable[int]:
        return [*self.pids, 0]

    def close(self) -> None:
        pass


def make_follower(chosen: Chosen, own: Iterable[int] = ()) -> Follower:
    return Follower(chosen, VersionReader(), lambda pid: pid in set(own))


def test_a_process_is_found_once_and_gone_once() -> None:
    with running(sys.executable, "-c", WAITING) as program:
        follower = make_follower(Chosen(program.pid))
        [one] = follower.look()
        assert (one.pid, one.started, one.program) == (program.pid, program.started, program)
        assert one.seen_ns == 0  # it was there before the first look
        assert follower.look() == []
        assert follower.forget_ended() == []
    assert follower.forget_ended() == [one]
    assert (follower.look(), follower.followed) == ([], {})


def test_what_is_not_the_targets_is_looked_at_again_when_it_begins_another_program() -> None:
    asked: list[int] = []

    class Counting(Chosen):
        def matches(self, program: Program) -> bool:
            asked.append(program.pid)
            return super().matches(program)

        def list(self) -> Iterable[int]:
            return [other.pid]

    with running(sys.executable, "-c", WAITING) as other:
        chosen = Counting()
        follower = Follower(chosen, VersionReader(), lambda _: False, are_told=True)
        assert [follower.look() for _ in range(3)] == [[]] * 3
        assert asked == [other.pid]
        chosen.pids.add(other.pid)
        assert follower.look() == []
        [one] = follower.look([other.pid])
        assert one.pid == other.pid


def test_a_new_program_is_known_by_when_it_began() -> None:
    chosen = Chosen()
    follower = make_follower(chosen)
    assert follower.look() == []
    before = time.monotonic_ns()
    with running(sys.executable, "-c", WAITING) as program:
        chosen.pids.add(program.pid)
        [by_look] = follower.look()
        assert before <= by_look.seen_ns + 10_000_000 <= time.monotonic_ns() + 10_000_000
        [by_event] = make_follower(chosen).look([program.pid], 4711)
        assert by_event.seen_ns == 4711


def test_children_are_not_followed_by_themselves() -> None:
    script = (
        "import subprocess, sys\n"
        f"p = subprocess.Popen([sys.executable, '-c', {WAITING!r}], stdin=subprocess.PIPE)\n"
        "input()"
    )
    with running(sys.executable, "-c", script) as program:
        [child] = [int(word) for word in read_children(program.pid)]
        for first in (None, [child], [program.pid]):
            follower = make_follower(Chosen(program.pid, child))
            assert [one.pid for one in follower.look(first)] == [program.pid]
            assert follower.look() == follower.look([child]) == []


def read_children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_neither_the_agents_own_nor_those_below_them() -> None:
    with running(sys.executable, "-c", WAITING) as program:
        chosen = Chosen(program.pid)
        assert make_follower(chosen, own=[program.pid]).look() == []
        assert make_follower(chosen, own=[os.getpid()]).look() == []


def test_a_shell_is_what_it_starts() -> None:
    """Undecided until then, and followed as the shell with all that it starts."""
    with running(
        "/bin/sh", "-c", f'echo ready; read line; "{sys.executable}" -c "{WAITING}"'
    ) as shell:
        follower = make_follower(Chosen(shell.pid))
        assert follower.look() == []
        assert follower.is_undecided
        write_line(shell.pid)
        child = await_child(shell.pid)
        found = follower.look([child.pid], 5)
        found += [] if found else follower.look()
        assert [(one.pid, one.program.pid) for one in found] == [(shell.pid, child.pid)]
        assert not follower.is_undecided


def write_line(pid: int) -> None:
    """To the standard input of a process."""
    with open(f"/proc/{pid}/fd/0", "w") as file:  # noqa: PTH123 - a pipe
        file.write("\n")


def await_child(pid: int) -> Program:
    while True:
        for word in read_children(pid):
            program = read_program(int(word))
            if program is not None and program.counts:
                return program


def test_a_shell_that_starts_nothing_is_a_program_after_a_second() -> None:
    now = 100.0
    with running("/bin/sh", "-c", "echo ready; read line; true") as shell:
        follower = Follower(Chosen(shell.pid), VersionReader(), lambda _: False, clock=lambda: now)
        assert follower.look() == []
        now += 1.1
        [one] = follower.look()
        assert one.program.pid == shell.pid


def test_another_program_in_the_same_process_is_another_version() -> None:
    again = f"import os; os.execv({sys.executable!r}, ['python', '-c', 'input()'])"
    with running(sys.executable, "-c", f"{WAITING}; {again}") as program:
        follower = make_follower(Chosen(program.pid))
        [first] = follower.look()
        write_line(program.pid)
        while (now := read_program(program.pid)) is not None and now.words in ((), program.words):
            pass
        [second] = follower.look([program.pid], 7)
        assert second.pid == first.pid
        assert second.version != first.version
        assert follower.look([program.pid], 8) == []


def test_find_program_takes_the_oldest_that_counts() -> None:
    leader = make_program(executable="/usr/sbin/nginx")
    assert find_program(leader) is leader
    with subprocess.Popen(
        ["/bin/sh", "-c", "sleep 100 & echo ready; wait"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        shell = read_program(process.pid)
        assert shell is not None
        assert find_program(shell) is shell  # a sleep is nobody's service
        for word in read_children(process.pid):
            os.kill(int(word), 9)


def test_when_a_process_began_is_not_before_the_last_look() -> None:
    program = read_program(os.getpid())
    assert program is not None
    assert find_beginning(program, 0) == 0
    now = time.monotonic_ns()
    assert find_beginning(program, now) == now
    assert 1 < find_beginning(program, 1) <= now
