"""Collects a run as markup, case by case and within a cap, and writes the page when it is over."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TextIO

from kebpf import __version__
from kebpf.replay.events import (
    CaseFinished,
    RunEvent,
    RunFailed,
    RunFinished,
    RunStarted,
    Verdict,
)
from kebpf.report.causes import Grouping
from kebpf.report.html.casebody import show_body, show_briefly, show_case
from kebpf.report.html.markup import Html
from kebpf.report.html.page import OPEN_GROUPS, Content, write_page
from kebpf.report.lines import count

MIB = 1024 * 1024
MOST_FAILING = 12 * MIB  # of markup of failed cases, as UTF-8
MOST_PASSING = 6 * MIB  # of the others
MOST_BRIEF = 2 * MIB  # of cases that are told without their details
FAILING = (Verdict.FAILED, Verdict.ERRORED)
NO_ROOM = "Its details were left out to keep this file small; the command below shows them."


def _now() -> datetime:
    return datetime.now(UTC)


class HtmlReporter:
    """Writes one file of at most some 20 MiB; what it had no room for is counted and said in it.

    Of each case only its markup is kept, so memory is bounded as the file is.
    """

    def __init__(self, out: TextIO, now: Callable[[], datetime] = _now) -> None:
        self._out = out
        self._now = now
        self._content = Content(version=__version__)
        self._failures = Grouping[Html]()
        self._rooms = {"failing": MOST_FAILING, "passing": MOST_PASSING, "brief": MOST_BRIEF}
        self._without_details = 0
        self._not_listed = 0
        self._opened = 0

    def handle(self, event: RunEvent) -> None:
        match event:
            case RunStarted():
                self._content.started = event
            case CaseFinished():
                self._content.tally.add(event)
                self._add_case(event)
            case RunFailed():
                self._content.run_failures.append(event)
            case RunFinished():
                self._content.finished = event
                self._content.tally.add_misses(event.findings)

    def close(self) -> None:
        content = self._content
        content.groups = self._failures.ranked()
        content.when = self._now().strftime("%Y-%m-%d %H:%M UTC")
        content.cut = self._tell_cuts()
        write_page(content, self._out)
        self._out.flush()

    def _add_case(self, case: CaseFinished) -> None:
        if case.verdict not in FAILING:
            self._add_to(self._content.others, case, "passing")
            return
        group = self._failures.group_of(case)
        is_open = not group.cases and self._opened < OPEN_GROUPS
        self._opened += is_open
        self._add_to(group.cases, case, "failing", is_open)

    def _add_to(
        self, cases: list[Html], case: CaseFinished, room: str, is_open: bool = False
    ) -> None:
        markup = None
        if self._rooms[room] > 0:
            markup = self._fit(show_case(case, is_open=is_open, body=show_body(case)), room)
        if markup is None and self._rooms["brief"] > 0:
            markup = self._fit(show_case(case, body=show_briefly(case, NO_ROOM)), "brief")
            self._without_details += markup is not None
        self._not_listed += markup is None
        if markup is not None or room == "failing":
            cases.append(markup or Html(""))  # a group knows how many cases it has

    def _fit(self, markup: Html, room: str) -> Html | None:
        size = len(markup.encode())
        if size > self._rooms[room]:
            self._rooms[room] = 0  # all after it are told alike, however small
            return None
        self._rooms[room] -= size
        return markup

    def _tell_cuts(self) -> list[str]:
        most = (MOST_FAILING + MOST_PASSING + MOST_BRIEF) // MIB
        sentences = []
        if self._without_details:
            cases = count(self._without_details, "case")
            sentences.append(f"To stay below {most} MiB it has no details of {cases}.")
        if self._not_listed:
            cases = count(self._not_listed, "more case")
            sentences.append(f"It does not list {cases}, which the counts above include.")
        return sentences
