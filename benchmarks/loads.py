"""The load generators people use, run once: what speed they reached and how long answers took."""

from __future__ import annotations

import csv
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

from examples.processes import ProcessError, find_program

_LOAD_SECONDS = 600.0
_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}  # to milliseconds


@dataclass(frozen=True)
class Load:
    """What one load reached: requests per second, and times to an answer in milliseconds."""

    requests: int
    speed: float
    p50: float
    p99: float


def load_redis(port: int, requests: int, *options: str, command: str = "get") -> Load:
    """redis-benchmark with ``-c 20``; ``options`` such as ``-P 16`` beside it."""
    numbers = ["-p", str(port), "-n", str(requests), "-c", "20", "-t", command, "--csv"]
    printed = _run([find_program("redis-benchmark"), *numbers, *options])
    row = list(csv.DictReader(printed.splitlines()))[-1]
    p50, p99 = float(row["p50_latency_ms"]), float(row["p99_latency_ms"])
    return Load(requests, float(row["rps"]), p50, p99)


def load_http(url: str, seconds: float, connections: int) -> Load:
    """wrk with one thread, for whole seconds."""
    options = ["-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency"]
    printed = _run([find_program("wrk"), *options, url])
    if "Non-2xx" in printed or "Socket errors" in printed:
        raise ProcessError(f"wrk met errors:\n{printed}")
    speed = re.search(r"Requests/sec:\s+([\d.]+)", printed)
    total = re.search(r"(\d+) requests in", printed)
    if speed is None or total is None:
        raise ProcessError(f"wrk said something else:\n{printed}")
    p50, p99 = (_percentile(printed, number) for number in (50, 99))
    return Load(int(total[1]), float(speed[1]), p50, p99)


def load_postgres(
    folder: Path, port: int, seconds: int, form: str, logs: Path, user: str | None
) -> Load:
    """``pgbench -S`` with four clients over TCP; ``form`` is simple, extended or prepared."""
    prefix = logs / "transactions"
    options = ["-S", "-n", "-c4", f"-T{seconds}", "-M", form, "-l", f"--log-prefix={prefix}"]
    where = ["-h", "127.0.0.1", "-p", str(port), "-U", "owner", "postgres"]
    as_user = [] if user is None else ["runuser", "-u", user, "--"]
    printed = _run([*as_user, folder / "pgbench", *options, *where])
    speed = re.search(r"tps = ([\d.]+)", printed)
    if speed is None:
        raise ProcessError(f"pgbench said something else:\n{printed}")
    times = []
    for log in logs.glob("transactions.*"):
        times += [int(line.split()[2]) / 1e3 for line in log.read_text().splitlines()]
        log.unlink()
    cuts = quantiles(times, n=100)
    return Load(len(times), float(speed[1]), cuts[49], cuts[98])


def _percentile(printed: str, number: int) -> float:
    found = re.search(rf"^\s+{number}%\s+([\d.]+)(us|ms|s)$", printed, re.MULTILINE)
    if found is None:
        raise ProcessError(f"wrk gave no percentiles:\n{printed}")
    return float(found[1]) * _UNITS[found[2]]


def _run(arguments: Sequence[str | Path]) -> str:
    try:
        done = subprocess.run(
            list(map(str, arguments)),
            capture_output=True,
            text=True,
            timeout=_LOAD_SECONDS,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        raise ProcessError(f"{arguments[0]} failed:\n{error.stderr}{error.stdout}") from None
    return done.stdout
