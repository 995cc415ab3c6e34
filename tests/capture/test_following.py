"""Who is a target: what it starts, however it does, and what comes into its control group."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kebpf.capture.events import Process, ProcessChange, decode_run
from kebpf.capture.joining import JoinWatch
from kebpf.capture.probes import Probes
from kebpf.kernel.cgroup import make_cgroup
from kebpf.kernel.hierarchies import Group, list_hierarchies, read_group
from kebpf.reassembly.tracker import Tracker
from tests.capture.peers import Peer, stream_peer
from tests.capture.tap import MOST_WAITS, Collector, Tap, tap_command

LINEAGE = Path(__file__).with_name("lineage.py")

pytestmark = pytest.mark.kernel


def make_command(*arguments: object) -> list[str]:
    return [sys.executable, "-I", *map(str, (LINEAGE, *arguments))]


@pytest.fixture(scope="module")
def probes() -> Iterator[Probes]:
    """Attached, with nobody to watch yet."""
    made = Probes(with_groups=True)
    made.attach()
    yield made
    made.close()


@pytest.fixture
def folder(probes: Probes) -> Iterator[Path]:
    """A control group of this test's own."""
    while probes.ring.drain():
        pass
    with make_cgroup() as made:
        yield made.path


def find_group(folder: Path) -> Group:
    group = read_group(folder, list_hierarchies())
    assert group is not None
    return group


@pytest.mark.parametrize(
    "way", ["exec", "thread_exec", "spawn", "posix_spawn", "thread_spawn", "daemon"]
)
def test_what_a_target_becomes_or_starts(probes: Probes, way: str) -> None:
    while probes.ring.drain():
        pass
    with stream_peer() as peer, tap_command(probes, make_command(way, peer.port)) as held:
        held.start()
        capture = held.finish()
    assert peer.only == way.encode()
    assert [seen.egress for seen in capture.connections] == [peer.only]


def collect(probes: Probes, held: Tap, name: str) -> list[Process]:
    """Runs the program to its end; what became of processes, when ``name`` was captured too."""
    run = b""
    held.go_on()
    for _ in range(MOST_WAITS):
        probes.ring.wait(0.05)
        while part := probes.ring.drain():
            run += part
        if name.encode() in run and not probes.watched():
            break
    else:
        raise TimeoutError(f"{name} was not captured")
    return [event for event in decode_run(run) if isinstance(event, Process)]


def assert_unseen(probes: Probes, held: Tap, peer: Peer) -> None:
    """Of a process that is no target there is nothing."""
    held.go_on()
    while not (peer.received and held.read_line()):
        pass
    assert probes.ring.drain() == b""


def test_a_process_is_moved_into_the_group(probes: Probes, folder: Path) -> None:
    probes.watch_groups([find_group(folder)])
    with stream_peer() as peer, tap_command(probes, make_command("spawn", peer.port)) as held:
        held.read_line()
        (folder / "cgroup.procs").write_text(str(held.pid))
        changes = collect(probes, held, "spawn")
    assert peer.only == b"spawn"
    assert (changes[0].change, changes[0].child) == (ProcessChange.JOIN, held.pid)


def test_what_a_moved_process_brings_along(probes: Probes, folder: Path) -> None:
    """Its pair is older than its being a target, which is told before any of its bytes."""
    probes.watch_groups([find_group(folder)])
    joins = JoinWatch(probes, [])
    code = (
        "import socket, sys; ours, theirs = socket.socketpair();"
        "listener = socket.create_server(('127.0.0.1', 0));"
        "print(listener.getsockname()[1], flush=True);"
        "sys.stdin.readline(); ours.sendall(b'the middle'); sys.stdin.readline();"
        "new, other = socket.socketpair(); new.sendall(b'the start')"
    )
    with tap_command(probes, [sys.executable, "-I", "-c", code]) as held:
        port = int(held.read_line())
        (folder / "cgroup.procs").write_text(str(held.pid))
        held.go_on()
        run = b""
        while b"the middle" not in run:
            run += probes.ring.drain()
        run += b"".join((*joins.look(), *joins.look()))
        held.go_on()
        while probes.watched():
            pass
        run += probes.ring.drain()
    collector = Collector()
    tracker = Tracker(collector)
    for event in decode_run(run):
        tracker.feed(event)
    assert tracker.listening == [port]
    told = {seen.egress: seen.connection.is_joined for seen in collector.seen.values()}
    assert told == {b"the middle": True, b"the start": False}


def test_a_process_begins_in_the_group(probes: Probes, folder: Path) -> None:
    """Its parent is outside and stays unwatched."""
    below = folder / "below"
    probes.watch_groups([find_group(folder)])
    below.mkdir()  # afterwards: the kernel tells of it
    with (
        stream_peer() as peer,
        tap_command(probes, make_command("into_group", peer.port, below)) as held,
    ):
        held.read_line()
        changes = collect(probes, held, "into_group")
    assert peer.only == b"into_group"
    assert changes[0].change is ProcessChange.FORK
    assert changes[0].head.pid == held.pid
    assert held.pid not in {one.head.pid for one in changes if one.change is ProcessChange.EXIT}


def test_a_group_that_is_made_again(probes: Probes, folder: Path) -> None:
    """As systemd does it when a unit is restarted; only where that was asked for."""
    unit, other = folder / "shop.service", folder / "other.service"
    for path, is_awaited in ((unit, True), (other, False)):
        path.mkdir()
        probes.watch_groups([find_group(path)], are_awaited=is_awaited)
        path.rmdir()
        path.mkdir()
    with stream_peer(count=2) as peer:
        with tap_command(probes, make_command("spawn", peer.port)) as held:
            held.read_line()
            (other / "cgroup.procs").write_text(str(held.pid))
            assert_unseen(probes, held, peer)
        with tap_command(probes, make_command("posix_spawn", peer.port)) as held:
            held.read_line()
            (unit / "cgroup.procs").write_text(str(held.pid))
            changes = collect(probes, held, "posix_spawn")
    assert (changes[0].change, changes[0].child) == (ProcessChange.JOIN, held.pid)


def test_a_process_that_leaves_is_recorded_on(probes: Probes, folder: Path) -> None:
    inside, outside = folder / "inside", folder / "outside"
    inside.mkdir()
    outside.mkdir()
    probes.watch_groups([find_group(inside)])
    with stream_peer() as peer, tap_command(probes, make_command("spawn", peer.port)) as held:
        held.read_line()
        (inside / "cgroup.procs").write_text(str(held.pid))
        (outside / "cgroup.procs").write_text(str(held.pid))
        changes = collect(probes, held, "spawn")
    assert peer.only == b"spawn"
    assert [one.change for one in changes].count(ProcessChange.JOIN) == 1


def test_a_version_1_group(probes: Probes) -> None:
    hierarchies = [one for one in list_hierarchies() if one.number]
    if not hierarchies:
        pytest.skip("no version 1 control groups are mounted here")
    folder = hierarchies[0].mount / f"kebpf-test-v1-{id(probes)}"
    folder.mkdir()
    try:
        probes.watch_groups([find_group(folder)])
        with stream_peer() as peer, tap_command(probes, make_command("spawn", peer.port)) as held:
            held.read_line()
            (folder / "cgroup.procs").write_text(str(held.pid))
            changes = collect(probes, held, "spawn")
        assert (changes[0].change, changes[0].child) == (ProcessChange.JOIN, held.pid)
    finally:
        folder.rmdir()
