"""More comes than can be taken in: what is missing is known to the byte, what is kept is whole."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import pytest

from examples.recorder import find_kebpf, with_sources
from kebpf.capture.eventlog import EventLog
from kebpf.capture.events import Direction, decode_run
from kebpf.capture.probes import Door, Probes
from kebpf.capture.spool import LEAST_QUOTA
from kebpf.capture.target import resolve_target
from kebpf.kernel.ring import RingBuffer
from kebpf.reassembly.proof import END_UNKNOWN, KernelCount
from kebpf.reassembly.tracker import Tracker
from kebpf.recording.assembly import Assembly
from kebpf.recording.channel import Prepare
from kebpf.recording.doubts import CALLS_GIVEN_UP
from kebpf.recording.recorder import begin_recording
from kebpf.recording.store import TestSet
from tests.capture.doors import DOORS
from tests.capture.peers import stream_peer
from tests.capture.tap import Collector, Seen
from tests.e2e.conftest import skip_unless_root
from tests.recording.running import SERVICE, answer_gets

pytestmark = [pytest.mark.e2e, pytest.mark.kernel]

RING_SIZE = 64 << 10
PHASES = ("before", "during", "", "after")
IN, OUT = Direction.INGRESS, Direction.EGRESS


class HeldRing:
    """A ring whose reader is held back for as long as a test wants it."""

    def __init__(self, ring: RingBuffer) -> None:
        self._ring = ring
        self.is_held = False

    def wait(self, seconds: float) -> None:
        self._ring.wait(seconds)

    def drain(self, most: int) -> bytes:
        return b"" if self.is_held else self._ring.drain(most)

    def await_empty(self) -> None:
        while self._ring.fill > 0:
            os.sched_yield()

    def close(self) -> None:
        self._ring.close()


@dataclass
class Customer:
    """Asks on raw sockets and keeps what went over each: the oracle, by its own port."""

    port: int
    kept: dict[int, tuple[bytes, bytes]] = field(default_factory=dict)
    bodies: dict[str, bytes] = field(default_factory=dict)

    def ask(self, name: str) -> None:
        question = f"GET /{name} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        with socket.create_connection(("127.0.0.1", self.port)) as sock:
            sock.sendall(question)
            answer = b"".join(iter(lambda: sock.recv(65536), b""))
            self.kept[sock.getsockname()[1]] = (question, answer)
        self.bodies[f"/{name}"] = answer.partition(b"\r\n\r\n")[2]


@contextmanager
def serving(redis_port: int) -> Iterator[tuple[int, int]]:
    """The process and the port of a service."""
    words = [sys.executable, "-I", str(SERVICE), str(redis_port)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def list_missing(seen: Seen, oracle: tuple[bytes, bytes]) -> int:
    """Each byte is the oracle's at its offset, or in a gap; gives how many are in gaps."""
    missing = 0
    for direction in Direction:
        position = 0
        for piece in seen.pieces[direction]:
            assert piece.offset == position
            position += piece.size
            expected = oracle[direction][piece.offset : position]
            assert len(expected) == piece.size
            assert piece.data in (None, expected)
            missing += piece.size if piece.data is None else 0
        missing += len(oracle[direction]) - position  # where its very end was lost as well
    return missing


def answers_to(sent_to_redis: bytes) -> bytes:
    """What the made-up Redis answered."""
    return b"".join(
        b"$%d\r\n%s\r\n" % (2 * len(name), name * 2)
        for name in re.findall(rb"GET\r\n\$\d+\r\n([^\r]+)", sent_to_redis)
    )


# Sends as many bytes as it is told to, and says when they are sent.
SENDER = """
import socket, sys
sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
for line in sys.stdin:
    sock.sendall(bytes(int(line)))
    print("sent", flush=True)
"""


@dataclass
class Pipe:
    """Both ends of a program's standard streams."""

    into: IO[str]
    out: IO[str]

    def tell(self, line: str) -> str:
        """Gives a line and waits for the answer."""
        self.into.write(line)
        self.into.flush()
        return self.out.readline()


@contextmanager
def sending(port: int) -> Iterator[tuple[int, Pipe]]:
    """A process that sends what it is told to."""
    words = [sys.executable, "-I", "-c", SENDER, str(port)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdin is not None and process.stdout is not None
        pipe = Pipe(process.stdin, process.stdout)
        assert pipe.tell("1\n") == "sent\n", "it is connected"
        yield process.pid, pipe
    finally:
        process.kill()
        process.communicate()


def follow(log: EventLog, counts: dict[tuple[int, int], KernelCount]) -> dict[int, Seen]:
    """The connections of a log by their other end's port."""
    collector = Collector()
    tracker = Tracker(collector, log.head.listening, log.head.sockets)
    for run in log.runs():
        for event in decode_run(run):
            tracker.feed(event)
    tracker.finish(counts)
    assert tracker.proof.reasons.keys() <= {END_UNKNOWN}, tracker.proof.named
    return {one.connection.opened.remote_port: one for one in collector.seen.values()}


@contextmanager
def large_probes() -> Iterator[Probes]:
    probes = Probes(ring_size=32 << 20)
    try:
        yield probes
    finally:
        probes.close()


@contextmanager
def held_probes(door: Door) -> Iterator[tuple[Probes, HeldRing]]:
    probes = Probes(door, ring_size=RING_SIZE)
    ring = HeldRing(probes.ring)
    probes.ring = ring  # type: ignore[assignment]
    try:
        yield probes, ring
    finally:
        probes.close()


@pytest.mark.parametrize("door", DOORS)
def test_a_ring_that_overflows_is_found_to_the_byte(tmp_path: Path, door: Door) -> None:
    """Every gap in its stream at its offset; cases it touches are out, all others whole."""
    skip_unless_root()
    assembly = Assembly()
    try:
        assembly.prepare(Prepare(str(tmp_path / "set"), "set", events=str(tmp_path / "log")))
        with (
            stream_peer(answer_gets) as redis,
            serving(redis.port) as (pid, port),
            held_probes(door) as (probes, ring),
        ):
            customer = Customer(port)
            recording = begin_recording(probes, resolve_target([pid]), assembly)
            phases = iter(PHASES)

            def go_on() -> bool:
                """A phase a turn; the ring is not read while the second lasts."""
                phase = next(phases, None)
                ring.is_held = phase == "during"
                for number in range(60 if phase else 0):
                    customer.ask(f"{phase}-{number}")
                ring.is_held = False
                if phase == "":
                    ring.await_empty()  # a loss that goes on would be of the third as well
                return phase is None

            recording.watch(go_on, lambda _: None)
            counts = {
                (one.socket, one.generation): KernelCount(one.moved, one.lost)
                for one in probes.open_connections()
            }
            progress = recording.finish().progress
            sent_to_redis = bytes(redis.received[0])
    finally:
        assembly.close()
    assert progress.lost_events > 0
    answers = answers_to(sent_to_redis)
    seen = follow(EventLog(tmp_path / "log"), counts)
    oracles = {**customer.kept, redis.port: (answers, sent_to_redis)}
    missing = sum(
        list_missing(one, oracles[number])
        for number, one in seen.items()
        if one.connection.is_closed and number in oracles
    )
    unopened = sum(sum(map(len, oracles[number])) for number in oracles.keys() - seen.keys())
    assert missing > 0
    assert progress.lost_size == missing + unopened
    assert progress.captured_size + progress.lost_size == sum(
        sum(map(len, oracle)) for oracle in oracles.values()
    )
    kept = check_cases(TestSet.open(tmp_path / "set"), customer)
    replay(tmp_path, redis.port, port, kept)


def check_cases(test_set: TestSet, customer: Customer) -> int:
    """Those of quiet times are all there; each that is there is whole, with its one call.

    Gives how many there are.
    """
    calls = {mock.name: mock for _, mock in test_set.iter_mocks()}
    kept = [case.request["target"] for case in test_set.cases()]
    for case in test_set.cases():
        target = case.request["target"]
        assert case.response["body"] == customer.bodies[target]
        assert [calls[name].case for name in case.calls] == [case.name]
        assert target[1:] in str(calls[case.calls[0]].request)
    quiet = {f"/{phase}-{number}" for phase in ("before", "after") for number in range(60)}
    assert len(quiet - set(kept)) <= 2, "the loss is found when its connection moves again"
    assert len(set(kept)) == len(kept) < 180
    return len(kept)


def replay(folder: Path, redis_port: int, port: int, count: int) -> None:
    """Every case of the set passes, with the Redis gone."""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", redis_port))
    service = shlex.join([sys.executable, "-I", str(SERVICE), str(redis_port), str(port)])
    report = folder / "events"
    done = subprocess.run(
        [*find_kebpf(), "test", "-c", service, folder / "set", "--json", report],
        env=with_sources(os.environ),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    finished = json.loads(report.read_text().splitlines()[-1])
    assert (finished["passed"], finished["failed"]) == (count, 0)


def test_a_backlog_beyond_its_quota_gives_up_whole_connections(tmp_path: Path) -> None:
    """The assembler stands still; what comes is more than the backlog holds."""
    skip_unless_root()
    assembly = Assembly(LEAST_QUOTA)
    try:
        assembly.prepare(Prepare(str(tmp_path / "set"), "set", events=str(tmp_path / "log")))
        with (
            stream_peer(answer_gets) as redis,
            stream_peer() as sink,
            serving(redis.port) as (pid, port),
            sending(sink.port) as (sender, pipe),
            large_probes() as probes,
        ):
            customer = Customer(port)
            recording = begin_recording(probes, resolve_target([pid, sender]), assembly)
            phases = iter(PHASES)

            def go_on() -> bool:
                phase = next(phases, None)
                if phase == "during":
                    os.kill(assembly.pid, signal.SIGSTOP)
                    assert pipe.tell(f"{4 * LEAST_QUOTA}\n") == "sent\n"
                for number in range(60 if phase else 0):
                    customer.ask(f"{phase}-{number}")
                if phase == "":
                    os.kill(assembly.pid, signal.SIGCONT)
                return phase is None

            recording.watch(go_on, lambda _: None)
            progress = recording.finish().progress
    finally:
        assembly.close()
    assert progress.lost_events == 0
    assert (progress.given_up, progress.lost_size, progress.unbalanced) == (1, 0, {})
    moved = 4 * LEAST_QUOTA + sum(sum(map(len, pair)) for pair in customer.kept.values())
    moved += len(redis.received[0]) + len(answers_to(bytes(redis.received[0])))
    assert progress.captured_size + progress.given_up_size == moved
    test_set = TestSet.open(tmp_path / "set")
    kept = {case.request["target"] for case in test_set.cases()}
    assert kept >= {f"/before-{number}" for number in range(60)}
    assert progress.left_out.keys() <= {CALLS_GIVEN_UP}
    replay(tmp_path, redis.port, port, len(test_set.cases()))
