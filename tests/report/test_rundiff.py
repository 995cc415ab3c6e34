"""What became of each case between two runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kebpf.replay.events import CallFinding, CaseFinished, Mismatch, Verdict
from kebpf.report.rundiff import Change, RunDiff, compare_runs
from kebpf.report.runfile import parse_run
from tests.report.builders import make_case, make_extra_call, make_failed
from tests.report.runs import write_run


def compare(
    before: Sequence[CaseFinished],
    after: Sequence[CaseFinished],
    old_findings: Sequence[CallFinding] = (),
    new_findings: Sequence[CallFinding] = (),
) -> RunDiff:
    old = write_run(before, findings=list(old_findings))
    new = write_run(after, findings=list(new_findings))
    return compare_runs(parse_run(old, "old"), parse_run(new, "new"))


def names(changes: Sequence[Change]) -> list[str]:
    return [change.key[1] for change in changes]


def make_other(name: str) -> CaseFinished:
    return make_failed(name, mismatches=[Mismatch("/body/total", "changed", 5, 6)])


def test_each_case_by_what_became_of_it() -> None:
    before = [make_case("a"), make_case("b"), make_failed("c"), make_failed("d"), make_failed("e")]
    after = [make_failed("b"), make_case("a"), make_case("c"), make_failed("d"), make_other("e")]
    diff = compare(before, after)
    assert names(diff.failing) == ["b"]
    assert names(diff.passing) == ["c"]
    assert names(diff.as_before) == ["d"]
    assert names(diff.differently) == ["e"]
    assert diff.same == 1
    assert not diff.has_same_verdicts


def test_another_cause_alone_is_the_same_verdict() -> None:
    diff = compare([make_failed("a")], [make_other("a")])
    assert names(diff.differently) == ["a"] and diff.has_same_verdicts


def test_a_failure_that_became_an_error_is_another_cause() -> None:
    errored = make_failed("a", verdict=Verdict.ERRORED, mismatches=[], error="it hung")
    assert names(compare([make_failed("a")], [errored]).differently) == ["a"]


def test_a_case_that_is_skipped_now_is_no_pass() -> None:
    skipped = make_case("a", verdict=Verdict.SKIPPED, error="nothing listens")
    diff = compare([make_case("a")], [skipped])
    assert names(diff.otherwise) == ["a"] and not diff.has_same_verdicts


def test_gone_and_new_cases() -> None:
    diff = compare([make_case("a"), make_case("b")], [make_case("b"), make_case("c")])
    assert [event["case"] for event in diff.gone] == ["a"]
    assert [event["case"] for event in diff.new] == ["c"]
    assert not diff.has_same_verdicts


def test_a_run_that_was_cut_short_has_no_gone_cases() -> None:
    whole = write_run([make_case("a"), make_case("b")])
    cut = whole[: whole.index(b'"case": "b"')]
    diff = compare_runs(parse_run(whole, "old"), parse_run(cut, "new"))
    assert diff.not_reached == [("shop-1", "b")] and not diff.gone
    assert not diff.has_same_verdicts


def test_fewer_exact_values_of_a_pass_are_seen_and_change_no_verdict() -> None:
    weak, strong = make_case("a", exact=9, not_compared=1), make_case("b", exact=11)
    diff = compare([make_case("a"), make_case("b")], [weak, strong])
    assert names(diff.weaker) == ["a"] and names(diff.stronger) == ["b"]
    assert diff.has_same_verdicts


def test_a_case_is_slower_only_beyond_the_pace_of_the_run() -> None:
    before = [make_case(name, seconds=0.1) for name in "abcdefg"]
    after = [make_case(name, seconds=0.8) for name in "abcdef"] + [make_case("g", seconds=5.0)]
    assert names(compare(before, after).slower) == ["g"]
    assert not compare(before, [make_case(name, seconds=0.5) for name in "abcdefg"]).slower


def test_calls_of_no_case_count() -> None:
    call = make_extra_call()
    diff = compare([make_case("a")], [make_case("a")], new_findings=[call])
    assert [one["call"] for one in diff.new_findings] == [call.call]
    assert not diff.has_same_verdicts
    both = compare([make_case("a")], [make_case("a")], [call], [call])
    assert both.has_same_verdicts


VERDICTS = st.sampled_from(["passed", "failed", "other"])


@given(st.dictionaries(st.text("abcdef", min_size=1, max_size=3), VERDICTS), st.randoms())
def test_a_run_is_as_itself_in_any_order(kinds: dict[str, str], random: Any) -> None:
    makers = {"passed": make_case, "failed": make_failed, "other": make_other}
    cases = [makers[kind](name) for name, kind in kinds.items()]
    shuffled = random.sample(cases, len(cases))
    diff = compare(cases, shuffled)
    assert diff.has_same_verdicts
    assert not (diff.differently or diff.weaker or diff.stronger or diff.slower)
    assert diff.same + len(diff.as_before) == len(cases)
