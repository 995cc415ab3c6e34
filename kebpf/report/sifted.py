"""What ``kebpf dedup`` kept of a test set, in sentences."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kebpf.recording.dedup.sets import Sifted
from kebpf.report.lines import count
from kebpf.report.values import escape_controls


def describe_sifted(result: Sifted, name: str, into: Path | None, is_trial: bool) -> Iterator[str]:
    """``shop-1: 12,431 requests → 87 unique; …``, then what was left out and by which rule."""
    stay = "would stay" if is_trial else "stay"
    target = f" → {into}" if into is not None and not is_trial else ""
    cases, mocks = result.test_cases + result.dropped, result.mocks + result.dropped_mocks
    yield (
        f"{name}{target}: {describe_unique(result.requests, result.shapes)}; "
        f"{result.test_cases:,} of {count(cases, 'test case')} and "
        f"{result.mocks:,} of {count(mocks, 'mock')} {stay}"
    )
    for reason, number in sorted(result.left_out.items()):
        yield f"left out: {count(number, 'test case')}: {escape_controls(reason)}"


def describe_unique(requests: int, shapes: int) -> str:
    """``12,431 requests → 87 unique``."""
    return f"{count(requests, 'request')} → {shapes:,} unique"


def describe_routes(result: Sifted, most: int) -> Iterator[str]:
    """A line for each shape: how often it came, and the route."""
    for template, seen in result.routes[:most]:
        yield f"{seen:>9,} × {escape_controls(template)}"
    if len(result.routes) > most:
        yield f"and {count(len(result.routes) - most, 'more shape')}"
