"""A run in one line."""

from __future__ import annotations

import pytest

from kebpf.replay.events import RunFinished
from kebpf.report.headline import describe_result
from tests.report.builders import make_extra_call, make_finished


@pytest.mark.parametrize(
    ("finished", "text"),
    [
        (make_finished(passed=184, failed=7, errored=1), "8 of 192 cases failed, from 2 causes"),
        (make_finished(passed=2), "All 2 cases passed"),
        (make_finished(passed=1), "The one case passed"),
        (make_finished(passed=0), "No case ran"),
        (make_finished(findings=[make_extra_call()]), "1 call not as recorded, of no one case"),
        (None, "The run was cut short"),
    ],
)
def test_the_result_comes_first(finished: RunFinished | None, text: str) -> None:
    assert describe_result(finished, [], 2) == text


def test_a_run_that_could_not_be_made_says_why() -> None:
    assert describe_result(make_finished(), ["it ended"]) == "The run failed: it ended"
