"""What the cases of a recording say of the order of two calls."""

from __future__ import annotations

from kebpf.recording.model import Mock, Timing
from kebpf.replay.index import Recorded
from kebpf.replay.orders import MOST_COMPARED

from .builders import CACHE, RECORDED_NS, make_mock
from .matching import Run

SET, COUNT = "SET name", "INCR count"


def record(case: str, *operations: str) -> list[Mock]:
    """A case's calls in one segment."""
    timing = Timing(RECORDED_NS, RECORDED_NS + 1000)
    return [
        make_mock(each, case, case=case, timing=timing, destination=CACHE) for each in operations
    ]


def load_first(run: Run) -> tuple[Recorded, Recorded]:
    """The calls of the case ``a``, the one that sets first."""
    found = sorted(run.matcher.orders.record_of("a").own, key=lambda item: item.description)
    return found[1], found[0]


def test_a_record_holds_what_a_case_called() -> None:
    doubtful = make_mock("SELECT", case=None, candidates=["a", "b"], destination=CACHE)
    record_of = Run(*record("a", SET, COUNT), *record("b", SET), doubtful).matcher.orders.record_of
    assert [item.mock.request["sql"] for item in record_of("a").own] == [SET, COUNT]
    assert len(record_of("b").doubtful) == 1


def test_the_other_order_is_found_among_the_first_so_many_cases() -> None:
    alike = [*record("a", SET, COUNT), *record("b", SET, COUNT)]
    odd = record("odd", COUNT, SET)
    run = Run(*alike)
    assert run.matcher.orders.is_usual(*load_first(run))
    run = Run(*alike, *odd)
    assert not run.matcher.orders.is_usual(*load_first(run))
    names = [f"c{number}" for number in range(MOST_COMPARED)]
    run = Run(*alike, *(mock for name in names for mock in record(name, SET, COUNT)), *odd)
    assert run.matcher.orders.is_usual(*load_first(run))
