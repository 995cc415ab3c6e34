"""The file as a whole: its order, its caps, and that it needs nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest

from kebpf.replay.events import RunFailed, RunStarted, Verdict
from kebpf.report.html import reporter
from tests.report.builders import make_case, make_extra_call, make_failed, make_finished
from tests.report.html.builders import make_rich, report
from tests.report.html.test_markup import Reading

STARTED = RunStarted(["shop-1"], 3, ["python", "-m", "shop"], shuffle=7)


def test_failures_come_first_by_cause() -> None:
    errored = make_failed("broken", verdict=Verdict.ERRORED, error="no answer")
    cases = (make_case("good"), make_failed("odd"), make_rich("one"), make_rich("two"), errored)
    page = report(STARTED, *cases, make_finished(passed=1, failed=3, errored=1))
    names = re.findall(r'class="name">([^<]+)<', page)
    assert names == ["broken", "one", "two", "odd", "good"]
    text = Reading(page.partition("<body>")[2]).text
    assert "4 of 5 cases failed, from 3 causes" in text
    assert "2 cases with this cause" in text
    assert "--shuffle 7" in text


def test_nothing_is_loaded_and_only_its_own_script_may_run() -> None:
    page = report(STARTED, make_rich(), make_finished(failed=1))
    tags = Reading(page).tags
    assert not {"link", "img", "iframe", "object", "base", "form"} & {tag for tag, _ in tags}
    used = {name for _, attributes in tags for name in attributes}
    assert not used & {"src", "href", "style", "action"}
    assert not [name for name in used if name.startswith("on")]
    assert "url(" not in page and "@import" not in page
    [policy] = [a["content"] or "" for _, a in tags if a.get("http-equiv")]
    for tag in ("style", "script"):
        content = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert content is not None
        digest = base64.b64encode(hashlib.sha256(content[1].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")


def test_a_run_that_failed_shows_the_reason_and_the_last_lines() -> None:
    failed = RunFailed("it ended with status 1", ["\x1b[31mImportError: shop\x1b[0m"])
    page = report(STARTED, failed, make_finished(passed=0, skipped=3))
    text = Reading(page.partition("<body>")[2]).text
    assert "The run failed: it ended with status 1" in text
    assert "\nImportError: shop" in text.replace("lines:", "lines:\n")


def test_a_run_cut_short_is_still_a_page() -> None:
    text = Reading(report(STARTED, make_rich()).partition("<body>")[2]).text
    assert "The run was cut short" in text
    assert "post-orders-77aa" in text


def test_calls_of_no_case_and_notes_are_there() -> None:
    finished = make_finished(findings=[make_extra_call(call="GET left")], unused_mocks=3)
    text = Reading(report(make_case(not_compared=2), finished).partition("<body>")[2]).text
    assert "extra call GET left" in text
    assert "2 values not compared, in 1 case" in text


def test_what_there_is_no_room_for_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporter, "MOST_FAILING", 20_000)
    monkeypatch.setattr(reporter, "MOST_PASSING", 3_000)
    monkeypatch.setattr(reporter, "MOST_BRIEF", 20_000)
    failed = [make_rich(f"bad-{n}") for n in range(50)]
    passed = [make_case(f"good-{n}") for n in range(100)]
    page = report(*failed, *passed, make_finished(passed=100, failed=50))
    listed = len(re.findall('class="name">', page))
    brief = page.count("Its details were left out")
    text = Reading(page.partition("<body>")[2]).text
    assert 20 < brief < listed < 150
    assert f"it has no details of {brief} cases." in text
    assert f"It does not list {150 - listed} more cases" in text
    assert "50 cases with this cause" in text
    assert len(page) < 80_000


def test_the_file_is_bounded_whatever_the_bodies_are() -> None:
    body = {"status": 200, "body": "x\n" * 100_000}
    other = {"status": 500, "body": "y\n" * 100_000}
    cases = [make_rich(f"bad-{n}", expected=body, actual=other) for n in range(40)]
    assert len(report(*cases, make_finished(failed=40))) < 12_000_000
