"""The benchmarks' own reckoning: ratios of interleaved rounds, lines that fit a terminal."""

from __future__ import annotations

import os
import queue
import resource
import subprocess
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.figures import (
    WIDTH,
    Figure,
    below,
    pair_ratios,
    ratio,
    show_figure,
    spread,
    summarise,
)
from benchmarks.responder_speed import read_redis_speed, read_tps, read_wrk_speed
from benchmarks.results import read_speeds, write_results
from benchmarks.usage import (
    ProcessorTime,
    list_family,
    read_processor_time,
    read_proportional_memory,
    read_thread_time,
)
from examples.processes import ProcessError


def test_speeds_are_read_from_what_the_loads_print() -> None:
    rows = '"test","rps","p50_latency_ms"\n"SET","100.00","0.1"\n"GET","300.00","0.1"\n{"cpu": 1}\n'
    assert read_redis_speed(rows) == pytest.approx(150.0)  # 100 in 1 s and 100 in 1/3 s
    assert read_tps("tps = 15931.261915 (without initial connection time)\n") == 15931.261915
    assert read_wrk_speed("Requests/sec:   1586.12\nTransfer/sec: 1MB\n") == 1586.12
    with pytest.raises(ProcessError):
        read_wrk_speed("Non-2xx or 3xx responses: 3\nRequests/sec:   1586.12\n")
    with pytest.raises(ProcessError):
        read_tps("pgbench: error")


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
            "✗ memory                                     72.96 MB                  < 60 MB",
        ),
        (
            Figure("replay, cases", "185 per second"),
            "  replay, cases                              185 per second",
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


def test_range_is_least_and_most() -> None:
    assert spread("p99", [1.5, 0.25, 70.04], "ms").value == "1.5 (0.25–70) ms"
    assert spread("speed", [19567.4], "").value == "19567 (19567–19567)"


def test_ratio_may_have_a_most() -> None:
    assert ratio("p99", [1.1, 1.2, 1.3], most=1.15).is_met is False
    assert ratio("p99", [1.1, 1.1, 1.3], most=1.15).is_met is True


def test_own_memory_is_what_the_kernel_says() -> None:
    memory = read_proportional_memory([os.getpid()])
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    assert 1.0 < memory <= most


def test_process_that_is_gone_has_nothing() -> None:
    free = int(Path("/proc/sys/kernel/pid_max").read_text()) + 1
    assert read_proportional_memory([free]) == 0.0
    assert read_processor_time([free]) == ProcessorTime()


def test_a_threads_time_is_what_it_says_itself() -> None:
    said, is_seen = queue.SimpleQueue[tuple[int, float]](), threading.Event()

    def work() -> None:
        sum(range(1_000_000))
        said.put((threading.get_native_id(), time.thread_time()))
        is_seen.wait()

    worker = threading.Thread(target=work)
    worker.start()
    thread, told = said.get()
    while Path(f"/proc/self/task/{thread}/syscall").read_text() == "running\n":
        os.sched_yield()  # its time is complete once it waits
    assert told <= read_thread_time(thread) < time.process_time()
    is_seen.set()
    worker.join()


def test_processor_time_is_what_the_interpreter_says() -> None:
    ticks = 4 / os.sysconf("SC_CLK_TCK")
    before = os.times()
    read = read_processor_time([os.getpid()])
    after = os.times()
    assert sum(before[:4]) - ticks <= read.whole <= sum(after[:4]) + ticks


def test_family_has_children_and_theirs() -> None:
    # each shell waits for the next, and the last says who it is
    with subprocess.Popen(
        ["sh", "-c", "sh -c 'sh -c \"echo \\$\\$; read line; :\"; :'; :"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdout is not None and child.stdin is not None
        innermost = int(child.stdout.readline())
        family = list_family(child.pid)
        assert family[0] == child.pid and family[-1] == innermost and len(family) == 3
        child.stdin.close()


def test_results_say_what_was_missed_and_keep_what_a_person_wrote(tmp_path: Path) -> None:
    figures = [ratio("redis, door a: requests/s", [0.9, 0.91, 0.92], 0.93), Figure("x", "1")]
    write_results(figures, "Linux 6.18", tmp_path)
    results = tmp_path / "RESULTS.md"
    results.write_text(results.read_text() + "\nWhy: the probes.\n")
    write_results(figures, "Linux 6.18", tmp_path)
    text = results.read_text()
    assert "- redis, door a: requests/s: 0.91 (0.90–0.92), wanted ≥ 0.93" in text
    assert text.endswith("\nWhy: the probes.\n")


def test_speeds_are_read_by_subject_and_observer() -> None:
    figures = [ratio("redis -c 20, door a: requests/s", [0.9, 1.0]), Figure("x: requests/s", "1")]
    assert read_speeds(figures) == {"redis -c 20": {"door a": (0.95, 0.9, 1.0)}}
