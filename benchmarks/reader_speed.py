"""The processor time that the recorder's own threads take for an event of a busy redis-server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.figures import Figure, below, spread
from benchmarks.loads import load_redis
from benchmarks.observers import observed
from benchmarks.redis_speed import running_redis
from benchmarks.usage import read_thread_time
from examples.processes import ProcessError

REQUESTS = 500_000
EVENTS = 2  # a request is a read and a write
MOST = 1.0  # microseconds
_TLS_NICENESS = -10


def measure_reader(doors: list[str], rounds: int, folder: Path) -> Iterator[Figure]:
    """Of the reader, and of the thread that looks for TLS libraries, of which there is none."""
    place = folder / "reader"
    place.mkdir()
    with running_redis(place) as (server, port):
        found: dict[str, list[tuple[float, float]]] = {door: [] for door in doors}
        for number in range(rounds):
            for door in doors:
                path = place / f"{number}{door}"
                found[door].append(_measure_round(server.pid, port, door, path))
    for door, samples in found.items():
        name = f"reader, redis -c 20, door {door}"
        readers, others = zip(*samples, strict=True)
        yield spread(f"{name}: an event", readers, "µs")
        yield below(f"{name}: median", median(readers), MOST, "µs")
        yield spread(f"{name}: TLS watch", others, "µs")


def _measure_round(target: int, port: int, door: str, folder: Path) -> tuple[float, float]:
    """Microseconds of both threads for an event."""
    with observed(door, target, port, folder) as observer:
        if observer.process is None:
            raise ProcessError("nothing records")
        threads = find_threads(observer.process.pid)
        load_redis(port, REQUESTS // 5)
        begun = [read_thread_time(thread) for thread in threads]
        load_redis(port, REQUESTS)
        reader, other = (
            (read_thread_time(thread) - before) / (REQUESTS * EVENTS) * 1e6
            for thread, before in zip(threads, begun, strict=True)
        )
    return reader, other


def find_threads(pid: int) -> tuple[int, int]:
    """A recorder's reader and its TLS watch, by how they are scheduled."""
    threads = [int(path.name) for path in Path(f"/proc/{pid}/task").iterdir()]
    policies = {one: os.sched_getscheduler(one) & ~os.SCHED_RESET_ON_FORK for one in threads}
    readers = [one for one in threads if policies[one] == os.SCHED_FIFO]
    others = [one for one in threads if os.getpriority(os.PRIO_PROCESS, one) == _TLS_NICENESS]
    if len(readers) != 1 or len(others) != 1:
        raise ProcessError("the recorder's threads are not scheduled as they should be")
    return readers[0], others[0]
