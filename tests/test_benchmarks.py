"""The benchmarks' own reckoning: ratios of interleaved rounds, lines that fit a terminal."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.figures import WIDTH, Figure, below, pair_ratios, ratio, show_figure, summarise
from benchmarks.usage import read_memory, read_processor_seconds


def test_ratio_is_of_the_same_round() -> None:
    # The machine was twice as fast in the second round; recording cost a tenth in both.
    assert pair_ratios([90.0, 180.0], [100.0, 200.0]) == [0.9, 0.9]


def test_rounds_without_a_partner_are_an_error() -> None:
    with pytest.raises(ValueError):
        pair_ratios([90.0], [100.0, 200.0])


def test_median_is_judged_not_the_best() -> None:
    assert ratio("speed", [0.90, 0.94, 1.00], 0.95).is_met is False
    assert ratio("speed", [0.90, 0.96, 0.97], 0.95).is_met is True
    assert ratio("speed", [0.1]).is_met is None


def test_limit_itself_is_too_much() -> None:
    assert below("memory", 60.0, 60.0, "MB").is_met is False
    assert below("memory", 59.99, 60.0, "MB").is_met is True


@pytest.mark.parametrize(
    ("figure", "line"),
    [
        (
            below("memory", 72.96, 60.0, "MB"),
            "  memory                                   72.96 MB               < 60 MB MISSED",
        ),
        (
            Figure("replay, cases", "185 per second"),
            "  replay, cases                            185 per second",
        ),
    ],
)
def test_line(figure: Figure, line: str) -> None:
    assert show_figure(figure) == line


@given(st.floats(0.001, 9.99), st.floats(0.001, 9.99))
def test_lines_fit_the_terminal(one: float, other: float) -> None:
    figures = [
        ratio("n" * 40, [one, other], 0.95),
        below("n" * 40, one * 10_000, 60.0, "MB"),
    ]
    for line in [*map(show_figure, figures), *summarise(figures)]:
        assert len(line) <= WIDTH


def test_summary_counts_only_what_has_a_target() -> None:
    figures = [Figure("a", "1"), below("b", 1.0, 2.0, "s"), below("c", 3.0, 2.0, "s")]
    assert summarise(figures) == [
        "1 of 2 targets met",
        "missed: c: 3 s, wanted < 2 s",
    ]


def test_own_memory_is_within_the_most() -> None:
    memory = read_memory(os.getpid())
    assert 1.0 < memory.now <= memory.most


def test_process_that_is_gone_has_no_memory() -> None:
    free = int(Path("/proc/sys/kernel/pid_max").read_text()) + 1
    with pytest.raises(ProcessLookupError):
        read_memory(free)


def test_processor_time_is_what_the_interpreter_says() -> None:
    tick = 1 / os.sysconf("SC_CLK_TCK")
    before = time.process_time()
    read = read_processor_seconds(os.getpid())
    assert before - 2 * tick <= read <= time.process_time() + 2 * tick
