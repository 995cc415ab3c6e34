"""What a test run adds to a case: its time in `kebpf test` less that of the same request alone.

A request alone goes to the same service with the real Redis behind it, on a connection of its
own, as in a test run.  Alone: ``python -m benchmarks.overhead_speed``.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks.figures import Figure, below, show_figure
from benchmarks.redis_speed import running_redis
from examples.processes import Process, ProcessError, find_free_port
from examples.recorder import ROOT, find_kebpf, start_recorder, with_sources

CALLS = (0, 2, 10)  # of a case
CASES = 100  # of each
MOST_MS = 2.0
TEST_SECONDS = 300.0


@contextmanager
def running_service(port: int, redis_port: int) -> Iterator[Process]:
    """`benchmarks.calling_service`, ready."""
    service = Process("service", _command(port, redis_port), environment=with_sources(os.environ))
    try:
        service.wait_for(lambda line: line == "serving")
        yield service
    finally:
        service.stop()


def _command(port: int, redis_port: int) -> list[str]:
    return [sys.executable, "-m", "benchmarks.calling_service", str(port), str(redis_port)]


def ask(port: int, calls: int, number: int) -> float:
    """Milliseconds from connecting to the end of the answer.  Raises `ProcessError`."""
    begun = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"GET /{calls}/{number} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    if not answer.endswith(b"\r\n\r\nok"):
        raise ProcessError(f"the service answered {answer!r}")
    return (time.perf_counter() - begun) * 1000


def ask_all(port: int) -> dict[int, list[float]]:
    """Every request once; the times by the number of calls."""
    return {calls: [ask(port, calls, number) for number in range(CASES)] for calls in CALLS}


def measure_overhead(rounds: int, folder: Path) -> Iterator[Figure]:
    """Requests alone and the same as cases, in turn."""
    folder, port = folder / "overhead", find_free_port()
    folder.mkdir()
    alone: dict[int, list[float]] = {calls: [] for calls in CALLS}
    tested: dict[int, list[float]] = {calls: [] for calls in CALLS}
    with running_redis(folder) as (_, redis_port):
        with running_service(port, redis_port) as service:
            ask_all(port)
            recorder = start_recorder(folder / "set", "--pid", str(service.pid))
            ask_all(port)
            if recorder.stop(signal.SIGINT, TEST_SECONDS) != 0:
                raise ProcessError(f"kebpf record failed:\n{recorder.tail()}")
        for _ in range(rounds):
            with running_service(port, redis_port):
                _add(alone, ask_all(port))
            _add(tested, test(folder, _command(port, redis_port)))
    for calls in CALLS:
        value = median(tested[calls]) - median(alone[calls])
        yield below(f"test run, over a case of {calls} calls", value, MOST_MS, "ms")


def _add(found: dict[int, list[float]], more: dict[int, list[float]]) -> None:
    for calls, times in more.items():
        found[calls] += times


def test(folder: Path, command: list[str]) -> dict[int, list[float]]:
    """Milliseconds of each case by its number of calls.  Raises `ProcessError` unless all pass."""
    report = folder / "events.jsonl"
    words = [*find_kebpf(), "test", "-c", shlex.join(command), str(folder / "set")]
    done = subprocess.run(
        [*words, "--json", str(report)],
        env=with_sources(os.environ),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TEST_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise ProcessError(f"kebpf test ended with {done.returncode}:\n{done.stdout[-2000:]}")
    events = map(json.loads, report.read_text().splitlines())
    cases = [event for event in events if event["event"] == "case_finished"]
    found: dict[int, list[float]] = {calls: [] for calls in CALLS}
    for case in cases:
        calls = re.search(r"/(\d+)/\d+", case["curl"])
        if calls is not None:
            found[int(calls[1])].append(case["seconds"] * 1000)
    if len(cases) != CASES * len(CALLS):
        raise ProcessError(f"{len(cases)} cases of {CASES * len(CALLS)} requests")
    return found


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kebpf-overhead-") as folder:
        for figure in measure_overhead(given.rounds, Path(folder)):
            print(show_figure(figure), flush=True)


if __name__ == "__main__":
    main()
