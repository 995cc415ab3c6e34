"""What is told of a run on other kernels is what its report says."""

from __future__ import annotations

import pytest

from tests.vm.kernels import SELECTIONS, Counts, Trial, main, make_table, read_counts
from tests.vm.releases import ROOT

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


def test_the_whole_capture_matrix_is_in_a_selection() -> None:
    named = {word for words in SELECTIONS.values() for word in words}
    found = {str(path.relative_to(ROOT)) for path in ROOT.glob("tests/capture/matrix/test_*.py")}
    assert found <= named


def test_a_name_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """And not taken for none at all, which runs everything."""
    assert main(["bookworm", "prods"]) == 2
    assert "unknown: prods; there are: bookworm, " in capsys.readouterr().err
