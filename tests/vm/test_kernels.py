"""What is told of a run on other kernels is what its report says."""

from __future__ import annotations

from tests.vm.kernels import Counts, Trial, make_table, read_counts

REPORT = """<?xml version="1.0" encoding="utf-8"?>
<testsuites><testsuite name="pytest" errors="1" failures="1" skipped="1" tests="5">
<testcase classname="tests.a" name="one"/><testcase classname="tests.a" name="two"></testcase>
<testcase classname="tests.a" name="three"><failure message="no">…</failure></testcase>
<testcase classname="tests.a" name="four"><error message="no">…</error></testcase>
<testcase classname="tests.a" name="five"><skipped message="why"/></testcase>
</testsuite></testsuites>"""


def test_failures_and_errors_are_counted_and_named() -> None:
    counts = read_counts(REPORT)
    assert (counts.passed, counts.skipped) == (2, 1)
    assert counts.failures == ["tests.a::three", "tests.a::four"]
    assert counts.describe() == "2 passed, **2 failed**, 1 skipped"


def test_what_was_not_run_has_an_empty_cell() -> None:
    first = Trial("6.1.0", "Debian 12", "0.26.0", "b", {"probes": Counts(3), "shop": Counts(6)})
    second = Trial("5.10.0", "Debian 12", "0.26.0", "b", {"probes": Counts(3)})
    assert make_table([first, second]).splitlines()[2:] == [
        "| 6.1.0 | Debian 12 | 0.26.0 | b | 3 passed | 6 passed |",
        "| 5.10.0 | Debian 12 | 0.26.0 | b | 3 passed |  |",
    ]
