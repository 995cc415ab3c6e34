"""Measures what recording costs and how fast replay is; prints figures and writes RESULTS.md.

Run by `make bench`.  Exits 0 also when a target was missed: machines differ; 3 when it cannot run.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.assembler_speed import measure_assembler
from benchmarks.bulk_speed import measure_bulk
from benchmarks.bystander_speed import measure_bystander
from benchmarks.case_speed import measure_cases
from benchmarks.figures import Figure, show_figure, summarise
from benchmarks.http_speed import measure_http
from benchmarks.matching_speed import measure_matching
from benchmarks.overhead_speed import measure_overhead
from benchmarks.postgres_speed import measure_postgres
from benchmarks.probe_speed import measure_probes
from benchmarks.reader_speed import measure_reader
from benchmarks.redis_speed import measure_redis
from benchmarks.responder_speed import measure_responder
from benchmarks.results import write_results
from benchmarks.shop_speed import measure_shop
from benchmarks.tls_speed import measure_tls
from examples.processes import ProcessError, exiting_on_signals
from kebpf.capture.probes import Door, choose_door
from kebpf.kernel.btf import Btf

SUBJECTS = (
    "shop",
    "http",
    "tls",
    "probes",
    "redis",
    "reader",
    "postgres",
    "bystander",
    "bulk",
    "assembler",
    "cases",
    "matching",
    "responder",
    "overhead",
)
DOORS = {Door.A: ["a", "b"], Door.B: ["b"]}  # by what the kernel has


def measure(subjects: Sequence[str], rounds: int, folder: Path) -> Iterator[Figure]:
    """All figures, each as soon as it is known."""
    doors = DOORS[choose_door(Btf.load())]
    measures: dict[str, Callable[[], Iterator[Figure]]] = {
        "shop": lambda: measure_shop(doors, rounds, folder),
        "http": lambda: measure_http(doors, rounds, folder),
        "tls": lambda: measure_tls(doors, rounds, folder),
        "probes": lambda: measure_probes(rounds),
        "redis": lambda: measure_redis(doors, rounds, folder),
        "reader": lambda: measure_reader(doors, rounds, folder),
        "postgres": lambda: measure_postgres(doors, rounds, folder),
        "bystander": lambda: measure_bystander(doors, rounds, folder),
        "bulk": lambda: measure_bulk(doors, folder),
        "assembler": lambda: measure_assembler(rounds),
        "cases": lambda: measure_cases(rounds),
        "matching": lambda: measure_matching(rounds, folder),
        "responder": lambda: measure_responder(rounds, folder),
        "overhead": lambda: measure_overhead(rounds, folder),
    }
    for subject in subjects:
        yield from measures[subject]()


def describe_machine() -> str:
    """Kernel, door and processors."""
    processors = len(os.sched_getaffinity(0))
    door = choose_door(Btf.load()).value.upper()
    names = re.findall(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    model = names[0] if names else platform.machine()
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / (1 << 30)
    machine = f"{processors} processors ({model}), {memory:.0f} GiB"
    return f"Linux {platform.release()}, door {door} by default, {machine}"


def run(subjects: Sequence[str], rounds: int, has_results: bool) -> None:
    """Measures and prints."""
    machine = describe_machine()
    print(f"{machine}\nload {os.getloadavg()[0]:.1f} at the start")
    print("Ratios: observed to not observed, median of interleaved rounds (least–most).")
    figures = []
    with tempfile.TemporaryDirectory(prefix="kebpf-bench-") as folder:
        for figure in measure(subjects, rounds, Path(folder)):
            print(show_figure(figure), flush=True)
            figures.append(figure)
    print("\n".join(summarise(figures)))
    if has_results:
        write_results(figures, machine)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=f"{', '.join(SUBJECTS)}")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    unknown = set(given.subjects).difference(SUBJECTS)
    if unknown:
        parser.error(f"no such subject: {', '.join(sorted(unknown))}")
    if os.geteuid() != 0:
        print("recording needs root: sudo, or make bench", file=sys.stderr)
        return 3
    try:
        with exiting_on_signals():
            run(given.subjects or SUBJECTS, given.rounds, has_results=not given.subjects)
    except ProcessError as error:
        print(f"the benchmark cannot go on: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
