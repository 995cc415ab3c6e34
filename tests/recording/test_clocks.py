from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebpf.recording.clocks import FORMATS, find_clock_classes, is_clock_within, parse_clock
from kebpf.recording.times import Window

SECOND = 10**9
MOMENTS = st.datetimes(datetime(2001, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC))


def window_at(moment: datetime) -> Window:
    start_ns = int(moment.timestamp()) * SECOND
    return Window(start_ns, start_ns + SECOND)


@given(MOMENTS, st.sampled_from(FORMATS))
def test_a_time_is_read_as_python_writes_it(moment: datetime, format_: str) -> None:
    """The oracle is the C library, through ``strftime``."""
    start_ns = int(moment.timestamp()) * SECOND
    value = parse_clock(moment.strftime(format_), format_, start_ns)
    assert value is not None
    assert 0 <= start_ns - value.time_ns < max(value.resolution_ns, SECOND)


@given(MOMENTS, st.sampled_from(FORMATS), st.timedeltas(timedelta(0), timedelta(days=99)))
def test_a_class_found_for_one_time_holds_another_as_fresh(
    moment: datetime, format_: str, later: timedelta
) -> None:
    classes = list(find_clock_classes(moment.strftime(format_), window_at(moment)))
    assert f"clock:{format_}" in classes
    again = moment + later
    assert is_clock_within(again.strftime(format_), format_, window_at(again))


@pytest.mark.parametrize(
    "text", ["22.11.2026 23:30:00", "22.11.2026 22:00:00", "22.11.2025 23:00:00", "x", "23:00:00"]
)
def test_a_time_beside_the_window_is_not_fresh(text: str) -> None:
    window = window_at(datetime(2026, 11, 22, 23, 0, 0, tzinfo=UTC))
    assert is_clock_within("22.11.2026 23:00:01", "%d.%m.%Y %H:%M:%S", window)
    assert not is_clock_within(text, "%d.%m.%Y %H:%M:%S", window)


def test_a_zone_is_a_shift_of_a_naive_time() -> None:
    window = window_at(datetime(2026, 11, 22, 23, 0, 0, tzinfo=UTC))
    classes = list(find_clock_classes("23.11.2026 01:00:00", window))
    assert classes == ["clock:%d.%m.%Y %H:%M:%S@+7200"]


def test_what_is_no_time_is_none() -> None:
    assert parse_clock("31.02.2026 10:00:00", "%d.%m.%Y %H:%M:%S", 0) is None
    assert parse_clock("13:00 PM", "%I:%M %p", 0) is None
    assert list(find_clock_classes("hello", Window(0, SECOND))) == []
