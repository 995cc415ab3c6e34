"""Turns the kernel's monotonic times into times of day."""

from __future__ import annotations

import time


def clock_offset_ns() -> int:
    """What added to CLOCK_MONOTONIC nanoseconds gives nanoseconds since the Unix epoch."""
    before = time.monotonic_ns()
    now = time.time_ns()
    return now - (before + time.monotonic_ns()) // 2
