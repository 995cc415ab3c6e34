"""Interleaved rounds: the same load unobserved, then under each observer, again and again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmarks.loads import Load
from benchmarks.observers import MITMPROXY, MITMPROXY_TLS, OFF, STRACE, TCPDUMP, observed
from benchmarks.usage import ProcessorTime, list_family, read_processor_time
from benchmarks.usage import read_proportional_memory as read_memory

Loader = Callable[[int, float], Load]
"""Takes the port and the share of the usual load (1.0: all of it)."""

TOOLS = (TCPDUMP, STRACE, MITMPROXY, MITMPROXY_TLS)
MOST_TOOL_ROUNDS = 2  # nothing is claimed of them to the per cent
SHARES = {STRACE: 0.1}  # so slow that a whole load takes minutes


@dataclass
class Series:
    """What was measured in one mode, a value a round.

    ``target`` and ``observer`` are processor seconds for the load, ``memories`` what the observer
    held at its end, in MB.
    """

    loads: list[Load] = field(default_factory=list)
    target: list[ProcessorTime] = field(default_factory=list)
    observer: list[ProcessorTime] = field(default_factory=list)
    memories: list[float] = field(default_factory=list)

    def first(self, rounds: int) -> Series:
        """Only the first rounds."""
        return Series(self.loads[:rounds], self.target[:rounds], self.observer[:rounds])

    @property
    def speeds(self) -> list[float]:
        return [load.speed for load in self.loads]

    @property
    def p99s(self) -> list[float]:
        return [load.p99 for load in self.loads]

    def costs(self) -> list[float]:
        """Processor seconds of the target for a thousand requests."""
        return [1000 * one.whole / load.requests for one, load in self._pairs(self.target)]

    def kernel_costs(self) -> list[float]:
        """The kernel's part of these."""
        return [1000 * one.kernel / load.requests for one, load in self._pairs(self.target)]

    def observer_costs(self) -> list[float]:
        """Processor seconds of the observer for a thousand requests."""
        return [1000 * one.whole / load.requests for one, load in self._pairs(self.observer)]

    def _pairs(self, times: Sequence[ProcessorTime]) -> list[tuple[ProcessorTime, Load]]:
        return list(zip(times, self.loads, strict=True))


def run_rounds(
    target: int, port: int, load: Loader, modes: Sequence[str], rounds: int, folder: Path
) -> dict[str, Series]:
    """Measures ``load`` on process ``target`` in every mode; the order turns each round."""
    found = {mode: Series() for mode in (OFF, *modes)}
    load(port, 0.3)  # caches are warm in all rounds
    order = list(found)
    for number in range(rounds):
        for mode in order[number % len(order) :] + order[: number % len(order)]:
            if mode in TOOLS and number >= MOST_TOOL_ROUNDS:
                continue
            with observed(mode, target, port, folder / f"{mode}-{number}") as observer:
                run = partial(load, observer.port, SHARES.get(mode, 1.0))
                _measure(found[mode], target, observer.pids, run)
    return found


def _measure(
    series: Series, target: int, observers: Sequence[int], load: Callable[[], Load]
) -> None:
    targets = list_family(target)
    before, observer_before = read_processor_time(targets), read_processor_time(observers)
    series.loads.append(load())
    series.target.append(read_processor_time(targets) - before)
    series.observer.append(read_processor_time(observers) - observer_before)
    if observers:
        series.memories.append(read_memory(observers))
