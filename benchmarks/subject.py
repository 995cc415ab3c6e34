"""One target under one load: its figures with each observer beside those without."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Figure, pair_ratios, ratio, spread
from benchmarks.observers import OFF, find_missing
from benchmarks.rounds import Loader, Series, run_rounds


@dataclass(frozen=True)
class Subject:
    """A target that serves ``port``; ``least`` is the share of its speed it should keep.

    ``tools`` are what else people would watch it with.  ``most_p99`` is how much longer the
    slowest hundredth of answers may take.
    """

    name: str
    target: int
    port: int
    load: Loader
    least: float | None = None
    most_p99: float | None = None
    tools: tuple[str, ...] = ()


def measure_subject(
    subject: Subject, doors: list[str], rounds: int, folder: Path
) -> Iterator[Figure]:
    """Speed, times to an answer and processor time."""
    folder.mkdir()
    missing = {tool: find_missing(tool) for tool in subject.tools}
    there = [tool for tool in subject.tools if not missing[tool]]
    found = run_rounds(subject.target, subject.port, subject.load, [*doors, *there], rounds, folder)
    plain = found[OFF]
    yield spread(f"{subject.name}: requests/s", plain.speeds, "")
    yield spread(f"{subject.name}: p99", plain.p99s, "ms")
    yield spread(f"{subject.name}: target's CPU", plain.costs(), "s/1000")
    for door in doors:
        yield from _show_recording(subject, f"door {door}", found[door], plain)
    for tool in there:
        yield from _show_tool(subject, tool, found[tool], plain)
    for tool, reason in missing.items():
        if reason:
            yield Figure(f"{subject.name}, {tool}", reason)


def _show_recording(subject: Subject, door: str, series: Series, plain: Series) -> Iterator[Figure]:
    name = f"{subject.name}, {door}"
    yield ratio(f"{name}: requests/s", pair_ratios(series.speeds, plain.speeds), subject.least)
    p99s = pair_ratios(series.p99s, plain.p99s)
    yield ratio(f"{name}: p99", p99s, most=subject.most_p99)
    yield ratio(f"{name}: target's CPU", pair_ratios(series.costs(), plain.costs()))
    yield spread(f"{name}: in the kernel", series.kernel_costs(), "s/1000")
    yield spread(f"{name}: recorder's CPU", series.observer_costs(), "s/1000")
    yield spread(f"{name}: recorder's memory", series.memories, "MB")


def _show_tool(subject: Subject, tool: str, series: Series, plain: Series) -> Iterator[Figure]:
    name = f"{subject.name}, {tool}"
    plain = plain.first(len(series.loads))
    yield ratio(f"{name}: requests/s", pair_ratios(series.speeds, plain.speeds))
    yield ratio(f"{name}: p99", pair_ratios(series.p99s, plain.p99s))
    yield ratio(f"{name}: target's CPU", pair_ratios(series.costs(), plain.costs()))
    yield spread(f"{name}: its own CPU", series.observer_costs(), "s/1000")
