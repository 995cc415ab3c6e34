"""Differences between what was recorded and what came, as lines."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from kebpf.replay.events import Mismatch
from kebpf.report.lines import Line, Tone, indent
from kebpf.report.values import cut, cut_pair, escape_controls, pretty, show_value

DIFF_LIMIT = 30
MISMATCH_LIMIT = 12
LABEL_WIDTH = len("recorded  ")


def show_mismatches(mismatches: Sequence[Mismatch], width: int, limit: int) -> list[Line]:
    """All of ``mismatches`` up to ``limit``, a status first, and how many more there are."""
    ranked = sorted(mismatches, key=lambda mismatch: mismatch.path != "/status")
    lines = [line for mismatch in ranked[:limit] for line in show_mismatch(mismatch, width)]
    if len(ranked) > limit:
        lines.append(Line(f"and {len(ranked) - limit} more differences", Tone.FAINT))
    return lines


def show_mismatch(mismatch: Mismatch, width: int) -> list[Line]:
    """One difference: on one line if it fits, else both values below its path, or their diff."""
    if mismatch.kind in ("missing", "extra"):
        return [Line(cut(_describe_one_sided(mismatch), width))]
    path = escape_controls(mismatch.path) or "/"
    note = " (order)" if mismatch.kind == "order" else ""
    if _is_large(mismatch.expected) and _is_large(mismatch.actual):
        diff = show_diff(mismatch.expected, mismatch.actual, width - 2)
        return [Line(path + note), *indent(diff)]
    expected, actual = show_value(mismatch.expected), show_value(mismatch.actual)
    short = f"{path}{note}: recorded {expected}, came {actual}"
    if len(short) <= width:
        return [Line(short)]
    expected, actual = cut_pair(expected, actual, max(20, width - LABEL_WIDTH - 2))
    return [
        Line(path + note),
        Line(f"  recorded  {expected}", Tone.EXPECTED),
        Line(f"  came      {actual}", Tone.ACTUAL),
    ]


def _describe_one_sided(mismatch: Mismatch) -> str:
    path = escape_controls(mismatch.path) or "/"
    if mismatch.kind == "missing":
        return f"{path}: missing, recorded {show_value(mismatch.expected)}"
    return f"{path}: extra, came {show_value(mismatch.actual)}"


def describe_mismatch(mismatch: Mismatch) -> str:
    """One difference in a few words, for a headline."""
    if mismatch.kind in ("missing", "extra"):
        return cut(_describe_one_sided(mismatch), 100)
    if mismatch.path == "/status":
        return f"{show_value(mismatch.actual)} instead of {show_value(mismatch.expected)}"
    pair = cut_pair(show_value(mismatch.expected), show_value(mismatch.actual), 32)
    kind = "order" if mismatch.kind == "order" else "changed"
    return f"{escape_controls(mismatch.path) or '/'} {kind}: recorded {pair[0]}, came {pair[1]}"


def _is_large(value: Any) -> bool:
    """Whether a value reads better on several lines."""
    if isinstance(value, dict | list):
        return bool(value)
    if isinstance(value, bytes):
        return b"\n" in value.rstrip(b"\n")
    return isinstance(value, str) and "\n" in value.rstrip("\n")


def show_diff(expected: Any, actual: Any, width: int, limit: int = DIFF_LIMIT) -> list[Line]:
    """A unified diff of two texts or trees, at most ``limit`` lines of it."""
    pair = (pretty(expected).splitlines(), pretty(actual).splitlines())
    diff = list(difflib.unified_diff(*pair, "recorded", "came", n=2, lineterm=""))
    if not diff:
        return [Line("the same text, but for its last newline or its kind", Tone.FAINT)]
    lines = [Line(cut(text, width), _tone_of(text)) for text in diff[:limit]]
    if len(diff) > limit:
        lines.append(Line(f"and {len(diff) - limit} more lines", Tone.FAINT))
    return lines


def _tone_of(text: str) -> Tone:
    if text.startswith("-"):
        return Tone.EXPECTED
    if text.startswith("+"):
        return Tone.ACTUAL
    return Tone.FAINT if text.startswith("@@") else Tone.PLAIN
