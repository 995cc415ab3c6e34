"""Interleaved rounds: the same load without recording, then through each door, again and again."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.usage import read_memory, read_processor_seconds
from examples.processes import Process
from examples.recorder import start_recorder

OFF = "off"


@dataclass
class Series:
    """What was measured in one mode, a value a round.

    ``speeds`` are in requests per second, ``costs`` in processor seconds of the target for one
    load, ``memories`` the most the recorder had, in MB.
    """

    speeds: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    memories: list[float] = field(default_factory=list)


def run_rounds(
    target: int, load: Callable[[], float], doors: list[str], rounds: int, folder: Path
) -> dict[str, Series]:
    """Measures ``load``, which gives its speed, in every mode; the order turns each round."""
    modes = [OFF, *doors]
    found = {mode: Series() for mode in modes}
    load()  # caches are warm in all rounds
    for number in range(rounds):
        turn = number % len(modes)
        for mode in modes[turn:] + modes[:turn]:
            with recorded(target, mode, folder / f"{mode}-{number}") as recorder:
                measure(found[mode], target, load)
                if recorder is not None:
                    found[mode].memories.append(read_memory(recorder.pid).most)
    return found


def measure(series: Series, target: int, load: Callable[[], float]) -> None:
    """One load."""
    before = read_processor_seconds(target)
    series.speeds.append(load())
    series.costs.append(read_processor_seconds(target) - before)


@contextmanager
def recorded(target: int, mode: str, path: Path) -> Iterator[Process | None]:
    """Records meanwhile, unless ``mode`` is off; the recording itself is thrown away."""
    if mode == OFF:
        yield None
        return
    recorder = start_recorder(path, "--pid", str(target), "--door", mode)
    try:
        yield recorder
    finally:
        recorder.stop(signal.SIGKILL)
