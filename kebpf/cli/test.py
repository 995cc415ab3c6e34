"""``kebpf test``: runs test sets, hands the events to reporters, gives the exit status."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TextIO

import typer

from kebpf.cli.errors import CommandUsageError, ExitStatus, KebpfError, NothingToRunError
from kebpf.cli.options import RECORDINGS_FOLDER, ClockChoice, TestOptions
from kebpf.kernel.errors import KernelError
from kebpf.recording.errors import TestSetError
from kebpf.recording.store import TestSet
from kebpf.replay.events import RunEvent, RunFailed, RunFinished
from kebpf.replay.invoker import InvokerError, find_invoker
from kebpf.replay.jobs import Instances, JobsRunner
from kebpf.replay.runner import Runner, exit_status
from kebpf.replay.setrun import Environment, RunOptions
from kebpf.report.jsonl import JsonLinesReporter
from kebpf.report.junit import JUnitReporter
from kebpf.report.markdown import MarkdownReporter
from kebpf.report.reporter import Reporter
from kebpf.report.terminal import TerminalReporter
from kebpf.report.values import strip_colours


def run_test(options: TestOptions, out: TextIO) -> int:
    """Runs on this host.  Raises `KebpfError` if it cannot begin."""
    from kebpf.cli.environment import make_environment, rootless_environment

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    if options.jobs > 1:
        return run_in(make_environment(options.noise), options, out, make_instances(options))
    if options.is_rootless:
        with rootless_environment(options.noise) as environment:
            return run_in(environment, options, out)
    if options.is_isolated:
        isolate_run()
    return run_in(make_environment(options.noise), options, out)


def isolate_run() -> None:
    """Gives this process, and all it will start, a network of its own.  Raises `KebpfError`."""
    from kebpf.kernel.namespaces import isolate

    try:
        isolate()
    except KernelError as error:
        raise KebpfError(str(error), hint=error.hint) from error


def make_instances(options: TestOptions) -> Instances:
    """Several instances: each has a network of its own, with or without rights."""
    from kebpf.cli.environment import isolated_environment, unprivileged_environment
    from kebpf.kernel.cgroup import remove_cgroups_of

    if options.is_rootless:
        return Instances(options.jobs, partial(unprivileged_environment, options.noise))
    enter = partial(isolated_environment, options.noise)
    return Instances(options.jobs, enter, remove_cgroups_of)


def interrupt(number: int, frame: FrameType | None) -> None:
    """Ends a run as Ctrl-C does: a CI job that is cancelled leaves nothing behind either."""
    signal.raise_signal(signal.SIGINT)


def run_in(
    environment: Environment,
    options: TestOptions,
    out: TextIO,
    instances: Instances | None = None,
) -> int:
    """Runs in ``environment``; the exit status.  Raises `KebpfError` if it cannot begin."""
    try:
        run_options = make_run_options(options)
        test_sets = open_sets(options.test_sets)
        if not options.cases:
            check_cases(test_sets)
        runner = Runner(run_options, test_sets, environment)
    except (TestSetError, InvokerError) as error:
        raise KebpfError(str(error)) from error
    run = runner if instances is None else JobsRunner(runner, instances)
    with open_reporters(options, out) as reporters:
        try:
            return report_run(run.run(), reporters)
        except KernelError as error:
            raise KebpfError(str(error), hint=error.hint) from error


def open_sets(paths: Sequence[Path]) -> list[tuple[str, TestSet]]:
    """The test sets with their names.  Raises `TestSetError` for one that is not whole."""
    test_sets = [(name_set(path), TestSet.open(path)) for path in paths]
    for _, test_set in test_sets:
        test_set.check_calls()
    return test_sets


def check_cases(test_sets: Sequence[tuple[str, TestSet]]) -> None:
    """Nothing is started for nothing.  Raises `NothingToRunError` where no set has a case."""
    if any(test_set.manifest.test_cases for _, test_set in test_sets):
        return
    names = " ".join(name for name, _ in test_sets)
    has_mocks = any(test_set.manifest.mocks for _, test_set in test_sets)
    raise NothingToRunError(
        f"there is no test case in {names}",
        hint=f"to run a command on its mocks: kebpf mock {names} -- COMMAND" if has_mocks else None,
    )


def name_set(path: Path) -> str:
    """What to call a test set so that the command line finds it again."""
    return path.name if path.parent == RECORDINGS_FOLDER else str(path)


def make_run_options(options: TestOptions) -> RunOptions:
    """Raises `InvokerError` for a user that is not there or that we may not become."""
    return RunOptions(
        command=options.command,
        invoker=find_invoker(options.user),
        cases=options.cases,
        shuffle=options.shuffle,
        is_alone=options.is_alone,
        delay_s=options.delay,
        request_timeout_s=options.timeout,
        is_failing_fast=options.is_failing_fast,
        is_detailed=bool(options.html or options.json),
        trusted=options.trust,
        is_clock_recorded=options.clock is ClockChoice.RECORDED,
        on_line=_show_output if options.verbose else None,
        on_note=_show_note,
    )


def _show_output(line: str) -> None:
    typer.echo(f"  | {strip_colours(line)}", err=True)


def _show_note(note: str) -> None:
    typer.echo(f"kebpf: {note}", err=True)


def report_run(events: Iterable[RunEvent], reporters: Sequence[Reporter]) -> int:
    """Hands every event to every reporter; closes them, and the run, however it ends.

    Gives the exit status: the worst that a last event says, and 3 if there was none.
    """
    statuses: list[int] = []
    with ExitStack() as stack:
        for reporter in reporters:
            stack.callback(reporter.close)
        close = getattr(events, "close", None)
        if close is not None:  # a generator ends the application when it is closed
            stack.callback(close)
        for event in events:
            for reporter in reporters:
                reporter.handle(event)
            if isinstance(event, RunFailed | RunFinished):
                statuses.append(exit_status(event))
    if not statuses or ExitStatus.ENVIRONMENT in statuses:
        return ExitStatus.ENVIRONMENT
    return statuses[-1]


@contextmanager
def open_reporters(options: TestOptions, out: TextIO) -> Iterator[list[Reporter]]:
    """The reporters asked for.  Raises `CommandUsageError` if a report cannot be written."""
    reporters: list[Reporter] = [TerminalReporter(out, verbose=options.verbose)]
    with ExitStack() as stack:
        if options.junit:
            reporters.append(JUnitReporter(stack.enter_context(_open_report(options.junit))))
        if options.json:
            reporters.append(JsonLinesReporter(stack.enter_context(_open_report(options.json))))
        if options.markdown:
            reporters.append(MarkdownReporter(stack.enter_context(_open_report(options.markdown))))
        if options.html:
            from kebpf.report.html.reporter import HtmlReporter

            reporters.append(HtmlReporter(stack.enter_context(_open_report(options.html))))
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
