"""The report as Markdown for pull requests and job summaries: short, details folded, bounded."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import escape
from typing import TextIO

from kebpf.replay.events import (
    CaseFinished,
    RunEvent,
    RunFailed,
    RunFinished,
    RunStarted,
    Verdict,
)
from kebpf.report.calls import rank_calls, show_call
from kebpf.report.causes import FailureGroup, Grouping
from kebpf.report.failure import show_failure
from kebpf.report.headline import describe_result
from kebpf.report.lines import count, join_text
from kebpf.report.requests import show_request
from kebpf.report.summary import Tally, describe_parts, is_good, list_notes
from kebpf.report.values import cut, escape_controls, strip_colours

MOST_SIZE = 60_000  # bytes; GitHub takes 65,536 characters in a comment
MOST_DETAILS = 6_000  # characters of one fold
MOST_CAUSE = 300
MOST_NAMES = 20  # of the cases with one cause
MOST_CAUSES = 50  # with a heading of their own
WIDTH = 100
_ROOM_FOR_END = 300
_TICKS = re.compile("`+")


class MarkdownReporter:
    """Writes when closed; of each case only its name is kept, of the first of a cause its text."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._started: RunStarted | None = None
        self._finished: RunFinished | None = None
        self._run_failures: list[RunFailed] = []
        self._failures = Grouping[tuple[str, str]]()  # its name; its text if it is a first one
        self._with_text = 0
        self._tally = Tally()

    def handle(self, event: RunEvent) -> None:
        match event:
            case RunStarted():
                self._started = event
            case CaseFinished():
                self._add_case(event)
            case RunFailed():
                self._run_failures.append(event)
            case RunFinished():
                self._finished = event
                self._tally.add_misses(event.findings)

    def _add_case(self, case: CaseFinished) -> None:
        self._tally.add(case)
        if case.verdict not in (Verdict.FAILED, Verdict.ERRORED):
            return
        group = self._failures.group_of(case)
        text = ""
        if not group.cases and self._with_text < MOST_CAUSES:
            self._with_text += 1
            head = f"{case.verdict.value} {case.case}  {show_request(case.request)}"
            text = _bound(f"{head}\n{join_text(show_failure(case, WIDTH))}")
        group.cases.append((case.case, text))

    def close(self) -> None:
        room, left_out = MOST_SIZE - _ROOM_FOR_END, 0
        for part in self._make_parts():
            size = len(part.encode(errors="backslashreplace")) + 1
            if size > room:
                left_out += 1
                continue
            room -= size
            self._out.write(f"{part}\n")
        if left_out:
            text = f"{count(left_out, 'part')} of this report left out to stay below"
            self._out.write(f"\n_{text} {MOST_SIZE // 1000} KB; `--html` writes all of it._\n")
        self._out.flush()

    def _make_parts(self) -> Iterator[str]:
        """Piece by piece, the most important first; each can stand without those after it."""
        groups = self._failures.ranked()
        yield self._make_head(len(groups))
        for failure in self._run_failures[:1]:
            output = "\n".join(strip_colours(line) for line in failure.output)
            if output:
                yield f"\nThe application's last lines:\n\n{fence(_bound(output))}"
        for group in groups[:MOST_CAUSES]:
            yield from self._make_group(group)
        if len(groups) > MOST_CAUSES:
            cases = sum(len(group.cases) for group in groups[MOST_CAUSES:])
            more = count(len(groups) - MOST_CAUSES, "more cause")
            yield f"\nand {more} of {count(cases, 'case')}"
        if self._finished is not None:
            yield from self._make_end(self._finished)

    def _make_head(self, causes: int) -> str:
        finished = self._finished
        reasons = [failure.reason for failure in self._run_failures]
        result = describe_result(finished, [], causes)
        good = finished is not None and is_good(finished) and not reasons
        lines = [
            f"## {'✅' if good else '❌'} kebpf: {result if not reasons else 'the run failed'}"
        ]
        lines += [f"\n{code(cut(reason, MOST_CAUSE))}" for reason in reasons[:1]]
        if finished is not None:
            lines.append(f"\n{' · '.join(describe_parts(finished, self._tally))}")
        if self._started is not None and self._started.shuffle is not None:
            lines.append(f"\nin the order of `--shuffle {self._started.shuffle}`")
        return "\n".join(lines)

    def _make_group(self, group: FailureGroup[tuple[str, str]]) -> Iterator[str]:
        names = [code(cut(name, 100)) for name, _ in group.cases[:MOST_NAMES]]
        left = len(group.cases) - len(names)
        more = f" and {count(left, 'other')}" if left else ""
        yield (
            f"\n### {code(cut(group.title, MOST_CAUSE))}\n\n"
            f"{count(len(group.cases), 'case')}: {', '.join(names)}{more}"
        )
        text = group.cases[0][1]
        if text:
            yield fold("What differs, and how to repeat it", text)

    def _make_end(self, finished: RunFinished) -> Iterator[str]:
        findings = rank_calls(finished.findings)
        if findings:
            lines = [line for finding in findings for line in show_call(finding, WIDTH)]
            yield f"\n### {count(len(findings), 'call')} not as recorded, of no one case"
            yield fold("Show", _bound(join_text(lines)))
        notes = list_notes(finished, self._tally, WIDTH)
        if notes:
            yield fold("What this run does not say", _bound(join_text(notes)))


def fold(summary: str, text: str) -> str:
    """Text that is shown on demand."""
    head = f"<details><summary>{escape(summary)}</summary>"
    return f"\n{head}\n\n{fence(text)}\n\n</details>"


def fence(text: str) -> str:
    """A block of text as it is, fenced by more backticks than are in it (CommonMark 4.5)."""
    longest = max(map(len, _TICKS.findall(text)), default=0)
    ticks = "`" * max(3, longest + 1)
    return f"{ticks}text\n{text}\n{ticks}"


def code(text: str) -> str:
    """A code span on one line (CommonMark 6.1): nothing in it is markup, nobody is mentioned."""
    line = " ".join(escape_controls(text).split()) or " "
    ticks = "`" * (max(map(len, _TICKS.findall(line)), default=0) + 1)
    space = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{ticks}{space}{line}{space}{ticks}"


def _bound(text: str) -> str:
    """The first lines of a text and how many more there are."""
    lines: list[str] = []
    every: Sequence[str] = text.splitlines()
    room = MOST_DETAILS
    for line in every:
        short = cut(escape_controls(line), 2000)
        room -= len(short) + 1
        if room < 0:
            return "\n".join([*lines, f"and {count(len(every) - len(lines), 'more line')}"])
        lines.append(short)
    return "\n".join(lines)
