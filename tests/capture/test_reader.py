"""The reader's thread, on a ring made by hand and a real spool."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator

import pytest

from kebpf.capture.capping import Rate, RateCap
from kebpf.capture.events import Data, GivenUp, ProcessChange, SocketRole, decode_run
from kebpf.capture.reader import Reader
from kebpf.capture.spool import LEAST_QUOTA, Spool
from tests.capture.records import Socket

PATIENCE_SECONDS = 20.0
PROCESSES = 250  # records that are never given up


def make_run(number: int) -> bytes:
    """Records of a process coming and going."""
    return Socket(pid=number).process(ProcessChange.EXEC) * PROCESSES


RUN_SIZE = len(make_run(0))


class FakeRing:
    """Gives the runs put into it; notes how long it was waited for."""

    def __init__(self) -> None:
        self.runs: deque[bytes] = deque()
        self.waits: list[float] = []
        self.policies: set[int] = set()
        self.has_waited = threading.Event()

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.policies.add(os.sched_getscheduler(0))
        self.has_waited.set()
        threading.Event().wait(0.0005)

    def drain(self, most: int) -> bytes:
        return self.runs.popleft() if self.runs else b""

    def await_drained(self) -> None:
        """Until the reader has found the ring empty."""
        for _ in range(2):
            self.has_waited.clear()
            assert self.has_waited.wait(PATIENCE_SECONDS)


@pytest.fixture
def spool() -> Iterator[Spool]:
    one = Spool(LEAST_QUOTA)
    yield one
    one.close()


def read_all(spool: Spool) -> list[bytes]:
    return list(iter(spool.read, b""))


def end(reader: Reader) -> None:
    reader.stop()
    assert reader.join(PATIENCE_SECONDS)
    reader.check()


def test_runs_come_in_order(spool: Spool) -> None:
    ring = FakeRing()
    reader = Reader(ring, spool)
    ring.runs.extend([b"one", b"two"])
    reader.start()
    ring.await_drained()
    assert read_all(spool) == [b"one", b"two"]
    end(reader)


def test_stopping_takes_what_is_left(spool: Spool) -> None:
    ring = FakeRing()
    reader = Reader(ring, spool)
    reader.start()
    ring.await_drained()
    ring.runs.extend([b"last", b"words"])
    end(reader)
    assert read_all(spool) == [b"last", b"words"]


def test_it_says_up_to_when_all_was_read(spool: Spool) -> None:
    ring = FakeRing()
    reader = Reader(ring, spool)
    reader.start()
    ring.await_drained()
    earlier_ns = spool.looked_ns
    ring.await_drained()
    assert 0 < earlier_ns < spool.looked_ns
    end(reader)


def test_it_reads_no_further_than_there_is_room(spool: Spool) -> None:
    ring = FakeRing()
    ring.runs.extend(make_run(number) for number in range(400))
    reader = Reader(ring, spool)
    reader.start()
    reader.stop()
    assert not reader.join(0.1), "it waits for room"
    assert 400 * RUN_SIZE - LEAST_QUOTA < len(ring.runs) * RUN_SIZE < 200 * RUN_SIZE
    assert spool.looked_ns == 0, "it does not know what is in the ring"
    taken = []
    while not reader.join(0.001) or spool.backlog_size:
        taken += [one.head.pid for run in read_all(spool) for one in decode_run(run)]
    assert taken == [number for number in range(400) for _ in range(PROCESSES)]


def test_where_much_comes_it_waits_less(spool: Spool) -> None:
    ring = FakeRing()
    reader = Reader(ring, spool)
    reader.start()
    ring.await_drained()
    ring.runs.append(make_run(0) * 20)
    ring.await_drained()
    ring.runs.append(make_run(0)[: RUN_SIZE // PROCESSES])
    ring.await_drained()
    end(reader)
    assert min(ring.waits) == pytest.approx(0.0015)
    assert ring.waits[-1] >= 0.005


@pytest.mark.kernel
def test_it_wakes_before_all_that_is_ordinary(spool: Spool) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may set the policy")
    ring = FakeRing()
    reader = Reader(ring, spool)
    reader.start()
    ring.await_drained()
    end(reader)
    [policy] = ring.policies
    assert policy & ~os.SCHED_RESET_ON_FORK == os.SCHED_FIFO


def test_it_can_be_abandoned(spool: Spool) -> None:
    ring = FakeRing()
    ring.runs.extend(make_run(number) for number in range(400))
    reader = Reader(ring, spool)
    reader.start()
    reader.abandon()
    assert reader.join(0)


def test_waits_grow_while_nothing_comes(spool: Spool) -> None:
    ring = FakeRing()
    reader = Reader(ring, spool)
    reader.start()
    for _ in range(6):
        ring.await_drained()
    end(reader)
    assert ring.waits[0] < ring.waits[-1]
    assert ring.waits == sorted(ring.waits)
    assert ring.waits[-1] == pytest.approx(0.02)


def test_more_than_a_cap_allows_is_not_taken(spool: Spool) -> None:
    """Whole connections, whose sums come at the end."""
    ring, one, other = FakeRing(), Socket(address=1), Socket(address=2)
    cap = RateCap(Rate(bytes=100))
    reader = Reader(ring, spool, cap)
    ring.runs.append(one.open(SocketRole.SERVER, ("10.0.0.1", 80)) + one.receive(b"x" * 1000))
    ring.runs.append(one.receive(b"y" * 70) + other.open() + other.send(b"z"))
    reader.start()
    ring.await_drained()
    end(reader)
    events = list(decode_run(b"".join(read_all(spool))))
    assert [(one.head.socket, one.data) for one in events if isinstance(one, Data)] == [
        (1, b"x" * 1000),
        (2, b"z"),
    ]
    sums = [one.dropped for one in events if isinstance(one, GivenUp)]
    assert (sums, reader.capped) == ([(0, 0), (70, 0)], 1)
