"""Puts the page together: what went wrong first, then the other cases, then what was left out."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import TextIO

from kebpf.replay.events import Ledger, RunFailed, RunFinished, RunStarted
from kebpf.report.calls import rank_calls
from kebpf.report.causes import FailureGroup
from kebpf.report.headline import describe_result
from kebpf.report.html.casebody import MOST_FINDINGS, show_finding
from kebpf.report.html.markup import Html, make, unfold
from kebpf.report.lines import Line, count, join_text
from kebpf.report.summary import Tally, describe_parts, is_good, list_notes
from kebpf.report.values import cut, strip_colours

OPEN_GROUPS = 10  # causes of which the first case is there and open from the start
MOST_GROUPS = 100  # causes with a heading of their own
MOST_RUN_FAILURES = 10
NOTE_WIDTH = 110
VERDICTS = ("all", "failed", "errored", "skipped", "passed")
CASE_MARK = Html("<!--case-->")  # between two cases; escaped in all content


@dataclass(slots=True)
class Content:
    """What the page is made of; cases are markup already, those of a group in the run's order."""

    started: RunStarted | None = None
    finished: RunFinished | None = None
    run_failures: list[RunFailed] = field(default_factory=list)
    groups: list[FailureGroup[Html]] = field(default_factory=list)
    others: list[Html] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    cut: list[str] = field(default_factory=list)  # sentences on what the file does not hold
    when: str = ""
    version: str = ""


def write_page(content: Content, out: TextIO) -> None:
    """Writes the whole file."""
    style, script = _read("style.css"), _read("script.js")
    out.write("<!DOCTYPE html>\n")
    out.write(f'<html lang="en">\n{_make_head(content, style, script)}\n<body>\n')
    for part in _make_parts(content):
        out.write(f"{part}\n")
    out.write(f"<script>{script}</script>\n</body>\n</html>\n")


def _read(name: str) -> str:
    return files("kebpf.report.html").joinpath(name).read_text("utf-8")


def _make_head(content: Content, style: str, script: str) -> Html:
    """Nothing but the page's own style and script may be used, by the browser's own guard."""
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    return make(
        "head",
        make("meta", charset="utf-8"),
        make("meta", http_equiv="Content-Security-Policy", content=policy),
        make("meta", name="viewport", content="width=device-width, initial-scale=1"),
        make("title", f"kebpf: {cut(_tell_result(content), 120)}"),
        Html(f"<style>{style}</style>"),
    )


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def _tell_result(content: Content) -> str:
    reasons = [failure.reason for failure in content.run_failures]
    return describe_result(content.finished, reasons, len(content.groups))


def _make_parts(content: Content) -> Iterator[Html]:
    yield _make_header(content)
    yield from _make_run_failures(content.run_failures)
    yield _make_tools()
    yield from _make_groups(content.groups)
    yield from _make_findings(content.finished)
    if content.others:
        title = "Other cases" if content.groups else "Cases"
        yield make("section", make("h2", title), make_list([], content.others), id="cases")
    yield from _make_notes(content)
    yield _make_footer(content)


def _make_header(content: Content) -> Html:
    good = content.finished is not None and is_good(content.finished) and not content.run_failures
    parts = [make("h1", _tell_result(content))]
    if content.started is not None:
        sets = ", ".join(content.started.test_sets)
        command = " ".join(content.started.command)
        words = [f"test set {cut(sets, 300)}, started by ", make("code", cut(command, 500))]
        if content.started.shuffle is not None:
            words.append(f", shuffled: --shuffle {content.started.shuffle}")
        parts.append(make("p", *words, class_="faint"))
    if content.finished is not None:
        items = (make("li", part) for part in describe_parts(content.finished, content.tally))
        parts.append(make("ul", *items, class_="counts"))
    return make("header", *parts, class_="good" if good else "bad")


def _make_run_failures(failures: Sequence[RunFailed]) -> Iterator[Html]:
    for failure in failures[:MOST_RUN_FAILURES]:
        output = "\n".join(strip_colours(line) for line in failure.output)
        parts = [make("p", failure.reason, class_="error")]
        if output:
            parts += [make("p", "The application's last lines:"), make("pre", output)]
        yield make("section", make("h2", "The run failed"), *parts, class_="bad")


def _make_tools() -> Html:
    choices = [
        make(
            "label",
            make("input", type="radio", name="verdict", value=one, checked=one == "all"),
            f" {one}",
        )
        for one in VERDICTS
    ]
    label = "Search: names, requests, calls, values  ( / )"
    search = make("input", type="search", id="search", placeholder=label, aria_label="Search")
    status = make("span", "", id="status", role="status", class_="faint")
    return make("div", search, make("fieldset", *choices), status, class_="tools")


def make_list(first: Sequence[Html], rest: Sequence[Html]) -> Html:
    """Cases of which ``first`` are there at once, the rest when a script shows them.

    Where scripts are off, all of them are shown.
    """
    listed = [case for case in rest if case]
    later = make("noscript", Html(CASE_MARK.join(listed))) if listed else ""
    return make("div", *first, later, class_="list")


def _make_groups(groups: Sequence[FailureGroup[Html]]) -> Iterator[Html]:
    if not groups:
        return
    yield make("section", make("h2", "What went wrong"), class_="bad")
    for number, group in enumerate(groups[:MOST_GROUPS]):
        opened = 1 if number < OPEN_GROUPS else 0
        text = f"{count(len(group.cases), 'case')} with this cause"
        yield make(
            "article",
            make("h3", cut(group.title, 600)),
            make("p", text, class_="faint") if len(group.cases) > 1 else "",
            make_list(group.cases[:opened], group.cases[opened:]),
            class_="group",
        )
    rest = [case for group in groups[MOST_GROUPS:] for case in group.cases]
    if rest:
        causes = count(len(groups) - MOST_GROUPS, "further cause")
        yield make("article", make("h3", causes), make_list([], rest), class_="group")


def _make_findings(finished: RunFinished | None) -> Iterator[Html]:
    findings = rank_calls(finished.findings) if finished else []
    if findings:
        items = make("ul", *map(show_finding, findings[:MOST_FINDINGS]), class_="calls")
        left = len(findings) - MOST_FINDINGS
        more = make("p", f"and {count(left, 'more call')}", class_="faint") if left > 0 else ""
        title = make("h2", "Calls that belong to no one case")
        yield make("section", title, items, more, class_="bad")


def _make_notes(content: Content) -> Iterator[Html]:
    finished = content.finished or RunFinished(0, 0, 0, 0, 0, 0, 0.0, ledger=Ledger())
    notes: list[Line] = list_notes(finished, content.tally, NOTE_WIDTH)
    if notes:
        text = make("pre", join_text(notes))
        yield make("section", make("h2", "What this run does not say"), text)


def _make_footer(content: Content) -> Html:
    sentences = [*content.cut, f"Written by kebpf {content.version}, {content.when}."]
    keys = unfold(
        "Keys",
        make("p", "/ search, Escape ends it; j and k go from case to case, Enter unfolds one."),
    )
    return make("footer", make("p", " ".join(sentences), class_="faint"), keys)
