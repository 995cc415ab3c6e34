"""The ring buffer's consumer: on a mapping made by hand, and on a ring of the kernel's."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from unittest import mock

import pytest

from kebpf.capture.events import Data, Process, ProcessChange, decode_run
from kebpf.capture.probes import Probes
from kebpf.kernel.ring import RECORD_HEAD_SIZE, RingBuffer, record_span

PAGE = os.sysconf("SC_PAGESIZE")
BUSY, DISCARDED = 1 << 31, 1 << 30


class FakeRing:
    """The kernel's side of a ring, in a memory file: its pages laid out as the kernel does.

    The data is there twice in a row, as the kernel maps it.
    """

    def __init__(self, size: int = PAGE) -> None:
        self.size = size
        self.descriptor = os.memfd_create("ring")
        os.ftruncate(self.descriptor, 2 * PAGE + 2 * size)
        self.position = 0

    def write(self, payload: bytes, flags: int = 0) -> int:
        """Appends a record; gives where it is."""
        record = struct.pack("=II", len(payload) | flags, 0) + payload
        record += bytes(-len(record) % 8)
        for at, byte in enumerate(record, self.position):
            for copy in (0, self.size):
                os.pwrite(self.descriptor, bytes([byte]), 2 * PAGE + copy + at % self.size)
        start = self.position
        self.position += len(record)
        os.pwrite(self.descriptor, struct.pack("=Q", self.position), PAGE)
        return start

    def set_flags(self, position: int, word: int) -> None:
        for copy in (0, self.size):
            at = 2 * PAGE + copy + position % self.size
            os.pwrite(self.descriptor, struct.pack("=I", word), at)

    @property
    def consumed(self) -> int:
        number: int = struct.unpack("=Q", os.pread(self.descriptor, 8, 0))[0]
        return number


class FileRing(RingBuffer):
    """Cannot wait for a file."""

    def __init__(
        self,
        fake: FakeRing,
        monkeypatch: pytest.MonkeyPatch,
        written: memoryview[int] | None = None,
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr("select.epoll", lambda: socket.socket())
            patch.setattr(socket.socket, "register", lambda *_: None, raising=False)
            super().__init__(fake.descriptor, fake.size, written)


@pytest.fixture
def fake() -> Iterator[FakeRing]:
    made = FakeRing()
    yield made
    os.close(made.descriptor)


@pytest.fixture
def ring(fake: FakeRing, monkeypatch: pytest.MonkeyPatch) -> Iterator[RingBuffer]:
    made = FileRing(fake, monkeypatch)
    yield made
    made.close()


def split(run: bytes) -> list[bytes]:
    """The payloads of a run, discarded ones left out."""
    payloads, at = [], 0
    while at < len(run):
        word = struct.unpack_from("=I", run, at)[0]
        size = word & 0x3FFFFFFF
        if not word & DISCARDED:
            payloads.append(run[at + RECORD_HEAD_SIZE : at + RECORD_HEAD_SIZE + size])
        at += record_span(word)
    return payloads


def test_an_empty_ring_gives_nothing(ring: RingBuffer) -> None:
    assert ring.drain() == b""
    assert ring.fill == 0


def test_records_come_in_order_and_are_given_back(fake: FakeRing, ring: RingBuffer) -> None:
    for payload in (b"one", b"", b"three", b"x" * 8):
        fake.write(payload)
    assert ring.fill == fake.position / fake.size
    assert split(ring.drain()) == [b"one", b"", b"three", b"x" * 8]
    assert fake.consumed == fake.position
    assert (ring.drain(), ring.fill) == (b"", 0)


def test_it_stops_at_a_record_that_is_being_written(fake: FakeRing, ring: RingBuffer) -> None:
    fake.write(b"done")
    busy = fake.write(b"busy", BUSY)
    fake.write(b"behind it")
    assert split(ring.drain()) == [b"done"]
    assert ring.drain() == b""
    fake.set_flags(busy, 4)
    assert split(ring.drain()) == [b"busy", b"behind it"]


def test_a_discarded_record_is_passed_over(fake: FakeRing, ring: RingBuffer) -> None:
    fake.write(b"a")
    fake.write(b"discarded", DISCARDED)
    fake.write(b"b")
    assert split(ring.drain()) == [b"a", b"b"]


def test_records_across_the_end_of_the_ring(fake: FakeRing, ring: RingBuffer) -> None:
    written, read = [], []
    for number in range(40):
        payload = bytes([number]) * 500
        written.append(payload)
        fake.write(payload)
        if number % 5 == 4:
            read += split(ring.drain())
    assert read == written
    assert fake.position > 4 * fake.size


def test_a_run_is_not_longer_than_asked(fake: FakeRing, ring: RingBuffer) -> None:
    for _ in range(10):
        fake.write(b"x" * 56)
    assert len(split(ring.drain(most=100))) == 2
    assert len(split(ring.drain())) == 8


def test_it_goes_on_where_the_last_reader_stopped(
    fake: FakeRing, ring: RingBuffer, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.write(b"first")
    ring.drain()
    fake.write(b"second")
    other = FileRing(fake, monkeypatch)
    assert split(other.drain()) == [b"second"]
    other.close()


class Counted:
    """A ring with counters of two processors, of records that are whole."""

    def __init__(self, fake: FakeRing, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fake = fake
        self.counters = memoryview(bytearray(16)).cast("Q")
        self.ring = FileRing(fake, monkeypatch, self.counters)

    def write(self, payload: bytes, processor: int = 0) -> None:
        start = self.fake.write(payload)
        self.counters[processor] += self.fake.position - start


@pytest.fixture
def counted(fake: FakeRing, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counted]:
    made = Counted(fake, monkeypatch)
    yield made
    made.ring.close()


def test_records_that_are_all_whole_are_not_looked_at(counted: Counted) -> None:
    """It takes what it would stop at."""
    counted.write(b"one")
    counted.fake.set_flags(0, 3 | BUSY)
    counted.write(b"two", processor=1)
    assert len(counted.ring.drain()) == counted.fake.consumed == counted.fake.position
    assert counted.ring.drain() == b""


def test_while_one_is_being_written_each_is_looked_at(counted: Counted) -> None:
    counted.write(b"done")
    busy = counted.fake.write(b"busy", BUSY)
    counted.write(b"behind it", processor=1)
    assert split(counted.ring.drain()) == [b"done"]
    counted.fake.set_flags(busy, 4)  # and is not counted yet
    assert split(counted.ring.drain()) == [b"busy", b"behind it"]
    counted.counters[0] += 16
    assert counted.ring.drain() == b""
    counted.write(b"next")
    assert split(counted.ring.drain()) == [b"next"]


def test_whole_records_are_no_longer_than_asked(counted: Counted) -> None:
    for _ in range(10):
        counted.write(b"x" * 56)
    assert len(split(counted.ring.drain(most=100))) == 2
    assert len(split(counted.ring.drain())) == 8


@pytest.mark.kernel
def test_the_kernels_counters_are_what_the_ring_gave_out() -> None:
    """Whatever way records come: short, long, of processes."""
    probes = Probes(ring_size=1 << 20)
    try:
        probes.watch([os.getpid()])
        probes.attach()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            for size in (1, 7, 8, 9, 20_000, 100_000):
                ours.setblocking(False)
                ours.send(bytes(size))
                theirs.recv(size)
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        with mock.patch.object(RingBuffer, "_walk", side_effect=AssertionError):
            run = probes.ring.drain()
        sent = sum(
            event.size
            for event in decode_run(run)
            if isinstance(event, Data) and event.head.direction == 1
        )
        assert sent == 1 + 7 + 8 + 9 + 20_000 + 100_000
        assert probes.ring.fill == 0
    finally:
        probes.close()


@pytest.mark.kernel
def test_who_waits_can_be_woken() -> None:
    probes = Probes(ring_size=1 << 18)
    try:
        waiting = threading.Thread(target=probes.ring.wait, args=(600.0,))
        waiting.start()
        probes.ring.wake()
        waiting.join(60.0)
        assert not waiting.is_alive()
    finally:
        probes.close()


@pytest.mark.kernel
def test_a_ring_of_the_kernel() -> None:
    """This process and a child of it, through a ring far smaller than what passes."""
    probes = Probes(ring_size=1 << 18)
    try:
        probes.watch([os.getpid()])
        probes.attach()
        ours, theirs = socket.socketpair()
        sent = received = b""
        with ours, theirs:
            for number in range(60):
                part = bytes([number]) * 10_000
                ours.sendall(part)
                theirs.recv(20_000)
                sent += part
                events = list(decode_run(probes.ring.drain()))
                received += b"".join(
                    event.data
                    for event in events
                    if isinstance(event, Data) and event.head.direction == 1
                )
        assert received == sent
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        changes = [
            (event.change, event.child or event.head.pid)
            for event in decode_run(probes.ring.drain())
            if isinstance(event, Process)
        ]
        assert changes == [(ProcessChange.FORK, child), (ProcessChange.EXIT, child)]
        begun = time.monotonic()
        probes.ring.wait(0.01)  # nothing to wait for any more: it comes back by itself
        assert time.monotonic() - begun < 5
    finally:
        probes.close()
