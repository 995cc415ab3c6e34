"""What is printed after a command that ran on mocks, as whole text."""

from __future__ import annotations

from collections import Counter

from kebpf.replay.mockrun import MockRunResult
from kebpf.replay.mockset import MissedCall
from kebpf.report.mocking import SHOWN_MISSES, describe_mock_run


def make_result(**changes: object) -> MockRunResult:
    result = MockRunResult(0, "exited with status 0", 1.5, answered=4002, used=4000, mocks=4000)
    for name, value in changes.items():
        setattr(result, name, value)
    return result


def make_misses(number: int) -> Counter[MissedCall]:
    return Counter(
        {MissedCall("10.0.0.5:6379", "redis", f"never recorded: GET {n}"): 1 for n in range(number)}
    )


def test_a_run_in_which_all_was_answered() -> None:
    assert describe_mock_run(make_result()) == [
        "4,002 calls answered in 1.5 s, no miss; 4,000 of 4,000 mocks used"
    ]


def test_misses_come_first_and_equal_ones_together() -> None:
    misses = make_misses(1)
    misses[MissedCall("10.0.0.5:5432", "postgres", "recorded and used up: \x1b[2J")] = 3
    result = make_result(missed=4, misses=misses, status=-9, how="was ended by SIGKILL", used=1)
    assert describe_mock_run(result) == [
        "3 × 10.0.0.5:5432 (postgres): recorded and used up: \\x1b[2J",
        "1 × 10.0.0.5:6379 (redis): never recorded: GET 0",
        "the command was ended by SIGKILL",
        "4,002 calls answered in 1.5 s, 4 misses; 1 of 4,000 mocks used",
    ]


def test_many_misses_are_counted_and_shown_when_asked_for() -> None:
    result = make_result(missed=SHOWN_MISSES + 2, misses=make_misses(SHOWN_MISSES + 1))
    short = describe_mock_run(result)
    assert len(short) == SHOWN_MISSES + 2
    assert short[-2] == "and 2 more misses (--verbose shows them)"
    verbose = describe_mock_run(result, verbose=True)
    assert verbose[-2] == "and 1 more miss"  # more different ones than are kept
    assert len(verbose) == SHOWN_MISSES + 3
