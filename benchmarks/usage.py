"""What processes use, from /proc: memory and processor time."""

from __future__ import annotations

import os
import re
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from examples.processes import Process, ProcessError

LOOK_SECONDS = 0.01
END_SECONDS = 60.0
MEBIBYTE = 1024  # in the kB of /proc


@dataclass(frozen=True)
class Memory:
    """Resident memory in MB (2**20 bytes): now, and the most there ever was."""

    now: float
    most: float


def read_memory(pid: int) -> Memory:
    """Of a process that runs.  Raises ``ProcessLookupError`` if it does not."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        raise ProcessLookupError(pid) from None
    sizes = dict(re.findall(r"^(VmHWM|VmRSS):\s+(\d+) kB$", text, re.MULTILINE))
    if not sizes:  # it has ended and was not waited for
        raise ProcessLookupError(pid)
    return Memory(int(sizes["VmRSS"]) / MEBIBYTE, int(sizes["VmHWM"]) / MEBIBYTE)


def read_processor_seconds(pid: int) -> float:
    """Processor time a process has had so far, in user mode and in the kernel."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def watch_end(process: Process) -> float:
    """Interrupts a process and waits for its end; the most memory it had, in MB."""
    most = read_memory(process.pid).most
    os.kill(process.pid, signal.SIGINT)
    deadline = time.monotonic() + END_SECONDS
    while time.monotonic() < deadline:
        try:
            most = max(most, read_memory(process.pid).most)
        except ProcessLookupError:
            return most
        time.sleep(LOOK_SECONDS)
    raise ProcessError(f"{process.name} did not end:\n{process.tail()}")
