"""The reader's thread, on a ring made by hand."""

from __future__ import annotations

import threading
from collections import deque

import pytest

from kebpf.capture.reader import Reader


class FakeRing:
    """Gives the runs put into it; a wait ends when there is one, or told to."""

    def __init__(self) -> None:
        self.runs: deque[bytes] = deque()
        self.waits: list[float] = []
        self.has_waited = threading.Event()

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.has_waited.set()
        threading.Event().wait(0.0005)

    def drain(self) -> bytes:
        return self.runs.popleft() if self.runs else b""

    def await_drained(self) -> None:
        """Until the reader has found the ring empty."""
        for _ in range(2):
            self.has_waited.clear()
            assert self.has_waited.wait(10)


def test_runs_come_in_order() -> None:
    ring = FakeRing()
    reader = Reader(ring)
    ring.runs.extend([b"one", b"two"])
    reader.start()
    ring.await_drained()
    assert reader.backlog_size == 6
    assert list(reader.runs(10)) == [b"one", b"two"]
    assert reader.backlog_size == 0
    assert list(reader.runs(0)) == []
    reader.stop()


def test_stopping_takes_what_is_left() -> None:
    ring = FakeRing()
    reader = Reader(ring)
    reader.start()
    ring.await_drained()
    ring.runs.extend([b"last", b"words"])
    reader.stop()
    assert list(reader.runs(0)) == [b"last", b"words"]


def test_only_what_is_at_hand_is_given() -> None:
    """A target that never rests does not keep the recording from looking at its own end."""
    ring = FakeRing()
    reader = Reader(ring)
    ring.runs.extend([b"x"] * 5)
    reader.start()
    ring.await_drained()
    taken = []
    for run in reader.runs(10):
        taken.append(run)
        ring.runs.append(b"y")
        ring.await_drained()
    assert taken == [b"x"] * 5
    reader.stop()
    assert list(reader.runs(0)) == [b"y"] * 5


def test_it_reads_no_further_than_its_limit() -> None:
    ring = FakeRing()
    reader = Reader(ring, most_backlog_size=4)
    ring.runs.extend([b"abc", b"def", b"ghi"])
    reader.start()
    deadline = threading.Event()
    for _ in range(1000):
        if reader.backlog_size >= 4:
            break
        deadline.wait(0.001)
    assert reader.backlog_size == 6
    assert list(ring.runs) == [b"ghi"]
    assert list(reader.runs(0)) == [b"abc", b"def"]
    reader.stop()
    assert list(reader.runs(0)) == [b"ghi"]


def test_waits_grow_while_nothing_comes() -> None:
    ring = FakeRing()
    reader = Reader(ring)
    reader.start()
    for _ in range(6):
        ring.await_drained()
    reader.stop()
    assert ring.waits[0] < ring.waits[-1]
    assert ring.waits == sorted(ring.waits)
    assert ring.waits[-1] == pytest.approx(0.02)
