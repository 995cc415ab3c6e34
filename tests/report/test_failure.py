"""A failed case: the call that explains it, then what it led to."""

from __future__ import annotations

from kebpf.replay.events import Mismatch, Verdict
from kebpf.report.failure import show_failure
from kebpf.report.lines import join_text
from tests.report.builders import make_extra_call, make_failed


def test_a_call_needs_no_headline_above_it() -> None:
    text = join_text(show_failure(make_failed(calls=[make_extra_call()]), 78))
    assert text.startswith("  extra call: SELECT")
    assert "\n  and so the response\n    /status: recorded 200, came 500\n" in text
    assert text.count("extra call") == 1


def test_an_error_comes_first_and_whole() -> None:
    failed = make_failed(
        verdict=Verdict.ERRORED, error="no answer\nmore", calls=[make_extra_call()]
    )
    assert join_text(show_failure(failed, 78)).startswith("  no answer\n  more\n  extra call: ")


def test_many_differences_are_also_shown_as_a_whole() -> None:
    recorded = {f"key-{n}": n for n in range(4)}
    came = {f"key-{n}": -n - 1 for n in range(4)}
    mismatches = [
        Mismatch(f"/body/{key}", "changed", value, came[key]) for key, value in recorded.items()
    ]
    expected, actual = {"body": recorded, "headers": []}, {"body": came, "headers": [["a", "b"]]}
    failed = make_failed(mismatches=mismatches, expected=expected, actual=actual)
    text = join_text(show_failure(failed, 78))
    assert '-  "key-3": 3\n' in text
    assert '+  "key-3": -4\n' in text
    assert "headers" not in text
    few = make_failed(mismatches=mismatches[:3], expected=expected, actual=actual)
    assert "as a whole:" not in join_text(show_failure(few, 78))
    text = join_text(
        show_failure(make_failed(calls=[make_extra_call()], mismatches=mismatches), 78)
    )
    assert "as a whole:" not in text


def test_only_verbose_shows_all_differences() -> None:
    mismatches = [Mismatch(f"/body/{n}", "changed", n, -1) for n in range(40)]
    failed = make_failed(mismatches=mismatches)
    assert "and 28 more differences" in join_text(show_failure(failed, 78))
    assert "/body/39" in join_text(show_failure(failed, 78, verbose=True))
