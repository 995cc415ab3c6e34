"""Differences as lines."""

from __future__ import annotations

from typing import Any

import pytest

from kebpf.replay.events import Mismatch
from kebpf.report.differences import describe_mismatch, show_mismatch, show_mismatches
from kebpf.report.lines import join_text


@pytest.mark.parametrize(
    ("mismatch", "text"),
    [
        (Mismatch("/status", "changed", 200, 500), "/status: recorded 200, came 500"),
        (Mismatch("", "changed", None, ""), '/: recorded null, came ""'),
        (Mismatch("/a", "missing", "x"), '/a: missing, recorded "x"'),
        (Mismatch("/a", "extra", None, [1]), "/a: extra, came [1]"),
        (Mismatch("/a", "changed", "1", 1), '/a: recorded "1", came 1'),
        (
            Mismatch("/a", "order", ["x"], ["y"]),
            "/a (order)\n  --- recorded\n  +++ came\n  @@ -1,3 +1,3 @@\n"
            '   [\n  -  "x"\n  +  "y"\n   ]',
        ),
        (
            Mismatch("/a", "changed", "one\ntwo\n", "one\nTwo\n"),
            "/a\n  --- recorded\n  +++ came\n  @@ -1,2 +1,2 @@\n   one\n  -two\n  +Two",
        ),
        (
            Mismatch("/a", "changed", "one\ntwo\n", "one\ntwo"),
            "/a\n  the same text, but for its last newline or its kind",
        ),
    ],
)
def test_one_difference(mismatch: Mismatch, text: str) -> None:
    assert join_text(show_mismatch(mismatch, 78)) == text


def test_a_status_comes_first_and_the_rest_is_counted() -> None:
    mismatches = [Mismatch(f"/body/{n}", "changed", n, -n) for n in range(5)]
    mismatches.append(Mismatch("/status", "changed", 200, 404))
    assert join_text(show_mismatches(mismatches, 78, 2)) == (
        "/status: recorded 200, came 404\n/body/0: recorded 0, came 0\nand 4 more differences"
    )


@pytest.mark.parametrize(
    ("expected", "actual", "text"),
    [
        (1, 2, "/a changed: recorded 1, came 2"),
        (b"\xff", "", '/a changed: recorded 1 bytes ff, came ""'),
    ],
)
def test_headlines(expected: Any, actual: Any, text: str) -> None:
    assert describe_mismatch(Mismatch("/a", "changed", expected, actual)) == text
