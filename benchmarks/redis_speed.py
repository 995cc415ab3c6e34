"""How fast a saturated redis-server answers redis-benchmark with and without recording."""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.figures import Figure, pair_ratios, ratio
from benchmarks.rounds import OFF, run_rounds
from examples.processes import Process, find_free_port, find_program

REQUESTS = 100_000
CLIENTS = 50
LEAST = 0.95  # of the speed without recording: "a few per cent"


@contextmanager
def running_redis(folder: Path) -> Iterator[tuple[Process, int]]:
    """A private server that keeps nothing, and its port."""
    port = find_free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    server = Process("redis", [find_program("redis-server"), *options])
    try:
        server.wait_for(lambda line: "eady to accept connections" in line)
        yield server, port
    finally:
        server.stop()


def run_redis_benchmark(port: int) -> float:
    """Requests per second of GET."""
    options = ["-p", str(port), "-n", str(REQUESTS), "-c", str(CLIENTS), "-t", "get", "--csv"]
    done = subprocess.run(
        [find_program("redis-benchmark"), *options], capture_output=True, text=True, check=True
    )
    return float(list(csv.DictReader(done.stdout.splitlines()))[-1]["rps"])


def measure_redis(doors: list[str], rounds: int, folder: Path) -> Iterator[Figure]:
    """Speed and processor time of the server, recorded through each door, to those without."""
    with running_redis(folder) as (server, port):
        found = run_rounds(server.pid, lambda: run_redis_benchmark(port), doors, rounds, folder)
    plain = found[OFF]
    for door in doors:
        speeds = pair_ratios(found[door].speeds, plain.speeds)
        costs = pair_ratios(found[door].costs, plain.costs)
        yield ratio(f"redis requests/s, door {door}", speeds, LEAST)
        yield ratio(f"redis processor time, door {door}", costs)
        memory = max(found[door].memories)
        yield Figure(f"memory amid redis-benchmark, door {door}", f"{memory:.4g} MB")
