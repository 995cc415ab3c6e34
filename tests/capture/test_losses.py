"""Losses are told within a look of their coming, of which connection, and since when."""

from __future__ import annotations

import time

from kebpf.capture.events import Loss, decode_run
from kebpf.capture.losses import LossWatch
from kebpf.capture.probes import Moved


class FakeCounters:
    """The kernel's counters, set by hand."""

    def __init__(self) -> None:
        self.lost: dict[int, int] = {}  # open connections, by socket
        self.lost_events = 0
        self.lost_bytes = 0

    def lose(self, socket: int, size: int) -> None:
        self.lost[socket] = self.lost.get(socket, 0) + size
        self.lost_events += 1
        self.lost_bytes += size

    def counts(self) -> dict[str, int]:
        return {"lost_events": self.lost_events, "lost_bytes": self.lost_bytes}

    def open_connections(self) -> list[Moved]:
        return [Moved(key, 7, (0, 0), (size, 0)) for key, size in self.lost.items()]


def look(watch: LossWatch) -> list[Loss]:
    events = list(decode_run(b"".join(watch.look())))
    return [event for event in events if isinstance(event, Loss)]


def test_each_loss_is_told_once() -> None:
    counters = FakeCounters()
    counters.lost[2] = 0
    watch = LossWatch(counters)
    assert look(watch) == []
    before_ns = time.monotonic_ns()
    assert look(watch) == []
    counters.lose(1, 50)
    [loss] = look(watch)
    assert loss.head.connection == (1, 7)
    assert before_ns <= loss.since_ns < loss.head.time_ns <= time.monotonic_ns()
    assert look(watch) == []
    counters.lose(1, 1)
    counters.lose(2, 1)
    assert {one.head.socket for one in look(watch)} == {1, 2}


def test_one_of_a_connection_that_is_gone_has_no_name() -> None:
    counters = FakeCounters()
    watch = LossWatch(counters)
    counters.lose(1, 50)
    counters.lose(2, 50)
    del counters.lost[1]
    assert [one.head.socket for one in look(watch)] == [2, 0]
    counters.lose(2, 5)
    assert [one.head.socket for one in look(watch)] == [2]


def test_a_record_without_bytes_may_have_been_of_any() -> None:
    counters = FakeCounters()
    watch = LossWatch(counters)
    counters.lost_events += 1
    assert [one.head.socket for one in look(watch)] == [0]
