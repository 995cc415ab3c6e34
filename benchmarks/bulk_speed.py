"""Bulk: half a gigabyte a second through one connection of the target, for ten seconds."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, below
from benchmarks.usage import list_family
from benchmarks.usage import read_proportional_memory as read_memory
from examples.processes import Process, ProcessError
from examples.recorder import start_recorder, with_sources

SECONDS = 10.0
SPEED = 500e6  # bytes per second, paced
CALL_SIZE = 1 << 18
MOST_MEMORY = 200.0  # MB, the backlog included
END_SECONDS = 300.0
_WATCH_SECONDS = 0.25
_BUFFER_SIZE = 1 << 20


def measure_bulk(doors: list[str], folder: Path) -> Iterator[Figure]:
    """Bytes sent, captured and accounted for."""
    for door in doors:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            taken: list[int] = []
            taker = threading.Thread(target=_take_all, args=(listener, taken), daemon=True)
            taker.start()
            sender = _start_sender(listener.getsockname()[1])
            try:
                summary, memory = _record(sender, door, folder / f"bulk-{door}")
            finally:
                sender.stop()
            taker.join()
        yield from _show(door, float(sender.lines[-1].split()[1]), sum(taken), memory, summary)


def _start_sender(port: int) -> Process:
    words = map(str, (port, SPEED, SECONDS, CALL_SIZE))
    command = [sys.executable, "-m", "benchmarks.bulk_sender", *words]
    sender = Process("sender", command, environment=with_sources(os.environ))
    sender.wait_for(lambda line: line == "ready")
    return sender


def _take_all(listener: socket.socket, taken: list[int]) -> None:
    peer, _ = listener.accept()
    buffer = bytearray(_BUFFER_SIZE)
    with peer:
        while size := peer.recv_into(buffer):
            taken.append(size)


def _record(sender: Process, door: str, path: Path) -> tuple[dict[str, Any], float]:
    """The recorder's summary, and the most memory it was seen to have."""
    recorder = start_recorder(path, "--pid", str(sender.pid), "--door", door)
    most = 0.0
    try:
        os.kill(sender.pid, signal.SIGUSR1)
        while sender.exit_status is None:
            most = max(most, read_memory(list_family(recorder.pid)))
            time.sleep(_WATCH_SECONDS)
    finally:
        status = recorder.stop(signal.SIGINT, END_SECONDS)
    if status != 0:
        raise ProcessError(f"kebpf record ended with {status}:\n{recorder.tail()}")
    summary: dict[str, Any] = json.loads(recorder.lines[-1])
    return summary, most


def _show(
    door: str, seconds: float, size: int, memory: float, summary: dict[str, Any]
) -> Iterator[Figure]:
    name = f"bulk, door {door}"
    known = summary["bytes"] + summary["lost_bytes"] + summary.get("given_up_bytes", 0)
    yield Figure(f"{name}: speed", f"{size / seconds / 1e6:,.0f} MB/s")
    yield Figure(f"{name}: captured", f"{summary['bytes'] / size:.1%} of {size:,} bytes")
    yield Figure(f"{name}: accounted for", f"{known:,}", "all", known == size)
    yield below(f"{name}: recorder's memory", memory, MOST_MEMORY, "MB")
