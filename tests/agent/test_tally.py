"""Counters of one target over its recorders."""

from __future__ import annotations

from pathlib import Path

import pytest

from kebpf.agent.link import make_links
from kebpf.agent.recorder import Order
from kebpf.agent.tally import Tally
from kebpf.agent.worker import Worker


def make_worker(**progress: int) -> Worker:
    ours, theirs = make_links()
    theirs.close()
    worker = Worker(Order(Path("/x/y"), "x", ()), "v", 0, ours, -1)
    ours.close()
    worker.progress = dict(progress)
    return worker


def test_what_ended_counts_on() -> None:
    tally = Tally()
    tally.add(make_worker(requests=5, mocks=2))
    running = [make_worker(requests=1), make_worker()]
    assert tally.count("requests", running) == 6
    assert tally.count("mocks", running) == 2


def test_the_rate_is_of_the_last_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("kebpf.agent.tally.time.monotonic", lambda: now)
    tally, worker = Tally(), make_worker(requests=0)
    assert tally.rate == 0
    for step in range(31):
        worker.progress["requests"] = 20 * step if step <= 20 else 400
        tally.sample([worker])
        if step == 20:
            assert tally.rate == 20
        now += 1
    assert tally.rate == 0


def test_the_longest_delay_is_kept() -> None:
    tally = Tally()
    for seconds in (0.1, 0.5, 0.2):
        tally.note_latency(seconds)
    assert (tally.last_latency, tally.longest_latency) == (0.2, 0.5)
