"""Groups over instances: nothing lost, nothing torn, loads as even as can be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kebpf.recording.model import TestCase, Timing
from kebpf.replay.division import divide_sets
from kebpf.replay.selection import SelectedSet, select_cases

from .sets import PROTOCOLS, SetInMemory, make_case

GET = "GET /{} HTTP/1.1\r\nHost: x\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
SECOND = 1_000_000_000


def make_cases(*seconds: float) -> list[TestCase]:
    """Cases that do not depend on one another, each so long."""
    return [
        make_case(
            f"c{order}", GET.format(order).encode(), OK, order, timing=Timing(0, int(s * SECOND))
        )
        for order, s in enumerate(seconds, 1)
    ]


def select(*seconds: float) -> SelectedSet:
    return select_cases("set", SetInMemory(make_cases(*seconds)), [])


def divide(
    sets: list[SelectedSet], instances: int, is_alone: bool = False
) -> list[list[list[str]]]:
    """Per instance and set the names."""
    divided = divide_sets(sets, instances, is_alone, PROTOCOLS.__getitem__)
    return [[[case.name for case in part.cases] for part in parts] for parts in divided]


def test_the_longest_go_first_to_who_has_least() -> None:
    assert divide([select(1, 4, 2, 3)], 2) == [[["c1", "c2"]], [["c3", "c4"]]]


def test_no_more_instances_than_there_is_work_for() -> None:
    assert divide([select(1, 1)], 4) == [[["c1"]], [["c2"]]]
    assert divide([select()], 4) == []


def test_the_second_set_goes_where_the_first_left_room() -> None:
    assert divide([select(9, 1), select(1, 1)], 2) == [[["c1"]], [["c2"], ["c1", "c2"]]]


@given(st.lists(st.integers(0, 5), max_size=20), st.integers(1, 6), st.booleans())
def test_each_case_runs_once_in_the_order_of_its_set(
    seconds: list[int], instances: int, is_alone: bool
) -> None:
    given_out = divide([select(*seconds)], instances, is_alone)
    names = [name for parts in given_out for part in parts for name in part]
    assert sorted(names) == sorted(f"c{order}" for order in range(1, len(seconds) + 1))
    assert len(given_out) == min(instances, len(seconds))
    for parts in given_out:
        for part in parts:
            assert part == sorted(part, key=lambda name: int(name[1:]))
