"""The page as a browser shows it: no errors, unfolding, copying, filtering, many cases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kebpf.replay.events import Mismatch, RunEvent, RunFailed, RunStarted
from tests.report.builders import make_case, make_failed, make_finished
from tests.report.html.builders import HOSTILE, make_rich, report
from tests.report.html.webdriver import CONTROL, Browser, open_browser

pytestmark = pytest.mark.browser
STARTED = RunStarted(["shop-1"], 3, ["python", "-m", "shop"])
NODES = "return document.getElementsByTagName('*').length"
# Of the cases on the page those that can be seen, and what of a case is there.
SHOWN = (
    "return [...document.querySelectorAll('details.case')].filter(one => one.checkVisibility())"
    ".map(one => one.querySelector('.name').textContent)"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


def show(browser: Browser, folder: Path, *events: RunEvent) -> None:
    path = folder / "report.html"
    path.write_text(report(*events), encoding="utf-8", errors="backslashreplace")
    browser.take_log()
    browser.open(path.as_uri())


def text_of(browser: Browser, selector: str) -> Any:
    return browser.run("return document.querySelector(arguments[0]).innerText", selector)


def test_a_failure_is_shown_whole_and_unfolds(browser: Browser, tmp_path: Path) -> None:
    finished = make_finished(failed=2)
    show(browser, tmp_path, STARTED, make_case(), make_rich(), make_rich("second"), finished)
    assert browser.run(SHOWN) == ["post-orders-77aa", "second", "get-orders-1a2b"]
    assert "2 of 3 cases failed, from 1 cause" in text_of(browser, "h1")
    is_open = "return document.querySelector('details.whole').open"
    rows = "return document.querySelectorAll('.beside .row.changed')[1].checkVisibility()"
    assert [browser.run(is_open), browser.run(rows)] == [False, False]
    browser.click("details.whole > summary")
    assert [browser.run(is_open), browser.run(rows)] == [True, True]
    changed = text_of(browser, ".beside .row.changed:nth-of-type(2)")
    assert changed.split() == ["status:", "200", "status:", "500"]
    assert browser.take_log() == []


def test_a_case_is_parsed_when_it_is_unfolded(browser: Browser, tmp_path: Path) -> None:
    show(browser, tmp_path, make_rich(), make_rich("second"), make_finished(failed=2))
    before = browser.run(NODES)
    browser.click("details.case:nth-of-type(2) > summary")
    assert browser.run("return document.querySelectorAll('.body').length") == 2
    assert browser.run(NODES) > before + 50
    assert "nearest" in text_of(browser, "details.case:nth-of-type(2) .body")


def test_copied_is_what_stands_there(browser: Browser, tmp_path: Path) -> None:
    case = make_rich(curl="curl 'http://a/?b=<c>&d' -H \"$(printf '\\303\\377')\"")
    show(browser, tmp_path, case, make_finished(failed=1))
    browser.click(".command button")
    browser.type("#search", f"{CONTROL}v")
    assert browser.run("return document.getElementById('search').value") == case.curl
    assert browser.take_log() == []


def test_search_and_verdicts_choose_cases(browser: Browser, tmp_path: Path) -> None:
    passed = [make_case(f"get-a-{n}", request=f"GET /a/{n}?x=<{n}>") for n in range(3)]
    show(browser, tmp_path, *passed, make_rich(), make_finished(passed=3, failed=1))
    browser.type("#search", "?X=<1>")
    assert browser.run(SHOWN) == ["get-a-1"]
    assert text_of(browser, "#status") == "1 of 4 cases"
    browser.type("#search", "\ue00c")  # Escape
    assert len(browser.run(SHOWN)) == 4
    browser.click("input[value=failed]")
    assert browser.run(SHOWN) == ["post-orders-77aa"]
    browser.click("input[value=all]")
    browser.type("#search", "select id nearest")  # words of a call
    assert browser.run(SHOWN) == ["post-orders-77aa"]


def test_keys_go_from_case_to_case(browser: Browser, tmp_path: Path) -> None:
    show(browser, tmp_path, make_case("a"), make_case("b"), make_finished(passed=2))
    browser.type("body", "jj")
    focused = "return document.activeElement.querySelector('.name').textContent"
    assert browser.run(focused) == "b"
    browser.type("body", "k")
    assert browser.run(focused) == "a"
    browser.type("body", "/")
    assert browser.run("return document.activeElement.id") == "search"


def test_recorded_content_is_never_markup(browser: Browser, tmp_path: Path) -> None:
    hostile = {"request": HOSTILE, "curl": HOSTILE, "repeat": HOSTILE, "sent": {HOSTILE: HOSTILE}}
    body = {"status": 200, "headers": [[HOSTILE, HOSTILE]], "body": HOSTILE}
    changes: dict[str, Any] = {
        **hostile,
        "mismatches": [Mismatch(HOSTILE, "changed", HOSTILE, HOSTILE.encode(errors="replace"))],
        "expected": body,
        "actual": {**body, "body": b"\xff</pre>" * 3},
    }
    cases = [make_rich(f"{n}{HOSTILE}", **changes) for n in range(3)]
    show(browser, tmp_path, *cases, make_case(HOSTILE, **hostile), RunFailed(HOSTILE, [HOSTILE]))
    assert browser.run("return document.querySelectorAll('details.case').length") == 4
    browser.run("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert browser.run("return window.hit ?? null") is None
    assert browser.run("return document.querySelectorAll('img').length") == 0
    assert browser.take_log() == []


def test_of_2000_cases_the_page_holds_few(browser: Browser, tmp_path: Path) -> None:
    passed = [make_case(f"case-{n}") for n in range(1000)]
    failed = [make_rich(f"bad-{n}", request=f"GET /{n % 40 * 'x'}") for n in range(1000)]
    show(browser, tmp_path, *passed, *failed, make_finished(passed=1000, failed=1000))
    assert browser.run(NODES) < 6000
    assert text_of(browser, "#status") == "2000 cases"
    assert len(browser.run(SHOWN)) < 100
    browser.click("#cases button.more")
    assert len(browser.run(SHOWN)) > 200
    browser.type("#search", "bad-777")
    assert browser.run(SHOWN) == ["bad-777"]
    assert browser.take_log() == []


def test_without_scripts_all_can_be_read(tmp_path: Path) -> None:
    with open_browser(has_scripts=False) as plain:
        many = [make_failed(f"bad-{n}") for n in range(20)]
        show(plain, tmp_path, *many, *map(make_case, ("a", "b")), make_finished(failed=20))
        assert len(plain.run(SHOWN)) == 22
        assert plain.run("return document.querySelector('.tools').checkVisibility()") is False
