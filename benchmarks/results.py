"""Writes the figures of a run to RESULTS.md, with a plot of what recording leaves of the speed."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks.figures import Figure

HERE = Path(__file__).parent
PLOT = "results.svg"
_RATIO = re.compile(r"([\d.]+) \(([\d.]+)–([\d.]+)\)$")
_SPEED = re.compile(r"(.+), ([^,:]+): requests/s$")


def write_results(figures: Sequence[Figure], machine: str, folder: Path = HERE) -> None:
    """Replaces both files; the words below the table's end mark, a person's, are kept."""
    path = folder / "RESULTS.md"
    kept = path.read_text().partition(MARK)[2] if path.exists() else "\n"
    has_plot = draw_plot(figures, folder / PLOT)
    path.write_text("\n".join(_describe(figures, machine, has_plot)) + f"\n{MARK}{kept}")


MARK = "<!-- figures end here -->"


def _describe(figures: Sequence[Figure], machine: str, has_plot: bool) -> list[str]:
    today = datetime.datetime.now(datetime.UTC).date()
    lines = [
        "# Results",
        "",
        f"Written by `make bench` on {today}. {machine}. Values are the median of interleaved "
        "rounds with the least and the most; ratios are to the same load without a recorder.",
        "",
    ]
    if has_plot:
        lines += [f"![Requests per second under each observer]({PLOT})", ""]
    missed = [figure for figure in figures if figure.is_met is False]
    lines += ["## Missed" if missed else "Every target was met.", ""]
    lines += [f"- {one.name}: {one.value}, wanted {one.target}" for one in missed]
    lines += ["", "## All figures", "", "| figure | value | target |  |", "|---|---|---|---|"]
    verdicts = {None: "", True: "met", False: "**missed**"}
    lines += [
        f"| {one.name} | {one.value} | {one.target} | {verdicts[one.is_met]} |" for one in figures
    ]
    return lines


def read_speeds(figures: Sequence[Figure]) -> dict[str, dict[str, tuple[float, float, float]]]:
    """The share of the speed that is left: by subject and observer, median, least, most."""
    found: dict[str, dict[str, tuple[float, float, float]]] = {}
    for figure in figures:
        speed, value = _SPEED.match(figure.name), _RATIO.match(figure.value)
        if speed and value:
            middle, low, high = (float(one) for one in value.groups())
            found.setdefault(speed[1], {})[speed[2]] = (middle, low, high)
    return found


def draw_plot(figures: Sequence[Figure], path: Path) -> bool:
    """One group of bars a subject; not drawn where matplotlib is missing or nothing is to draw."""
    speeds = read_speeds(figures)
    try:
        from matplotlib import pyplot
    except ImportError:
        return False
    if not speeds:
        return False
    observers = list(dict.fromkeys(name for bars in speeds.values() for name in bars))
    plot, axes = pyplot.subplots(figsize=(8, 0.6 + 0.8 * len(speeds)), layout="constrained")
    height = 0.8 / len(observers)
    for index, observer in enumerate(observers):
        rows = [row for row, bars in enumerate(speeds.values()) if observer in bars]
        values = [bars[observer] for bars in speeds.values() if observer in bars]
        axes.barh(
            [row + (index - (len(observers) - 1) / 2) * height for row in rows],
            [middle for middle, _, _ in values],
            height,
            xerr=[
                [middle - low for middle, low, _ in values],
                [high - middle for middle, _, high in values],
            ],
            label=observer,
        )
    axes.set_yticks(range(len(speeds)), list(speeds))
    axes.invert_yaxis()
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_xlabel("requests per second, to those without an observer")
    axes.legend(loc="lower right", fontsize="small")
    plot.savefig(path, metadata={"Date": None})
    pyplot.close(plot)
    return True
