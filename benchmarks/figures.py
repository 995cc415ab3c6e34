"""Figures and how they are shown: at most 80 columns, each beside its target if it has one."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

WIDTH = 80  # columns
NAME_WIDTH = 42
VALUE_WIDTH = 25


@dataclass(frozen=True)
class Figure:
    """A measured figure; ``target`` says what it should be, ``is_met`` whether it is."""

    name: str
    value: str
    target: str = ""
    is_met: bool | None = None


def below(name: str, value: float, limit: float, unit: str) -> Figure:
    """A figure that must stay under a limit."""
    return Figure(name, f"{value:.4g} {unit}", f"< {limit:g} {unit}", value < limit)


def above(name: str, value: float, limit: float, unit: str) -> Figure:
    """A figure that must reach a limit."""
    return Figure(name, f"{value:,.0f} {unit}", f"≥ {limit:,.0f}", value >= limit)


def ratio(
    name: str, samples: Sequence[float], least: float | None = None, most: float | None = None
) -> Figure:
    """The median of ratios with their range, if need be with the least or most it should be."""
    value = f"{median(samples):.2f} ({min(samples):.2f}–{max(samples):.2f})"
    if least is not None:
        return Figure(name, value, f"≥ {least:g}", median(samples) >= least)
    if most is not None:
        return Figure(name, value, f"≤ {most:g}", median(samples) <= most)
    return Figure(name, value)


def spread(name: str, samples: Sequence[float], unit: str) -> Figure:
    """The median of measured values with their range."""
    middle, low, high = map(_brief, (median(samples), min(samples), max(samples)))
    return Figure(name, f"{middle} ({low}–{high}) {unit}".rstrip())


def _brief(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def pair_ratios(with_it: Sequence[float], without: Sequence[float]) -> list[float]:
    """Each round's ratio; a round's two measurements lie close together in time."""
    return [one / other for one, other in zip(with_it, without, strict=True)]


def show_figure(figure: Figure) -> str:
    """One line of the table: whether the target was met, the figure, the target."""
    mark = {None: " ", True: "✓", False: "✗"}[figure.is_met]
    line = f"{mark} {figure.name:<{NAME_WIDTH}} {figure.value:<{VALUE_WIDTH}}"
    return f"{line} {figure.target}".rstrip()


def summarise(figures: Iterable[Figure]) -> list[str]:
    """Which targets were met, which were not."""
    judged = [figure for figure in figures if figure.is_met is not None]
    missed = [figure for figure in judged if not figure.is_met]
    lines = [f"{len(judged) - len(missed)} of {len(judged)} targets met"]
    for figure in missed:
        text = f"missed: {figure.name}: {figure.value}, wanted {figure.target}"
        lines += textwrap.wrap(text, WIDTH, subsequent_indent="  ")
    return lines
