"""What processes use, from /proc: memory and processor time."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from examples.processes import Process, ProcessError

LOOK_SECONDS = 0.01
END_SECONDS = 60.0
MEBIBYTE = 1024  # in the kB of /proc


@dataclass(frozen=True)
class ProcessorTime:
    """Seconds of a processor, in user mode and in the kernel."""

    user: float = 0.0
    kernel: float = 0.0

    @property
    def whole(self) -> float:
        return self.user + self.kernel

    def __add__(self, other: ProcessorTime) -> ProcessorTime:
        return ProcessorTime(self.user + other.user, self.kernel + other.kernel)

    def __sub__(self, other: ProcessorTime) -> ProcessorTime:
        return ProcessorTime(self.user - other.user, self.kernel - other.kernel)


def list_family(pid: int) -> list[int]:
    """A process and its descendants."""
    found = [pid]
    for one in found:
        for path in Path(f"/proc/{one}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += map(int, path.read_text().split())
    return found


def read_processor_time(pids: Iterable[int]) -> ProcessorTime:
    """What processes have had so far, threads and waited-for children included."""
    total = ProcessorTime()
    tick = os.sysconf("SC_CLK_TCK")
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            user, kernel = int(fields[11]) + int(fields[13]), int(fields[12]) + int(fields[14])
            total += ProcessorTime(user / tick, kernel / tick)
    return total


def read_thread_time(thread: int) -> float:
    """Seconds of a processor that one thread has had so far, to the nanosecond."""
    return int(Path(f"/proc/{thread}/schedstat").read_text().split()[0]) / 1e9


def read_proportional_memory(pids: Iterable[int]) -> float:
    """Memory of processes in MB, with what they share counted once (PSS)."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += sum(map(int, re.findall(r"^Pss:\s+(\d+) kB$", text, re.MULTILINE)))
    return total / MEBIBYTE


def watch_end(process: Process) -> float:
    """Interrupts a process and waits for its end; the most memory its family had, in MB."""
    most = read_proportional_memory(list_family(process.pid))
    os.kill(process.pid, signal.SIGINT)
    deadline = time.monotonic() + END_SECONDS
    while process.exit_status is None:
        if time.monotonic() > deadline:
            raise ProcessError(f"{process.name} did not end:\n{process.tail()}")
        most = max(most, read_proportional_memory(list_family(process.pid)))
        time.sleep(LOOK_SECONDS)
    return most
