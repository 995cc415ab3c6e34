"""The report for people: a line a case as it ends, failures by cause at the end, a summary."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.text import Text

from kebpf.replay.events import (
    ApplicationReady,
    CaseFinished,
    RunEvent,
    RunFailed,
    RunFinished,
    RunStarted,
    Verdict,
)
from kebpf.report.causes import Grouping
from kebpf.report.failure import show_failure
from kebpf.report.lines import Line, Tone, count, fill
from kebpf.report.requests import show_request
from kebpf.report.summary import Tally, show_summary
from kebpf.report.values import cut, escape_controls, strip_colours

PLAIN_WIDTH = 80
MAX_WIDTH = 160
MIN_REQUEST_WIDTH = 16
MORE_NAMES = 10  # of further cases with one cause

MARKS = {
    Verdict.PASSED: ("✓", "green"),
    Verdict.FAILED: ("✗", "red"),
    Verdict.ERRORED: ("!", "magenta"),
    Verdict.SKIPPED: ("-", "yellow"),
}
STYLES = {
    Tone.PLAIN: "",
    Tone.GOOD: "bold green",
    Tone.BAD: "bold red",
    Tone.WARNING: "yellow",
    Tone.FAINT: "dim",
    Tone.HEADING: "bold",
    Tone.EXPECTED: "red",
    Tone.ACTUAL: "green",
}


class TerminalReporter:
    """Writes to ``out``; plain lines of 80 columns, without colour, when that is no terminal."""

    def __init__(self, out: TextIO, *, verbose: bool = False, width: int | None = None) -> None:
        self._out = out
        self._console = Console(file=out, highlight=False, markup=False, emoji=False)
        available = self._console.width if self._console.is_terminal else PLAIN_WIDTH
        self._width = width or min(available, MAX_WIDTH)
        self._verbose = verbose
        self._tally = Tally()
        self._failures = Grouping[CaseFinished]()
        self._run_failures: list[str] = []
        self._is_running = False
        self._is_alone = False

    def handle(self, event: RunEvent) -> None:
        match event:
            case RunStarted():
                self._show_start(event)
            case ApplicationReady():
                self._show_ready(event)
            case CaseFinished():
                self._show_case(event)
            case RunFailed():
                self._show_run_failure(event)
            case RunFinished():
                self._show_end(event)

    def close(self) -> None:
        if self._is_running:
            self._show_failures()
            self._print(Line(""), Line("the run was cut short", Tone.BAD))

    def _print(self, *lines: Line) -> None:
        for line in lines:
            self._print_text(Text(line.text, STYLES[line.tone]))

    def _print_text(self, text: Text) -> None:
        if self._console.color_system is None and "\t" not in text.plain:
            self._out.write(text.plain + "\n")  # the same at a tenth of the cost
            self._out.flush()
            return
        self._console.print(text, soft_wrap=True)

    def _show_start(self, event: RunStarted) -> None:
        self._is_running = True
        sets = ", ".join(event.test_sets)
        self._is_alone = event.is_alone
        cases = count(event.cases, "case") + (", each alone," if event.is_alone else "")
        many = f" in {event.jobs} instances" if event.jobs > 1 else ""
        self._print(Line(cut(f"{cases} from {sets}{many}", self._width)))
        if event.shuffle is not None:
            self._print(Line(f"shuffled: --shuffle {event.shuffle} is this order again"))
        if not event.cases:
            return  # nothing is started for nothing
        command = escape_controls(shlex.join(event.command))
        self._print(Line(cut(f"starting {command}", self._width), Tone.FAINT))

    def _show_ready(self, event: ApplicationReady) -> None:
        if self._is_alone:
            return  # a line for every case would say no more
        where = ", ".join([*map(str, event.ports), *event.paths]) or "nothing"
        text = f"{event.test_set}: pid {event.pid} listens on {where} after {event.seconds:.1f} s"
        self._print(Line(cut(text, self._width), Tone.FAINT))

    def _show_case(self, case: CaseFinished) -> None:
        self._tally.add(case)
        if case.verdict in (Verdict.FAILED, Verdict.ERRORED):
            self._keep_failure(case)
        mark, style = MARKS[case.verdict]
        name, request = escape_controls(case.case), show_request(case.request)
        taken = _show_time(case.seconds)
        room = self._width - len(f"{mark}   {taken}  ")
        name = cut(name, max(room - MIN_REQUEST_WIDTH, MIN_REQUEST_WIDTH))
        request = cut(request, room - len(name))
        self._print_text(Text.assemble((mark, style), f" {name}  ", (request, "dim"), f"  {taken}"))

    def _keep_failure(self, case: CaseFinished) -> None:
        """Of a case that will only be named, what may be large is let go."""
        group = self._failures.group_of(case)
        if group.cases and not self._verbose:
            case = CaseFinished(case.test_set, case.case, case.request, case.verdict, case.seconds)
        group.cases.append(case)

    def _show_failures(self) -> None:
        """Of cases with one cause the first is shown; all are with ``verbose``."""
        for group in self._failures.ranked():
            shown = group.cases if self._verbose else group.cases[:1]
            if len(group.cases) > 1:
                text = f"{len(group.cases)} cases have the cause that follows"
                self._print(Line(""), Line(text, Tone.HEADING))
            for case in shown:
                self._print(Line(""), *self._show_failure(case))
            self._print(*self._show_more(group.cases[len(shown) :]))

    def _show_more(self, cases: Sequence[CaseFinished]) -> list[Line]:
        if not cases:
            return []
        names = [escape_controls(case.case) for case in cases[:MORE_NAMES]]
        names += [f"{len(cases) - MORE_NAMES} others"] if len(cases) > MORE_NAMES else []
        head = Line(f"  and {count(len(cases), 'more case')} (--verbose shows them):")
        lines = fill(names, self._width - 4, ", ")
        return [head, *(Line(cut(f"    {text}", self._width)) for text in lines)]

    def _show_failure(self, case: CaseFinished) -> list[Line]:
        head = f"{case.verdict.value.upper()} {case.case}  {show_request(case.request)}"
        return [
            Line(cut(escape_controls(head), self._width), Tone.HEADING),
            *show_failure(case, self._width, self._verbose),
        ]

    def _show_run_failure(self, event: RunFailed) -> None:
        reason = escape_controls(event.reason)
        self._run_failures.append(reason)
        self._print(Line(""), Line(reason, Tone.BAD))
        if event.output:
            self._print(Line("the application's last lines:"))
            self._print(*(Line(f"  {strip_colours(text)}", Tone.FAINT) for text in event.output))

    def _show_end(self, event: RunFinished) -> None:
        self._is_running = False
        self._tally.add_misses(event.findings)
        self._show_failures()
        self._print(Line(""), *show_summary(event, self._tally, self._width, self._verbose))
        reasons = dict.fromkeys(self._run_failures)
        self._print(*(Line(f"the run failed: {reason}", Tone.BAD) for reason in reasons))


def _show_time(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
