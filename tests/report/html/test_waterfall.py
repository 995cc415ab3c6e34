"""The drawing of a case's calls: where the bars are and what is said beside them."""

from __future__ import annotations

from dataclasses import replace

from kebpf.replay.events import CallTiming
from kebpf.report.html.waterfall import MOST_CALLS, show_ms, show_waterfall
from tests.report.builders import make_case, make_extra_call
from tests.report.html.builders import make_rich
from tests.report.html.test_markup import Reading


def test_bars_stand_where_the_calls_were() -> None:
    case = make_rich()
    found = Reading(show_waterfall(case))
    bars = [attributes for tag, attributes in found.tags if tag == "rect"]
    places = [(bar["class"], bar["x"], bar["width"]) for bar in bars]
    assert places == [
        ("was", "0.00", "50.00"),  # the response took 10 ms, now 20
        ("now", "0.00", "100.00"),
        ("was", "10.00", "15.00"),
        ("now", "20.00", "0.70"),
        ("was", "30.00", "5.00"),
        ("now", "40.00", "0.70"),
    ]
    assert "took 10 ms, now 20 ms" in found.text
    assert "at 2.0 ms, now 4.0 ms" in found.text


def test_calls_not_made_and_calls_of_nobody_are_named() -> None:
    assert "left out" in show_waterfall(make_rich())
    missing = make_extra_call(kind="missing", mock="mock-2")
    shown = Reading(show_waterfall(make_rich(calls=[missing]))).text
    assert "missing INSERT" in shown
    assert "not of this case SELECT 2" in shown


def test_there_is_none_without_times() -> None:
    assert show_waterfall(make_case()) == ""


def test_many_calls_are_cut_and_counted() -> None:
    one = CallTiming("GET", "redis", "10.0.0.6:6379", "mock", 0.001, 0.001, 0.001)
    case = make_rich(timings=[replace(one, mock=str(n)) for n in range(MOST_CALLS + 5)])
    assert "and 5 more calls" in show_waterfall(case)


def test_times_have_the_digits_that_matter() -> None:
    assert [show_ms(one) for one in (0.0004, 0.0123, 1.26)] == ["0.4 ms", "12 ms", "1.3 s"]


def test_a_changed_call_stands_in_the_row_of_the_recorded_one() -> None:
    changed = make_extra_call(kind="changed", mock="mock-2", call="SELECT 2")
    found = Reading(show_waterfall(make_rich(calls=[changed])))
    assert [tag for tag, _ in found.tags].count("tr") == 3  # the response and two calls
    assert "changed SELECT 2" in found.text
    assert "at 6.0 ms, now 8.0 ms" in found.text
    assert "INSERT" not in found.text
