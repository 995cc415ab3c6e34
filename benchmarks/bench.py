"""Measures what recording costs and how fast replay is; prints figures, targets and a summary.

Run by `make bench`.  Exits 0 also when a target was missed: machines differ; 3 when it cannot run.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Figure, show_figure, summarise
from benchmarks.redis_speed import measure_redis
from benchmarks.shop_speed import measure_shop
from examples.processes import ProcessError, exiting_on_signals
from kebpf.capture.probes import Door, choose_door
from kebpf.kernel.btf import Btf

DOORS = {Door.A: ["a", "b"], Door.B: ["b"]}  # by what the kernel has


def measure(subjects: list[str], rounds: int, folder: Path) -> Iterator[Figure]:
    """All figures, each as soon as it is known."""
    doors = DOORS[choose_door(Btf.load())]
    if "shop" in subjects:
        yield from measure_shop(doors, rounds, folder)
    if "redis" in subjects:
        yield from measure_redis(doors, rounds, folder)


def run(subjects: list[str], rounds: int) -> None:
    """Measures and prints."""
    processors = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    print(f"Linux {platform.release()}, {processors} processors, load {load:.1f} at the start")
    print("Ratios: recorded to not recorded, median of interleaved rounds (least–most).")
    figures = []
    with tempfile.TemporaryDirectory(prefix="kebpf-bench-") as folder:
        for figure in measure(subjects, rounds, Path(folder)):
            print(show_figure(figure), flush=True)
            figures.append(figure)
    print("\n".join(summarise(figures)))


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("subjects", nargs="*", help="shop, redis (default: both)")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    if os.geteuid() != 0:
        print("recording needs root: sudo, or make bench", file=sys.stderr)
        return 3
    try:
        with exiting_on_signals():
            run(given.subjects or ["shop", "redis"], given.rounds)
    except ProcessError as error:
        print(f"the benchmark cannot go on: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
