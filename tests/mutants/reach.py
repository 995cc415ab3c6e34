"""Which lines of an application its customers' requests run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.mutants.applications import Application
from tests.mutants.mutant import Mutant

TRACER = Path(__file__).parent / "tracer"

Lines = Mapping[str, set[int]]  # by path relative to the application's folder


def measure(application: Application, folder: Path) -> Lines:
    """Runs the copy in ``folder`` live, under a tracer, and has it serve one customer."""
    log, coverage = folder / "trace.log", folder / "coverage"
    environment = {
        "PYTHONPATH": str(TRACER),
        "KEBPF_TRACED": str(folder),
        "KEBPF_TRACE_LOG": str(log),
        "NODE_V8_COVERAGE": str(coverage),
    }
    application.reset()
    process = application.start(folder, environment)
    try:
        for _ in application.walk():
            pass
    finally:
        process.stop()
    if coverage.exists():
        return read_v8_coverage(coverage, folder)
    return read_trace(log.read_text().splitlines(), folder)


def read_trace(lines: Iterable[str], folder: Path) -> Lines:
    """What the tracer wrote."""
    found: dict[str, set[int]] = {}
    for line in lines:
        path, _, number = line.rpartition(":")
        if Path(path).is_relative_to(folder):
            found.setdefault(str(Path(path).relative_to(folder)), set()).add(int(number))
    return found


def read_v8_coverage(coverage: Path, folder: Path) -> Lines:
    """What V8 counted: a line has run if the innermost range around its first character did."""
    found: dict[str, set[int]] = {}
    for report in coverage.glob("*.json"):
        for script in json.loads(report.read_text())["result"]:
            path = Path(script["url"].removeprefix("file://"))
            if path.parent != folder:
                continue
            ranges = [one for function in script["functions"] for one in function["ranges"]]
            found.setdefault(path.name, set()).update(_find_lines(path.read_text(), ranges))
    return found


def _find_lines(text: str, ranges: list[dict[str, int]]) -> Iterable[int]:
    offset = 0
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        place = offset + len(line) - len(line.lstrip())
        around = [one for one in ranges if one["startOffset"] <= place < one["endOffset"]]
        innermost = min(around, key=lambda one: one["endOffset"] - one["startOffset"], default=None)
        if innermost is not None and innermost["count"]:
            yield number
        offset += len(line)


def is_reached(mutant: Mutant, lines: Lines) -> bool:
    """Whether one of the lines ran that a mutant changes the effect of."""
    return not lines.get(mutant.path, set()).isdisjoint(mutant.edit.reach)
