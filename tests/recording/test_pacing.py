"""When the assembler rests: others want the processors, and there is room for what comes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from kebpf.recording.pacing import Pace, read_idle_seconds


@dataclass
class Host:
    """Two processors of which others take ``others`` at a time."""

    others: float
    time: float = 0.0
    idle: float = 0.0
    own: float = 0.0

    def work(self, seconds: float) -> None:
        """With the lowest priority: in what the others leave."""
        left = max(0.02, min(1.0, 2 - self.others))
        self.own += seconds
        self.let_pass(seconds / left, left)

    def let_pass(self, seconds: float, own: float = 0.0) -> None:
        self.time += seconds
        self.idle += max(0.0, 2 - self.others - own) * seconds

    def make_pace(self) -> Pace:
        return Pace(lambda: self.idle, lambda: self.own, lambda: self.time)


def run(host: Host, backlog: float, turns: int = 400) -> float:
    """What the work took of a processor to that and the time it rested."""
    pace, rested = host.make_pace(), 0.0
    for _ in range(turns):
        host.work(0.002)
        rest = pace.rest(backlog)
        host.let_pass(rest)
        rested += rest
    return host.own / (host.own + rested)


@pytest.mark.parametrize("others", [0.0, 0.5, 1.0])
def test_it_does_not_rest_while_a_processor_is_free(others: float) -> None:
    assert run(Host(others), 0.1) == 1.0


@pytest.mark.parametrize("others", [1.5, 1.9])
def test_it_takes_a_twentieth_when_they_are_wanted(others: float) -> None:
    assert 0.04 < run(Host(others), 0.1) < 0.1


def test_it_does_not_rest_when_the_backlog_is_half_full() -> None:
    assert run(Host(1.9), 0.5) == 1.0


def test_it_goes_on_when_the_others_are_done() -> None:
    host = Host(1.9)
    pace = host.make_pace()
    for _ in range(100):
        host.work(0.002)
        host.let_pass(pace.rest(0.1))
    host.others = 0.2
    host.let_pass(0.2)
    pace.rest(0.1)
    host.work(0.002)
    assert pace.rest(0.1) == 0.0


def test_no_rest_is_long() -> None:
    host = Host(2.0)
    pace = host.make_pace()
    host.work(5.0)
    assert 0.0 < pace.rest(0.0) <= 1.0


def test_idle_time_is_the_kernels() -> None:
    idle = float(Path("/proc/uptime").read_text().split()[1])
    assert read_idle_seconds() >= idle - 1.0
