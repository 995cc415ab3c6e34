"""How many requests a second of processor time become test cases, calls and files included.

From records as in the ring to a whole test set, in memory.  Alone: ``python -m
benchmarks.case_speed``, or with the event log of a real recording (``--keep-events``) after it.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.event_logs import PIECE_NS, RUN_SIZE, Line, Traffic, make_log
from benchmarks.figures import Figure, show_figure
from benchmarks.traffic import TRAFFIC
from kebpf.capture.eventlog import EventLog, LogHead
from kebpf.recording.model import Manifest
from kebpf.recording.pipeline import Pipeline
from kebpf.recording.writer import TestSetWriter

REQUESTS = 3_000
CALLS = ("postgres", "postgres", "redis")  # of each request, one after the other
LEAST = {"plain HTTP": 3_000, "HTTP with 3 calls": 1_000}  # requests a second
_MEMORY = Path("/dev/shm")
_BEGUN_NS = 1_000_000_000
_HEAD = LogHead(
    clock_offset_ns=1_790_000_000 * 1_000_000_000,
    pids=[],
    listening=[],
    sockets=[],
    command=[],
    executable="",
    kernel="",
)


def find_traffic(name: str) -> Traffic:
    """The first of that name.  Raises ``StopIteration`` if there is none."""
    return next(one for one in TRAFFIC if one.name.startswith(name))


def make_served_log(requests: int) -> list[bytes]:
    """Runs of records of requests that make `CALLS` before they are answered."""
    clock = itertools.count(_BEGUN_NS, PIECE_NS)
    kinds = [find_traffic(name) for name in ("http", *CALLS)]
    lines = [Line(n, one.role, one.port, clock) for n, one in enumerate(kinds, 1)]
    records = [_open(one, line) for one, line in zip(kinds, lines, strict=True)]
    for number in range(requests):
        turns = [one.turn(number) for one in kinds]
        records += map(lines[0].ask, turns[0][0])
        for line, (asked, answered) in list(zip(lines, turns, strict=True))[1:]:
            records += [*map(line.ask, asked), *map(line.answer, answered)]
        records += map(lines[0].answer, turns[0][1])
    return [b"".join(part) for part in _batch(records)]


def _open(traffic: Traffic, line: Line) -> bytes:
    pieces = [line.open()]
    for asked, answered in traffic.lead:
        pieces += [line.ask(asked), line.answer(answered)]
    return b"".join(pieces)


def _batch(records: list[bytes]) -> Iterator[list[bytes]]:
    size = max(1, RUN_SIZE * len(records) // sum(map(len, records)))
    for start in range(0, len(records), size):
        yield records[start : start + size]


def write_cases(runs: list[bytes], head: LogHead = _HEAD) -> tuple[Manifest, float]:
    """Makes a test set, which is removed; what is in it, and the seconds of processor time."""
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        begun = time.process_time()
        pipeline = Pipeline(TestSetWriter(Path(folder, "set")), "set", head)
        for run in runs:
            pipeline.feed(run)
            pipeline.settle()
        manifest = pipeline.finish(None, 0.0, 0)
        return manifest, time.process_time() - begun


def measure_cases(rounds: int, requests: int = REQUESTS) -> Iterator[Figure]:
    """Requests a second.  Raises ``ValueError`` if they did not all become cases."""
    logs = {
        "plain HTTP": (make_log(find_traffic("http"), requests), 0),
        "HTTP with 3 calls": (make_served_log(requests), len(CALLS) * requests),
    }
    speeds: dict[str, list[float]] = {name: [] for name in logs}
    for _ in range(rounds):
        for name, (runs, calls) in logs.items():
            manifest, seconds = write_cases(runs)
            if manifest.test_cases != requests or manifest.mocks < calls:
                raise ValueError(f"{manifest.test_cases:,} cases, {manifest.mocks:,} mocks")
            speeds[name].append(requests / seconds)
    for name, found in speeds.items():
        value = f"{median(found):,.0f} ({min(found):,.0f}–{max(found):,.0f})"
        least = LEAST[name]
        yield Figure(f"cases a second, {name}", value, f"≥ {least:,}", median(found) >= least)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("log", nargs="?", type=Path, help="an event log instead of made-up traffic")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    if given.log is None:
        for figure in measure_cases(given.rounds):
            print(show_figure(figure), flush=True)
        return
    log = EventLog(given.log)
    runs = list(log.runs())
    results = [write_cases(runs, log.head) for _ in range(given.rounds)]
    speeds = [manifest.test_cases / seconds for manifest, seconds in results]
    print(f"{results[0][0].test_cases:,} cases: {median(speeds):,.0f} a second")


if __name__ == "__main__":
    main()
