"""What a run comes to."""

from __future__ import annotations

from kebpf.replay.events import Ledger, MissKind, Verdict
from kebpf.replay.noise import NoiseRule, NoiseUse
from kebpf.report.lines import join_text
from kebpf.report.summary import Tally, describe_counts, is_good, show_summary
from tests.report.builders import make_case, make_extra_call, make_finished


def make_tally() -> Tally:
    tally = Tally()
    calls = [make_extra_call(), make_extra_call(miss=MissKind.USED_UP), make_extra_call(miss=None)]
    tally.add(make_case("a", calls=calls, exact=300, by_class=20))
    tally.add(make_case("b", exact=10, by_class=2, not_compared=1))
    tally.add(make_case("c", verdict=Verdict.SKIPPED, error=None, exact=0, by_class=0))
    return tally


def test_the_parts_of_the_summary_line() -> None:
    finished = make_finished(
        passed=28, failed=2, unused_mocks=1, ledger=Ledger(74, ["mock-9"], 2), seconds=3.1
    )
    assert describe_counts(finished, make_tally()) == [
        "28 passed, 2 failed in 3.1 s",
        "310 values compared exactly, 22 by class, 1 not compared",
        "74 of 75 mocks used",
    ]


def test_misses_are_explained_by_kind() -> None:
    text = join_text(show_summary(make_finished(misses=2), make_tally(), 80))
    assert text.startswith("""\
skipped: c: no reason was given
2 calls not as recorded, 2 of them without an answer
  1 never recorded: no call like it was recorded to this destination
  1 recorded and used up: it is made more often than it was recorded
values not compared
  1 in b
""")


def test_only_a_run_with_a_pass_and_nothing_against_it_is_good() -> None:
    assert is_good(make_finished(passed=1, skipped=1, unused_mocks=3))
    assert not is_good(make_finished(passed=0))
    assert not is_good(make_finished(passed=1, failed=1))
    assert not is_good(make_finished(passed=1, errored=1))
    assert not is_good(make_finished(passed=1, findings=[make_extra_call()]))


def test_noise_is_listed_with_its_reason() -> None:
    uses = [
        NoiseUse(NoiseRule("/body/served_by", "host name"), 12),
        NoiseUse(NoiseRule("/parameters/2", "process id", "SELECT *"), 1),
        NoiseUse(NoiseRule("/body/at"), 0),
    ]
    text = join_text(show_summary(make_finished(noise=uses), Tally(), 80))
    assert text.startswith("""\
not compared because kebpf.yml says so
  12 × /body/served_by: host name
  1 × SELECT * /parameters/2: process id
  never applied: /body/at: no reason is given
""")


def test_cases_set_apart_are_named_by_reason() -> None:
    why = {"a": "the status was 200 and is 503", "b": "it broke", "c": "it broke"}
    lines = join_text(show_summary(make_finished(set_apart=why), Tally(), 80))
    assert lines.startswith(
        "1 case set apart, not run: the status was 200 and is 503\n  a\n"
        "2 cases set apart, not run: it broke\n  b, c\n"
    )
    assert is_good(make_finished(set_apart=why))
