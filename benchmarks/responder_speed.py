"""The responder as a server on one processor, beside the servers it stands for.

Alone: ``python -m benchmarks.responder_speed``.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.figures import Figure, above, below, pair_ratios, ratio, show_figure
from benchmarks.http_speed import running_service
from benchmarks.observers import MITMPROXY, find_missing, replaying_mitmproxy
from benchmarks.postgres_speed import FORMS, running_postgres
from benchmarks.redis_speed import running_redis
from examples.processes import ProcessError, find_program
from examples.recorder import launch_recorder

CONNECTIONS = 16
COMMANDS = 30_000  # of each kind
TRANSACTIONS = 1_000  # of each connection
WRK_SECONDS = 1
RECORDED_SECONDS = 3  # so that the responder has enough to answer with
END_SECONDS = 300.0
REDIS_SPEED, REDIS_CPU = 20_000, 50.0  # commands a second, microseconds of processor time each
POSTGRES_SPEED, POSTGRES_CPU = 10_000, 100.0


@dataclass(frozen=True)
class Program:
    """What makes the calls; ``read_speed`` finds the calls a second in what it prints."""

    name: str
    command: list[str]
    read_speed: Callable[[str], float]
    least: float | None = None
    most_cpu: float | None = None
    recorded: list[str] | None = None  # where more is to be recorded than is replayed


@dataclass
class Found:
    """A value a round."""

    real: list[float] = field(default_factory=list)
    mocked: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def redis_program(port: int) -> Program:
    """GET and SET, one at a time on each connection."""
    numbers = ["-p", str(port), "-n", str(COMMANDS), "-c", str(CONNECTIONS), "-P", "1"]
    command = [str(find_program("redis-benchmark")), *numbers, "-t", "get,set", "--csv"]
    return Program("redis GET, SET", command, read_redis_speed, REDIS_SPEED, REDIS_CPU)


def read_redis_speed(printed: str) -> float:
    """Commands a second over both kinds, of which there were as many."""
    lines = [line for line in printed.splitlines() if line.startswith('"')]
    rows = list(csv.DictReader(lines))
    return len(rows) / sum(1 / float(row["rps"]) for row in rows)


def postgres_program(port: int, form: str) -> Program:
    """The same queries each time, one at a time on each connection."""
    program = find_program("pgbench", "usr/lib/postgresql/*/bin/pgbench")
    load = ["-S", "-n", "-c", str(CONNECTIONS), "-t", str(TRANSACTIONS), "--random-seed=42"]
    where = ["-M", form, "-h", "127.0.0.1", "-p", str(port), "-U", "owner", "postgres"]
    command = [str(program), *load, *where]
    return Program(f"pgbench -S {form}", command, read_tps, POSTGRES_SPEED, POSTGRES_CPU)


def read_tps(printed: str) -> float:
    """Queries a second, connecting aside."""
    return _number(r"tps = ([\d.]+)", printed)


def http_program(url: str) -> Program:
    """wrk; how many requests it makes depends on the speed."""
    wrk = [str(find_program("wrk")), "-t1", f"-c{CONNECTIONS}"]
    command, recorded = ([*wrk, f"-d{n}s", url] for n in (WRK_SECONDS, RECORDED_SECONDS))
    return Program("HTTP, wrk", command, read_wrk_speed, recorded=recorded)


def read_wrk_speed(printed: str) -> float:
    """Requests a second."""
    if "Non-2xx" in printed:
        raise ProcessError(f"wrk met errors:\n{printed}")
    return _number(r"Requests/sec:\s+([\d.]+)", printed)


def _number(pattern: str, printed: str) -> float:
    found = re.search(pattern, printed)
    if found is None:
        raise ProcessError(f"the load said something else:\n{printed}")
    return float(found[1])


def record_program(program: Program, path: Path) -> None:
    """Records a run of the program.  Raises `ProcessError`."""
    recorder = launch_recorder(path, command=program.recorded or program.command)
    try:
        status = recorder.wait(END_SECONDS)
    finally:
        recorder.stop()
    if status != 0:
        raise ProcessError(f"kebpf record failed:\n{recorder.tail()}")


def run_real(program: Program) -> float:
    """Calls a second of the real server."""
    return program.read_speed(_run(program.command))


def run_mocked(program: Program, path: Path) -> tuple[float, float]:
    """Calls a second of the responder, and microseconds of its processor time for each."""
    words = [sys.executable, "-m", "benchmarks.mocked", str(path), *program.command]
    printed = _run(words)
    told = json.loads(printed.splitlines()[-1])
    if told["missed"]:
        raise ProcessError(f"{told['missed']} of the calls of {program.name} had no answer")
    return program.read_speed(printed), told["cpu"] / told["calls"] * 1e6


def _run(words: Sequence[str]) -> str:
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=END_SECONDS, check=True
        )
    except subprocess.CalledProcessError as error:
        raise ProcessError(f"{words[0]} failed:\n{error.stdout}{error.stderr}") from error
    return done.stdout


def measure_program(
    program: Program, rounds: int, folder: Path, beside: Callable[[], float] | None = None
) -> Iterator[Figure]:
    """Speed and processor time, the real server and the responder in turn."""
    record_program(program, folder)
    found, others = Found(), []
    for _ in range(rounds):
        found.real.append(run_real(program))
        speed, cpu = run_mocked(program, folder)
        found.mocked.append(speed)
        found.cpu.append(cpu)
        if beside is not None:
            others.append(beside())
    yield from show(program, found)
    if others:
        name = f"responder, {program.name}: to {MITMPROXY}"
        yield ratio(name, pair_ratios(found.mocked, others), least=1.0)


def show(program: Program, found: Found) -> Iterator[Figure]:
    """The figures of one program."""
    name, cpu, speed = f"responder, {program.name}", median(found.cpu), median(found.mocked)
    if program.most_cpu is not None and program.least is not None:
        yield below(f"{name}: CPU a call", cpu, program.most_cpu, "µs")
        yield above(f"{name}: calls/s", speed, program.least, "")
    else:
        yield Figure(f"{name}: CPU a call", f"{cpu:.0f} µs")
        yield Figure(f"{name}: calls/s", f"{speed:,.0f}")
    yield ratio(f"{name}: to the real server", pair_ratios(found.mocked, found.real))


def measure_responder(rounds: int, folder: Path) -> Iterator[Figure]:
    """All three protocols."""
    folder = folder / "responder"
    folder.mkdir()
    with running_redis(folder) as (_, port):
        yield from measure_program(redis_program(port), rounds, folder / "redis")
    with running_postgres() as (_, port, _scratch):
        for form in FORMS:
            yield from measure_program(postgres_program(port, form), rounds, folder / form)
    with running_service() as (_, port), _other_replay(port, folder) as other:
        program = http_program(f"http://127.0.0.1:{port}/")
        yield from measure_program(program, rounds, folder / "http", other)


@contextmanager
def _other_replay(port: int, folder: Path) -> Iterator[Callable[[], float] | None]:
    """What measures mitmproxy's server replay, where it can be installed."""
    if find_missing(MITMPROXY):
        yield None
        return
    with replaying_mitmproxy(port, folder / "mitmproxy") as its_port:
        yield lambda: run_real(http_program(f"http://127.0.0.1:{its_port}/"))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kebpf-responder-") as folder:
        for figure in measure_responder(given.rounds, Path(folder)):
            print(show_figure(figure), flush=True)


if __name__ == "__main__":
    main()
