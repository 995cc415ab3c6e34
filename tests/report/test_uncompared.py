"""What of a response was not compared, by place and reason."""

from __future__ import annotations

from kebpf.report.uncompared import FRAMES_ONLY, NOISE, UNPLACED, list_uncompared
from tests.report.builders import make_case

VIEW = {"headers": [["Connection", "close"], ["te", "a"], ["te", "b"], ["content-length", "1"]]}


def test_framing_headers_and_noise_are_told_apart() -> None:
    assert list_uncompared(make_case(expected=VIEW, not_compared=5)) == {
        f"/headers/connection: {FRAMES_ONLY}": 1,
        f"/headers/te: {FRAMES_ONLY}": 2,
        NOISE: 2,
    }


def test_nothing_is_said_where_all_was_compared() -> None:
    assert list_uncompared(make_case(expected=VIEW)) == {}


def test_without_a_view_it_is_noise() -> None:
    assert list_uncompared(make_case(not_compared=1)) == {NOISE: 1}


def test_unknown_databases_are_no_noise() -> None:
    case = make_case(expected=VIEW, not_compared=7, unplaced=3)
    assert list_uncompared(case)[UNPLACED] == 3
    assert list_uncompared(case).total() == 7
