"""The agent's status as one object, which ``kebpf status`` and the metrics are made from."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kebpf.agent.tally import Tally
from kebpf.agent.watching import TargetWatch
from kebpf.agent.worker import Worker


def describe_target(watch: TargetWatch) -> dict[str, Any]:
    """One target: numbers, names of its own processes and paths, nothing that was recorded."""
    tally, workers, current = watch.tally, watch.workers, watch.current
    followed = watch.followed
    return {
        "name": watch.config.name,
        "follows": watch.config.describe(),
        "state": find_state(watch),
        "processes": [
            {"pid": one.pid, "program": one.program.name, "version": one.version.digest}
            for one in followed
        ],
        "watched": sorted({pid for one in workers for pid in one.watched}),
        "version": current.version if current else "",
        "set": str(current.order.folder) if current else "",
        "last_set": str(tally.last_set or ""),
        "recorders": [one.pid for one in workers],
        "rate": round(tally.rate, 1),
        **count_all(tally, workers),
        "programs_followed": tally.followed,
        "follow_seconds": tally.last_latency,
        "longest_follow_seconds": tally.longest_latency,
        "sets": tally.sets,
        "failures": tally.failures,
        "last_error": tally.last_error,
        "last_error_at": tally.last_error_at,
    }


def count_all(tally: Tally, workers: list[Worker]) -> dict[str, int]:
    """Counters since the agent began."""
    counted = {
        name: tally.count(name, workers)
        for name in ("requests", "unique", "test_cases", "mocks", "events", "lost_events")
    }
    lost = ("lost_size", "unfollowed_size", "given_up_size")
    counted["lost_bytes"] = sum(tally.count(name, workers) for name in lost)
    counted["captured_bytes"] = tally.count("captured_size", workers)
    return counted


def find_state(watch: TargetWatch) -> str:
    """One word."""
    if watch.is_paused:
        return "failing"
    if watch.current is not None and watch.followed:
        return watch.current.stage.value
    return "waiting"


def describe_agent(
    watches: Iterable[TargetWatch], output: Path, started: float, config_error: str
) -> dict[str, Any]:
    """All of it; ``started`` is in seconds since the epoch."""
    targets = [describe_target(watch) for watch in watches]
    recorders = [pid for target in targets for pid in target["recorders"]]
    return {
        "pid": os.getpid(),
        "started": round(started, 3),
        "now": round(time.time(), 3),
        "output": str(output),
        "disk_bytes": measure_folder(output),
        "memory_bytes": sum(map(measure_memory, [os.getpid(), *recorders])),
        "config_error": config_error,
        "targets": targets,
    }


def measure_folder(folder: Path) -> int:
    """Bytes on the disk of all there is."""
    size = 0
    for name, _, files in os.walk(folder):
        for file in files:
            try:
                size += Path(name, file).lstat().st_blocks * 512
            except OSError:  # gone meanwhile
                continue
    return size


def measure_memory(pid: int) -> int:
    """Bytes of a process that no other one shares, with its part of what is shared; 0: gone."""
    size = 0
    for one in (pid, *_list_children(pid)):
        try:
            with open(f"/proc/{one}/smaps_rollup") as file:  # noqa: PTH123 - read often
                size += next((int(line.split()[1]) for line in file if line.startswith("Pss:")), 0)
        except OSError:
            continue
    return size * 1024


def _list_children(pid: int) -> list[int]:
    try:
        return [int(w) for w in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
