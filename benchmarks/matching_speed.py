"""What choosing a mock costs among few and among many, and how much memory a large file takes.

Alone: ``python -m benchmarks.matching_speed``.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from benchmarks.figures import Figure, below, pair_ratios, ratio, show_figure, spread
from kebpf.protocols.base import Document, Miss
from kebpf.protocols.registry import load_protocols
from kebpf.recording.mockfile import pack_mock, read_mock
from kebpf.recording.model import Endpoint, Evidence, Mock, TestCase, Tier, Timing
from kebpf.replay.binding import Bindings
from kebpf.replay.matcher import Matcher

FEW, MANY = 100, 100_000
CALLS_OF_CASE = 10
CASES_A_ROUND = 50
MOST_SLOWER = 1.5
MOST_GROWN_MB = 100.0  # what a million mocks may take
SMALL, LARGE = 10 << 20, 1 << 30  # bytes of a file
PLACE = Endpoint("tcp", "10.0.0.5", 5432)
SQL = "SELECT id, total FROM orders WHERE customer = $1 AND status = $2"
SECOND = 1_000_000_000
BEGUN_NS = 1_790_000_000 * SECOND


class MocksAlone:
    """A file of mocks without a test set around it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def cases(self) -> list[TestCase]:
        """None: the benchmark makes them up."""
        return []

    def iter_mocks(self) -> Iterator[tuple[int, Mock]]:
        """Every mock with its offset."""
        with self._path.open("rb") as file:
            offset = 0
            while (mock := read_mock(file)) is not None:
                yield offset, mock
                offset = file.tell()

    def mock_at(self, offset: int) -> Mock:
        """The mock at an offset.  Raises ``ValueError`` where none is."""
        with self._path.open("rb") as file:
            file.seek(offset)
            mock = read_mock(file)
        if mock is None:
            raise ValueError(f"no mock at {offset}")
        return mock


def make_request(number: int) -> Document:
    """The call that the mock of that number answers."""
    parameters = [str(number), "open"]
    return {"kind": "query", "sql": SQL, "parameters": parameters, "database": "shop"}


def name_case(number: int) -> str:
    """The case of that number."""
    return f"get-orders-id-{number:06x}"


def write_mocks(file: IO[bytes], count: int, body_size: int) -> None:
    """So many mocks, `CALLS_OF_CASE` a case, each with a row of ``body_size`` bytes."""
    for number in range(count):
        row = f"{number:08} " * (body_size // 9 + 1)
        when = BEGUN_NS + number * 1000
        mock = Mock(
            name=f"mock-{number:06}",
            protocol="postgres",
            destination=PLACE,
            request=make_request(number),
            response={
                "results": [{"columns": None, "rows": [[row[:body_size]]], "tag": "SELECT 1"}]
            },
            timing=Timing(when, when + 500),
            tier=Tier.CASE,
            connection=1,
            case=name_case(number // CALLS_OF_CASE),
            evidence=Evidence.THREAD,
        )
        file.write(pack_mock(mock))


class Calls:
    """The calls of some of the cases of a file of mocks."""

    def __init__(self, path: Path) -> None:
        self._matcher = Matcher(MocksAlone(path), Bindings(), load_protocols().__getitem__)
        self._answers = self._matcher.for_destination(PLACE, "postgres")
        self._cases = len(self._matcher.index) // CALLS_OF_CASE

    def make(self, cases: int, rng: random.Random) -> float:
        """Makes the calls of so many cases; microseconds of processor time for each call.

        Raises ``ValueError`` for a call without an answer.
        """
        begun = time.process_time()
        for _ in range(cases):
            self._run_case(rng.randrange(self._cases))
        return (time.process_time() - begun) / (cases * CALLS_OF_CASE) * 1e6

    def _run_case(self, case: int) -> None:
        self._matcher.begin_case(_make_case(case), BEGUN_NS)
        for number in range(case * CALLS_OF_CASE, (case + 1) * CALLS_OF_CASE):
            if isinstance(self._answers.answer(make_request(number)), Miss):
                raise ValueError(f"call {number} was not answered")
        self._matcher.end_case(BEGUN_NS + SECOND)


def _make_case(number: int) -> TestCase:
    timing, endpoint = Timing(BEGUN_NS, BEGUN_NS + SECOND), Endpoint("tcp", "127.0.0.1", 80)
    return TestCase(name_case(number), "http", {}, {}, endpoint, timing, number)


def measure_matching(rounds: int, folder: Path) -> Iterator[Figure]:
    """Time a call among few and many mocks; memory and start-up of files of two sizes."""
    stands = [_make_stand(folder, count) for count in (FEW, MANY)]
    rng = random.Random(1)
    for stand in stands:
        stand.make(CASES_A_ROUND, rng)
    times: list[list[float]] = [[], []]
    for _ in range(rounds):
        for stand, found in zip(stands, times, strict=True):
            found.append(stand.make(CASES_A_ROUND, rng))
    yield spread(f"matching: a call among {FEW}", times[0], "µs")
    name = f"matching: a call among {MANY:,}"
    yield ratio(f"{name} to {FEW}", pair_ratios(times[1], times[0]), most=MOST_SLOWER)
    small, _ = measure_file(folder, SMALL, 100_000)
    for body_size in (100_000, 750):
        memory, seconds = measure_file(folder, LARGE, body_size)
        mocks = LARGE // _size_of_mock(body_size)
        name = f"matching: 1 GiB, {mocks:,} mocks"
        yield below(f"{name}: memory", memory - small, MOST_GROWN_MB, "MB more")
        yield Figure(f"{name}: start", f"{seconds:.1f} s of CPU")


def _make_stand(folder: Path, count: int) -> Calls:
    path = folder / f"{count}.msgpack"
    with path.open("wb") as file:
        write_mocks(file, count, 100)
    return Calls(path)


def _size_of_mock(body_size: int) -> int:
    return body_size + 330


def measure_file(folder: Path, size: int, body_size: int) -> tuple[float, float]:
    """Most memory in MB, and seconds to the first case, of a process with a file of that size."""
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        write_mocks(file.file, max(CALLS_OF_CASE, size // _size_of_mock(body_size)), body_size)
        file.flush()
        words = [sys.executable, "-m", "benchmarks.matching_speed", "--load", file.name]
        done = subprocess.run(words, check=True, capture_output=True, text=True)
    memory, seconds = done.stdout.split()
    return float(memory), float(seconds)


def load(path: Path) -> tuple[float, float]:
    """What `measure_file` measures, in this process."""
    begun = time.process_time()
    calls = Calls(path)
    seconds = time.process_time() - begun
    calls.make(5, random.Random(1))
    return read_peak(), seconds


def read_peak() -> float:
    """Most resident memory of this process so far, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("VmHWM:"))) / 1024


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--load", type=Path, help="only read this file of mocks")
    given = parser.parse_args()
    if given.load is not None:
        print(*load(given.load))
        return
    with tempfile.TemporaryDirectory(prefix="kebpf-matching-") as folder:
        for figure in measure_matching(given.rounds, Path(folder)):
            print(show_figure(figure), flush=True)


if __name__ == "__main__":
    main()
