"""How many exchanges a second of processor time the assembler makes of recorded events.

Everything between the ring and the builder: records → events → streams → messages → exchanges.
Alone: ``python -m benchmarks.assembler_speed``; needs no root.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from statistics import median

from benchmarks.event_logs import Traffic, make_log
from benchmarks.figures import Figure, show_figure, summarise
from benchmarks.traffic import TRAFFIC
from kebpf.reassembly.tracker import Tracker
from kebpf.recording.model import RecordedExchange
from kebpf.recording.watcher import Watcher

EXCHANGES = 20_000
LEAST = {"http": 15_000, "redis": 25_000, "postgres": 10_000}  # exchanges a second


class Counter:
    """Counts exchanges, and those with a problem."""

    def __init__(self) -> None:
        self.exchanges = 0
        self.problems = 0

    def take(self, recorded: RecordedExchange) -> None:
        self.exchanges += 1
        self.problems += recorded.exchange.problem is not None


def assemble(runs: list[bytes]) -> Counter:
    """Makes the exchanges of a log.  Raises `kebpf.capture.events.EventError`."""
    counter = Counter()
    watcher = Watcher(counter.take, 0)
    tracker = Tracker(watcher)
    for run in runs:
        tracker.feed_run(run)
        tracker.release_late()
    tracker.finish({})
    return counter


def measure_speed(runs: list[bytes], exchanges: int, is_counted: bool) -> float:
    """Exchanges a second of processor time.  Raises ``ValueError`` if they are not all there."""
    begun = time.process_time()
    counter = assemble(runs)
    seconds = time.process_time() - begun
    if counter.problems or (counter.exchanges < exchanges) != is_counted:
        raise ValueError(f"{counter.exchanges:,} of {exchanges:,} exchanges came out")
    return exchanges / seconds


def measure_assembler(
    rounds: int, exchanges: int = EXCHANGES, names: list[str] | None = None
) -> Iterator[Figure]:
    """Exchanges a second by kind of traffic, over interleaved rounds."""
    chosen = [one for one in TRAFFIC if not names or any(name in one.name for name in names)]
    logs = {one.name: make_log(one, exchanges) for one in chosen}
    speeds: dict[str, list[float]] = {name: [] for name in logs}
    for _ in range(rounds):
        for one in chosen:
            speeds[one.name].append(measure_speed(logs[one.name], exchanges, one.is_counted))
    for one in chosen:
        yield _figure(one, speeds[one.name])


def _figure(traffic: Traffic, speeds: list[float]) -> Figure:
    value = f"{median(speeds):,.0f} ({min(speeds):,.0f}–{max(speeds):,.0f})"
    least = LEAST.get(traffic.name.partition(":")[0])
    if least is None:
        return Figure(f"assembler, {traffic.name}", value)
    return Figure(f"assembler, {traffic.name}", value, f"≥ {least:,}", median(speeds) >= least)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("traffic", nargs="*", help="parts of names (default: all)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--exchanges", type=int, default=EXCHANGES)
    given = parser.parse_args()
    print("Exchanges per second of processor time, median of interleaved rounds (least–most).")
    figures = []
    for figure in measure_assembler(given.rounds, given.exchanges, given.traffic):
        print(show_figure(figure), flush=True)
        figures.append(figure)
    print("\n".join(summarise(figures)))


if __name__ == "__main__":
    main()
