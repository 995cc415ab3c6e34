"""Markdown, read by a CommonMark parser: what is content must stay content."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from kebpf.replay.events import Mismatch, RunEvent, RunFailed, RunStarted
from kebpf.report.markdown import MOST_SIZE, MarkdownReporter, code, fence
from kebpf.report.values import escape_controls
from tests.report.builders import make_case, make_extra_call, make_failed, make_finished

STARTED = RunStarted(["shop-1"], 3, ["python", "-m", "shop"])
HOSTILE = "```\n</details>\n# big @everyone <script> `` ` [a](b) | \x1b[2J\u202e"


def report(*events: RunEvent) -> str:
    out = io.StringIO()
    reporter = MarkdownReporter(out)
    for event in events:
        reporter.handle(event)
    reporter.close()
    return out.getvalue()


def parse(text: str) -> list[Token]:
    return MarkdownIt("commonmark").parse(text)


def test_the_whole_report() -> None:
    calls = [make_extra_call(call="SELECT 1", nearest=None, fields=[])]
    first, second = (make_failed(name, calls=calls, curl="", repeat="kebpf test") for name in "ab")
    text = report(STARTED, make_case(), first, second, make_finished(passed=1, failed=2))
    assert (
        text
        == """\
## ❌ kebpf: 2 of 3 cases failed, from 1 cause

1 passed, 2 failed in 3.1 s · 30 values compared exactly, 6 by class, 0 not compared · 75 of 75 \
mocks used

### `extra call: SELECT 1`

2 cases: `a`, `b`

<details><summary>What differs, and how to repeat it</summary>

```text
failed a  POST /orders
  extra call: SELECT 1
    to 10.0.0.5:5432 (postgres); never recorded: no call like it was recorded to this destination
  and so the response
    /status: recorded 200, came 500
  repeat:  kebpf test
```

</details>

<details><summary>What this run does not say</summary>

```text
2 calls not as recorded, 0 of them without an answer
  2 never recorded: no call like it was recorded to this destination
```

</details>
"""
    )


def test_a_run_that_passes_is_two_lines() -> None:
    text = report(STARTED, make_case(), make_finished())
    assert text.splitlines() == [
        "## ✅ kebpf: The one case passed",
        "",
        "1 passed, 0 failed in 3.1 s · 10 values compared exactly, 2 by class, 0 not compared · "
        "75 of 75 mocks used",
    ]


def test_a_run_that_failed_says_why_and_shows_the_last_lines() -> None:
    text = report(RunFailed("it ended with status 1", ["\x1b[31mboom"]), make_finished(passed=0))
    assert text.startswith("## ❌ kebpf: the run failed\n\n`it ended with status 1`\n")
    assert "```text\nboom\n```" in text


def test_a_run_cut_short_says_so() -> None:
    assert report(make_case()) == "## ❌ kebpf: The run was cut short\n"


@given(st.text())
def test_any_text_stays_in_its_span(text: str) -> None:
    [_, inline, _] = parse(f"a {code(text)} b")
    assert [child.type for child in inline.children or ()] == ["text", "code_inline", "text"]
    assert (inline.children or [])[1].content.split() == escape_controls(text).split()


@given(st.text(alphabet=st.characters(exclude_characters="\x00\r", exclude_categories=["Cs"])))
def test_any_text_stays_in_its_fence(text: str) -> None:
    tokens = parse(f"{fence(text)}\n\nafter")
    assert [token.type for token in tokens][:2] == ["fence", "paragraph_open"]
    assert tokens[0].content == f"{text}\n"


def test_hostile_content_makes_no_markup() -> None:
    mismatches = [Mismatch(HOSTILE, "changed", HOSTILE, HOSTILE + "x")]
    failed = make_failed(
        HOSTILE, request=HOSTILE, mismatches=mismatches, curl=HOSTILE, error=HOSTILE
    )
    text = report(failed, RunFailed(HOSTILE, [HOSTILE]), make_finished(failed=1))
    tokens = parse(text)
    plain = [child for token in tokens for child in token.children or () if child.type == "text"]
    assert not any("everyone" in token.content for token in plain)
    blocks = [token.content for token in tokens if token.type == "html_block"]
    assert blocks == [
        "<details><summary>What differs, and how to repeat it</summary>\n",
        "</details>\n",
    ]
    assert [token.tag for token in tokens if token.type == "heading_open"] == ["h2", "h3"]


def test_however_much_fails_the_report_is_bounded_and_says_so() -> None:
    failed = [
        make_failed(
            f"case-{n}",
            request=f"GET /{'x' * n}",
            mismatches=[Mismatch(f"/{i}", "changed", "a" * 90, "é" * 90) for i in range(40)],
        )
        for n in range(200)
    ]
    text = report(*failed, make_finished(failed=200))
    assert MOST_SIZE - 10_000 < len(text.encode()) <= MOST_SIZE
    assert text.startswith("## ❌ kebpf: 200 of 201 cases failed, from 200 causes")
    assert "and 150 more causes of 150 cases" in text
    assert "left out to stay below 60 KB; `--html` writes all of it._\n" in text
    assert text.count("<details>") == text.count("</details>")


def test_of_many_cases_with_one_cause_some_are_named() -> None:
    text = report(*(make_failed(f"case-{n}") for n in range(40)), make_finished(failed=40))
    assert "40 cases: `case-0`, `case-1`," in text
    assert "`case-19` and 20 others\n" in text
