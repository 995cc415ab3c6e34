"""The text and the JSON of what differs between two runs."""

from __future__ import annotations

import json

from kebpf.replay.events import Mismatch
from kebpf.report.lines import join_text
from kebpf.report.rundiff import RunDiff, compare_runs
from kebpf.report.rundiffs import run_diff_to_json, show_run_diff
from kebpf.report.runfile import parse_run
from tests.report.builders import make_case, make_extra_call, make_failed
from tests.report.runs import write_run


def make_diff() -> RunDiff:
    other = make_failed("both", mismatches=[Mismatch("/body/total", "changed", 5, 6)])
    before = [make_case("good"), make_failed("mended"), make_failed("both"), make_case("weak")]
    after = [
        make_failed("good", calls=[make_extra_call()]),
        make_case("mended"),
        other,
        make_case("weak", exact=3),
    ]
    return compare_runs(
        parse_run(write_run(before), "old.jsonl"), parse_run(write_run(after), "new.jsonl")
    )


def test_the_whole_text() -> None:
    assert join_text(show_run_diff(make_diff())) == (
        """\
first   old.jsonl: 2 failed, 2 passed
second  new.jsonl: 2 failed, 2 passed

newly failing: 1
  good  POST /orders
    extra call: SELECT id, total FROM orders WHERE customer = $1 AND open
      (nearest: SELECT id, total FROM orders WHERE customer = $1), and so: 500
      instead of 200

newly passing: 1
  mended  GET /orders
    was: 500 instead of 200

failing for another cause: 1
  both  POST /orders
    was: 500 instead of 200
    now: /body/total changed: recorded 5, came 6

fewer values compared: 1
  weak  GET /orders
    exactly 10 → 3

the verdicts differ: 1 alike, 1 failing for another cause"""
    )


def test_two_equal_runs() -> None:
    run = parse_run(write_run([make_case("a")]), "run.jsonl")
    assert join_text(show_run_diff(compare_runs(run, run))) == (
        "first   run.jsonl: 1 passed\nsecond  run.jsonl: 1 passed\n"
        "the verdicts are the same: 1 alike"
    )


def test_a_run_that_was_cut_short_is_said() -> None:
    whole = write_run([make_case("a"), make_case("b")])
    runs = parse_run(whole, "old"), parse_run(whole[: whole.index(b'"case": "b"')], "new")
    text = join_text(show_run_diff(compare_runs(*runs)))
    assert "second  new: 1 passed; cut short: 1 of 2 cases" in text
    assert "the second run ended early: nothing can be said of 1 case that it did not" in text


def test_no_line_is_wider_than_asked() -> None:
    long = [make_failed("x" * 200, request="GET /" + "y" * 300, error="z" * 500)]
    diff = compare_runs(
        parse_run(write_run([make_case("x" * 200)]), "p" * 100), parse_run(write_run(long), "q")
    )
    assert max(len(line.text) for line in show_run_diff(diff)) <= 80


def test_json_names_the_cases() -> None:
    document = json.loads(run_diff_to_json(make_diff()))
    assert document["same_verdicts"] is False
    assert document["newly_failing"][0]["case"] == "good"
    assert document["newly_failing"][0]["after"]["verdict"] == "failed"
    assert document["failing_differently"][0]["after"]["cause"].startswith("/body/total")
    assert document["weaker"] == [
        {
            "test_set": "shop-1",
            "case": "weak",
            "before": {"exact": 10, "by_class": 2, "not_compared": 0},
            "after": {"exact": 3, "by_class": 2, "not_compared": 0},
        }
    ]
