"""``kebpf test``: hands a run's events to the reporters and makes an exit status of them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

from kebpf.cli.errors import CommandUsageError, ExitStatus
from kebpf.cli.options import TestOptions
from kebpf.replay.events import RunEvent, RunFailed, RunFinished
from kebpf.report.jsonl import JsonLinesReporter
from kebpf.report.junit import JUnitReporter
from kebpf.report.reporter import Reporter
from kebpf.report.terminal import TerminalReporter


async def report_run(events: AsyncIterable[RunEvent], reporters: Sequence[Reporter]) -> ExitStatus:
    """Hands every event to every reporter; closes them however the run ends."""
    outcomes: set[ExitStatus] = set()
    with ExitStack() as stack:
        for reporter in reporters:
            stack.callback(reporter.close)
        async for event in events:
            for reporter in reporters:
                reporter.handle(event)
            if isinstance(event, RunFailed):
                outcomes.add(ExitStatus.ENVIRONMENT)
            elif isinstance(event, RunFinished):
                outcomes.add(judge_run(event))
    if ExitStatus.ENVIRONMENT in outcomes:
        return ExitStatus.ENVIRONMENT
    return outcomes.pop() if outcomes else ExitStatus.ENVIRONMENT  # no end is a failed run


def judge_run(finished: RunFinished) -> ExitStatus:
    """0 only if a case ran, all that ran passed and no call was left over."""
    if finished.failed or finished.errored or finished.findings:
        return ExitStatus.CASE_FAILED
    return ExitStatus.PASSED if finished.passed else ExitStatus.NOTHING_RAN


@contextmanager
def open_reporters(options: TestOptions, out: TextIO) -> Iterator[list[Reporter]]:
    """The reporters asked for.  Raises `CommandUsageError` if a report cannot be written."""
    reporters: list[Reporter] = [TerminalReporter(out, verbose=options.verbose)]
    with ExitStack() as stack:
        if options.junit:
            reporters.append(JUnitReporter(stack.enter_context(_open_report(options.junit))))
        if options.json:
            reporters.append(JsonLinesReporter(stack.enter_context(_open_report(options.json))))
        yield reporters


@contextmanager
def _open_report(path: Path) -> Iterator[TextIO]:
    try:
        out = path.open("w", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise CommandUsageError(f"{path} cannot be written: {error.strerror}") from error
    with out:
        _give_to_invoker(out)
        yield out


def _give_to_invoker(out: TextIO) -> None:
    """Under sudo the report belongs to who called it, as the recordings do."""
    user, group = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
    if os.geteuid() == 0 and user.isdigit() and group.isdigit():
        os.fchown(out.fileno(), int(user), int(group))
