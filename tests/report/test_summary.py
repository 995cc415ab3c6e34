"""What a run comes to."""

from __future__ import annotations

from kebpf.replay.events import Ledger, MissKind, Verdict
from kebpf.replay.noise import NoiseRule, NoiseUse
from kebpf.report.lines import join_text
from kebpf.report.summary import Tally, describe_parts, is_good, show_summary
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
    assert describe_parts(finished, make_tally()) == [
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
1 value not compared, in 1 case
  1 × values that kebpf.yml declares noise
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


def test_unused_mocks_that_are_missing_calls_are_told_once() -> None:
    tally = Tally()
    kinds = ("missing", "changed")
    missing = [make_extra_call(kind=kind, mock=f"mock-{n}") for n, kind in enumerate(kinds)]
    tally.add(make_case("a", calls=missing))
    told = make_finished(unused_mocks=2, ledger=Ledger(1, ["mock-0", "mock-1"]))
    lines = [line.text for line in show_summary(told, tally, 80)]
    assert "2 mocks not used: told above as missing or changed calls" in lines
    more = make_finished(unused_mocks=3, ledger=Ledger(1, ["mock-0", "mock-1", "mock-2"]))
    lines = [line.text for line in show_summary(more, tally, 80)]
    at = lines.index("3 mocks not used, 2 of them told above as missing or changed calls")
    assert lines[at + 1] == "  mock-2"
    tally.add(make_case("b", test_set="other"))  # whose mocks may have the same names
    lines = [line.text for line in show_summary(told, tally, 80)]
    assert lines[lines.index("2 mocks not used") + 1] == "  mock-0, mock-1"


def test_values_not_compared_are_told_by_place() -> None:
    tally = Tally()
    view = {"headers": [["connection", "close"]]}
    for name in "abc":
        tally.add(make_case(name, expected=view, not_compared=1))
    lines = [line.text for line in show_summary(make_finished(), tally, 80)]
    assert lines[:3] == [
        "3 values not compared, in 3 cases",
        "  3 × /headers/connection: it only frames the message",
        "1 passed, 0 failed in 3.1 s",
    ]
    lines = [line.text for line in show_summary(make_finished(), tally, 80, verbose=True)]
    assert lines[2] == "  1 in a, 1 in b, 1 in c"


def test_what_there_was_none_of_is_not_counted() -> None:
    finished = make_finished(passed=0, skipped=2, ledger=Ledger())
    assert describe_parts(finished, Tally()) == ["0 passed, 0 failed, 2 skipped in 3.1 s"]
