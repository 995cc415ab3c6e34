"""The status of the agent as people read it, in 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from kebpf.report.lines import count
from kebpf.report.values import escape_controls

_WIDTH = 80
_LABEL = 10
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_STEPS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_MOST_PROCESSES = 8


def describe_status(status: Mapping[str, Any]) -> str:
    """Lines of at most 80 columns: the agent, then each target."""
    now = float(status["now"])
    age = show_age(now - float(status["started"]))
    disk, memory = show_size(status["disk_bytes"]), show_size(status["memory_bytes"])
    lines = [
        f"agent (process {status['pid']}) for {age}: {count(len(status['targets']), 'target')}, "
        f"{disk} on disk, {memory} of memory"
    ]
    if status["config_error"]:
        lines += _wrap(f"the configuration was refused: {status['config_error']}")
    for target in status["targets"]:
        lines += ["", *_describe_target(target, now)]
    return "".join(f"{line}\n" for line in lines)


def _describe_target(target: Mapping[str, Any], now: float) -> Iterator[str]:
    yield from _wrap(f"{target['name']}: {target['state']} ({target['follows']})")
    for label, text in _list_rows(target, now):
        yield from textwrap.wrap(
            escape_controls(text),
            _WIDTH,
            initial_indent=f"  {label:<{_LABEL}}",
            subsequent_indent=" " * (2 + _LABEL),
            break_on_hyphens=False,
        )


def _list_rows(target: Mapping[str, Any], now: float) -> Iterator[tuple[str, str]]:
    processes = [f"{one['program']} {one['pid']}" for one in target["processes"]]
    if processes:
        more = len(processes) - _MOST_PROCESSES
        shown = ", ".join(processes[:_MOST_PROCESSES]) + (f" and {more} more" if more > 0 else "")
        yield "follows", f"{shown}; {count(len(target['watched']), 'process', 'processes')} watched"
    if target["version"]:
        yield "version", str(target["version"])
    requests = count(target["requests"], "request")
    kept = f"{count(target['test_cases'], 'test case')}, {count(target['mocks'], 'mock')}"
    yield "requests", f"{requests} → {target['unique']:,} unique ({kept}), {target['rate']:g}/s"
    lost = f"{count(target['lost_events'], 'event')}, {show_size(target['lost_bytes'])}"
    yield "lost", lost if target["lost_events"] or target["lost_bytes"] else "nothing"
    if target["set"]:
        yield "set", str(target["set"])
    if target["last_set"]:
        yield "last set", str(target["last_set"])
    if target["last_error"]:
        age = show_age(now - float(target["last_error_at"]))
        yield "error", f"{age} ago: {target['last_error']}"


def _wrap(text: str) -> list[str]:
    return textwrap.wrap(
        escape_controls(text), _WIDTH, subsequent_indent="  ", break_on_hyphens=False
    )


def show_size(size: int) -> str:
    """``12.3 MiB``."""
    value, unit = float(size), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.1f} {_UNITS[unit]}" if unit else f"{size} B"


def show_age(seconds: float) -> str:
    """The two largest parts: ``3 d 4 h``."""
    rest, parts = max(0, int(seconds)), []
    for size, unit in _STEPS:
        number, rest = divmod(rest, size)
        if number:
            parts.append(f"{number} {unit}")
    return " ".join(parts[:2]) or "0 s"
