"""When a case's calls came, beside when they were recorded."""

from __future__ import annotations

from itertools import count

from kebpf.recording.model import Mock, TestCase, Timing
from kebpf.replay.binding import Bindings
from kebpf.replay.call import Call
from kebpf.replay.events import CallTiming
from kebpf.replay.matcher import Matcher
from kebpf.replay.timeline import MOST_TIMED, Timeline
from tests.replay.builders import (
    DATABASE,
    RECORDED_NS,
    REPLAYED_NS,
    MemorySet,
    get_plain_spec,
    make_case,
    make_mock,
)

MS = 1_000_000


def start(*mocks: Mock) -> tuple[Matcher, Timeline, TestCase]:
    """The clock goes on by a millisecond whenever it is read; the case has begun."""
    case = make_case("a")
    matcher = Matcher(MemorySet([case], mocks), Bindings(), get_plain_spec, ["a"])
    ticks = count(0, MS)
    timeline = Timeline(matcher.own_calls, lambda: next(ticks))
    matcher.watch_call = timeline.note
    matcher.begin_case(case, REPLAYED_NS)
    timeline.begin()
    return matcher, timeline, case


def at(start_ms: int, end_ms: int) -> Timing:
    return Timing(RECORDED_NS + start_ms * MS, RECORDED_NS + end_ms * MS)


def test_calls_stand_beside_their_recording() -> None:
    made = make_mock("INSERT", 1, case="a", timing=at(5, 7), name="m1")
    left = make_mock("UPDATE", 2, case="a", timing=at(8, 9), name="m2")
    matcher, timeline, case = start(made, left)
    answers = matcher.for_destination(DATABASE, "plain")
    answers.answer({"sql": "INSERT", "args": [1]})
    answers.answer({"sql": "DELETE", "args": [3]})
    place = str(DATABASE)
    assert timeline.finish(case) == [
        CallTiming("DELETE [3]", "plain", place, None, 0.002),
        CallTiming("INSERT [1]", "plain", place, "m1", 0.001, 0.005, 0.002),
        CallTiming("UPDATE [2]", "plain", place, "m2", None, 0.008, 0.001),
    ]


def test_a_call_shared_by_cases_has_no_place_in_one_of_them() -> None:
    shared = make_mock("INSERT", 1, candidates=["a", "b"], timing=at(5, 7), name="m1")
    matcher, timeline, case = start(shared)
    matcher.for_destination(DATABASE, "plain").answer({"sql": "INSERT", "args": [1]})
    place = str(DATABASE)
    assert timeline.finish(case) == [
        CallTiming("INSERT [1]", "plain", place, "m1", 0.001, None, 0.002)
    ]


def test_only_calls_between_begin_and_finish_count() -> None:
    call = Call(DATABASE, get_plain_spec(""), {"sql": "SELECT"}, {}, {})
    _, timeline, case = start()
    assert timeline.finish(case) == []
    timeline.note(call, None)
    timeline.begin()
    for _ in range(MOST_TIMED + 1):
        timeline.note(call, None)
    assert len(timeline.finish(case)) == MOST_TIMED
