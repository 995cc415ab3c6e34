"""What a process started within sees of the clocks, by date(1)'s sibling: CPython's own reading."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from kebpf.kernel.errors import KernelError
from kebpf.kernel.timens import shifted_monotonic

pytestmark = pytest.mark.kernel

HOUR_NS = 3_600 * 1_000_000_000
READ = "import time; print(*(time.clock_gettime_ns(one) for one in (time.CLOCK_MONOTONIC, 7)))"


def read_clocks() -> list[int]:
    """Monotonic and boot time of a process started now."""
    done = subprocess.run([sys.executable, "-c", READ], stdout=subprocess.PIPE, check=True)
    return [int(word) for word in done.stdout.split()]


def test_both_clocks_begin_where_they_are_told_to() -> None:
    before = time.monotonic_ns()
    with shifted_monotonic(time.time_ns()):
        told = read_clocks()
    now = time.time_ns()
    for one in told:
        assert now - HOUR_NS < one <= now
    assert before <= time.monotonic_ns() < before + HOUR_NS  # ours is as it was


def test_afterwards_processes_have_the_usual_clocks_again() -> None:
    with shifted_monotonic(time.time_ns()):
        pass
    before = time.monotonic_ns()
    assert before <= read_clocks()[0] <= time.monotonic_ns()


def test_also_when_what_is_done_within_fails() -> None:
    with pytest.raises(ZeroDivisionError), shifted_monotonic(time.time_ns()):
        raise ZeroDivisionError
    assert read_clocks()[0] <= time.monotonic_ns()


def test_a_clock_before_the_start_of_all_is_refused() -> None:
    with pytest.raises(KernelError, match="a time namespace"), shifted_monotonic(-HOUR_NS):
        raise AssertionError("not reached")
    assert read_clocks()[0] <= time.monotonic_ns()
