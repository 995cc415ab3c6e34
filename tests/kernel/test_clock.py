"""The clock's offset, against the two clocks themselves."""

from __future__ import annotations

import time

from kebpf.kernel.clock import clock_offset_ns


def test_offset_lies_between_two_readings() -> None:
    low = time.time_ns() - time.monotonic_ns()
    offset = clock_offset_ns()
    high = time.time_ns() - time.monotonic_ns()
    slack = 50_000_000  # the process may be made to wait between two readings
    assert min(low, high) - slack <= offset <= max(low, high) + slack
