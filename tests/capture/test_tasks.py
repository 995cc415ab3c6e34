"""Which task sends what: real probes on real interpreters, and when a process is looked at."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kebpf.capture.events import Data, Direction, Event, Task, decode_run
from kebpf.capture.probes import Door, Probes
from kebpf.capture.tasks import TaskWatch
from tests.capture.doors import DOORS, needs_door_a
from tests.capture.interpreters import INTERPRETERS, Running, running

# Each line has requests served at once, in tasks; what is sent tells what ran. After "done" all
# is sent.
PROGRAM = """
import asyncio, socket, sys, threading
own, other = socket.socketpair()

async def child(name):
    own.send(b"child of " + name)

async def serve(name):
    own.send(b"one " + name)
    await asyncio.sleep(0.001)
    await asyncio.gather(child(name), child(name))
    await asyncio.get_running_loop().run_in_executor(None, own.send, b"thread " + name)
    own.send(b"two " + name)

async def main():
    loop = asyncio.get_running_loop()
    print("up", flush=True)
    while True:
        line = await loop.run_in_executor(None, sys.stdin.readline)
        names = line.encode().split()
        tasks = [loop.create_task(serve(name)) for name in names]
        loop.call_soon(own.send, b"callback")
        await asyncio.wait(tasks)
        print("done", flush=True)

asyncio.get_event_loop_policy().new_event_loop().run_until_complete(main())
"""


OWN = next(iter(INTERPRETERS))
CASES = [
    *(
        pytest.param(name, Door.A, marks=needs_door_a)
        for name in INTERPRETERS
        if not name.startswith("3.14")
    ),
    (OWN, Door.B),
]


@pytest.fixture(scope="module")
def probes(request: pytest.FixtureRequest) -> Iterator[Probes]:
    made = Probes(request.param, with_tasks=True)
    try:
        made.attach()
        yield made
    finally:
        made.close()


def follow(probes: Probes, program: Running) -> TaskWatch:
    """Watches a program until its tasks are known."""
    now = 0.0
    watch = TaskWatch(probes, lambda: now)
    probes.watch([program.pid])
    for _ in range(5):
        watch.look()
        if watch.processes:
            break
        assert program.ask("early") == "done"
        now += 1
    return watch


def read_events(probes: Probes) -> list[Event]:
    return list(decode_run(probes.ring.drain(1 << 20)))


def sent(events: list[Event]) -> dict[str, set[int]]:
    """What was sent, and by which tasks."""
    found: dict[str, set[int]] = {}
    for event in events:
        if isinstance(event, Data) and event.head.direction == Direction.EGRESS:
            found.setdefault(event.data.decode(), set()).add(event.task)
    return found


@pytest.mark.kernel
@pytest.mark.parametrize(("name", "probes"), CASES, indirect=["probes"])
def test_what_a_task_sends_is_known_as_its_own(name: str, probes: Probes) -> None:
    with running(INTERPRETERS[name], PROGRAM) as program:
        assert program.output.readline() == "up\n"
        watch = follow(probes, program)
        assert watch.processes == 1
        read_events(probes)
        assert program.ask("a b c") == "done"
        events = read_events(probes)
        watch.close()
    by_text = sent(events)
    parents = {event.task: event.parent for event in events if isinstance(event, Task)}
    assert by_text.pop("callback") == {0}
    heads = {text[-1]: tasks for text, tasks in by_text.items() if text.startswith("one ")}
    assert {len(tasks) for tasks in heads.values()} == {1}
    assert len(set.union(*heads.values())) == 3, "no task is another"
    assert 0 not in set.union(*heads.values())
    for text, tasks in by_text.items():
        if text.startswith("two "):
            assert tasks == heads[text[-1]]
        elif text.startswith("thread "):
            assert tasks == {0}
        elif text.startswith("child "):
            assert len(tasks) == 2
            assert {parents[task] for task in tasks} == heads[text[-1]]


@pytest.mark.kernel
def test_a_program_in_its_place_is_followed_anew() -> None:
    probes = Probes(with_tasks=True)
    starting = f"import os; os.execv(sys.executable, [sys.executable, '-c', {PROGRAM!r}])"
    first = PROGRAM.replace(
        "        names = line",
        f"        if 'exec' in line:\n            {starting}\n        names = line",
    )
    try:
        probes.attach()
        with running(sys.executable, first) as program:
            assert program.output.readline() == "up\n"
            now = 0.0
            watch = TaskWatch(probes, lambda: now)
            probes.watch([program.pid])
            watch.look()
            assert program.ask("exec") == "up"
            read_events(probes)
            for _ in range(3):
                now += 20
                watch.look()
            assert program.ask("a") == "done"
            tasks = sent(read_events(probes))
            assert tasks["one a"] == tasks["two a"] != {0}
            watch.close()
    finally:
        probes.close()


@pytest.mark.kernel
@pytest.mark.parametrize("probes", DOORS, indirect=True)
def test_asyncio_that_comes_late_and_to_children_is_followed(probes: Probes) -> None:
    """As in servers that fork, and programs recorded from their start."""
    first = "import os, sys\nprint('up', flush=True)\nsys.stdin.readline()\n"
    forking = f"{PROGRAM.partition('asyncio.get_event')[0]}if os.fork(): os.wait(); sys.exit()\n"
    text = first + forking + "asyncio.get" + PROGRAM.rpartition("asyncio.get")[2]
    with running(sys.executable, text) as program:
        assert program.output.readline() == "up\n"
        now = 0.0
        watch = TaskWatch(probes, lambda: now)
        probes.watch([program.pid])
        watch.look()
        assert watch.processes == 0, "it has not imported it"
        assert program.ask() == "up"
        now += 1
        watch.look()
        assert watch.processes == 2
        read_events(probes)
        assert program.ask("a") == "done"
        tasks = sent(read_events(probes))
        assert tasks["one a"] == tasks["two a"] != {0}
        watch.close()
        program.input.close()  # the child ends, too


class FakeProbes:
    """What a watch asks for, without a kernel."""

    def __init__(self, *pids: int) -> None:
        self.pids = list(pids)
        self.links: list[int] = []
        self.refused = 0

    def watched(self) -> list[int]:
        return self.pids

    def watch_tasks(self, pid: int, path: str, offset: int, entries: int) -> int:
        assert Path(path).exists() and offset > 0 and entries in (40, 48)
        if self.refused:
            self.refused -= 1
            raise PermissionError("no probes here")
        self.links.append(os.open(os.devnull, os.O_RDONLY))
        return self.links[-1]

    def read_task_type(self, pid: int) -> int | None:
        return 0

    def tell_running(self, pid: int, entries: int, running: int) -> None:
        assert running


def is_open(descriptor: int) -> bool:
    return Path(f"/proc/self/fd/{descriptor}").exists()


def test_a_refusal_is_tried_again_and_no_error() -> None:
    now = 0.0
    with running(sys.executable, PROGRAM) as program:
        assert program.output.readline() == "up\n"
        probes = FakeProbes(program.pid)
        probes.refused = 2
        watch = TaskWatch(probes, lambda: now)
        for _ in range(3):
            watch.look()
            now += 2
        assert (len(probes.links), watch.processes) == (1, 1)
        probes.pids.clear()
        watch.look()
        assert not is_open(probes.links[0]), "it ended"


def test_a_process_that_is_none_of_pythons_is_left_alone() -> None:
    now = 0.0
    probes = FakeProbes(1, 999_999_999)  # and one that is gone
    watch = TaskWatch(probes, lambda: now)
    for _ in range(3):
        watch.look()
        now += 100
    assert (probes.links, watch.processes) == ([], 0)
    watch.close()


def test_a_program_that_loads_its_modules_is_looked_at_often() -> None:
    """Requests may come as soon as it has done so."""
    now, looks = 0.0, []
    probes = FakeProbes(1)
    watch = TaskWatch(probes, lambda: now)
    watch._look_at = lambda pid, one: looks.append(now)  # type: ignore[method-assign]
    while now < 20:
        watch.look()
        now += 0.01
    early, late = ([one for one in looks if (one < 3) is is_early] for is_early in (True, False))
    assert len(early) >= 50
    assert 5 <= len(late) <= 60
    watch.close()
