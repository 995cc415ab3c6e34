"""Calls that were not recorded for a case: few findings that say all of it."""

from __future__ import annotations

from kebpf.recording.model import Tier
from kebpf.replay.events import MissKind

from .builders import make_mock
from .matching import Run, rows


class TestManyCalls:
    def test_a_read_in_a_loop_is_one_finding_with_its_count(self) -> None:
        run = Run(make_mock("SELECT * FROM t", "x", answer=[1], case="a"))
        run.begin()
        for _ in range(12):
            assert rows(run.call("SELECT * FROM t", "x")) == [1]
        (finding,) = run.end()
        assert (finding.kind, finding.count, finding.recorded, finding.made) == (
            "repeated",
            11,
            1,
            12,
        )
        assert finding.is_read

    def test_calls_of_one_operation_with_other_arguments_are_one_finding(self) -> None:
        run = Run(
            make_mock("SELECT * FROM t WHERE id = $1", 1, case="a"), make_mock("GET", case="a")
        )
        run.begin()
        run.call("GET")
        for number in range(1, 13):
            run.call("SELECT * FROM t WHERE id = $1", number)
        (finding,) = run.end()
        assert (finding.kind, finding.miss) == ("extra", MissKind.DIFFERENT)
        assert (finding.count, finding.recorded, finding.made) == (11, 1, 12)
        assert finding.examples == [f"SELECT * FROM t WHERE id = $1 [{n}]" for n in (2, 3, 4)]

    def test_a_call_is_first_compared_with_a_due_one_of_its_operation(self) -> None:
        run = Run(make_mock("SELECT stock", 1, 2, case="a"))
        run.begin()
        run.call("INSERT audit", 1, 2)
        run.call("SELECT stock", 1, 3)
        changed, extra = run.end()
        assert (changed.kind, changed.call) == ("changed", "SELECT stock [1, 3]")
        assert (extra.kind, extra.call) == ("extra", "INSERT audit [1, 2]")

    def test_who_used_a_shared_call_up_is_named(self) -> None:
        mocks = [make_mock("GET", "x", answer=[1], candidates=["a", "b", "c"]) for _ in range(2)]
        run = Run(*mocks, cases=("a", "b", "c"))
        for name in "ab":
            run.begin(name)
            run.call("GET", "x")
            assert run.end() == []
        run.begin("c")
        assert rows(run.call("GET", "x")) == [1]
        (finding,) = run.end()
        assert (finding.kind, finding.made, finding.recorded) == ("repeated", 1, 2)
        assert finding.note == "recorded 2 times by one of the cases a, b, c, used up by a, b"

    def test_answers_that_no_case_asserts_are_counted(self) -> None:
        run = Run(make_mock("GET", "x", candidates=["a"], tier=Tier.BACKGROUND))
        run.begin()
        run.call("GET", "x")
        assert run.end() == []
        assert run.matcher.finish()[1].unasserted == 1
