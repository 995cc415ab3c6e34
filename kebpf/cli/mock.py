"""``kebpf mock``: runs a command on recorded mocks and passes its exit status on."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import FrameType

import typer

from kebpf.cli.errors import KebpfError, NothingToRunError
from kebpf.cli.options import MockOptions
from kebpf.cli.sets import find_test_sets
from kebpf.recording.errors import TestSetError
from kebpf.recording.store import TestSet
from kebpf.replay.invoker import InvokerError, find_invoker
from kebpf.replay.mockrun import MockRun, MockRunError
from kebpf.replay.mockscope import SelectionError
from kebpf.replay.setrun import Environment
from kebpf.report.mocking import describe_mock_run


def run_mock(options: MockOptions) -> int:
    """Runs on this host; the exit status.  Raises `KebpfError` if it cannot begin."""
    from kebpf.cli.environment import make_environment, rootless_environment

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    if options.is_rootless:
        with rootless_environment(options.noise) as environment:
            return run_in(environment, options)
    return run_in(make_environment(options.noise), options)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Ends the run as Ctrl-C does, the command with it."""
    signal.raise_signal(signal.SIGINT)


def run_in(environment: Environment, options: MockOptions) -> int:
    """Runs in ``environment``; the exit status.  Raises `KebpfError` if it cannot begin.

    What is said goes to standard error: standard output is the command's.
    """
    try:
        invoker = find_invoker(options.user)
        sets = sorted(map(TestSet.open, options.test_sets), key=lambda one: one.manifest.created_ns)
        if not any(one.manifest.mocks for one in sets):
            names = ", ".join(map(str, options.test_sets))
            raise NothingToRunError(f"there is no mock in {names}")
        open_sets = partial(open_named, folder=options.folder)
        run = MockRun(sets, environment, open_sets, options.is_default, options.trust)
        if invoker.note is not None:
            _say(invoker.note)
        result = asyncio.run(run.run(options.command, invoker))
    except (TestSetError, InvokerError) as error:
        raise KebpfError(str(error)) from error
    except MockRunError as error:
        raise KebpfError(str(error), hint=error.hint or None) from error
    for line in describe_mock_run(result, options.verbose):
        _say(line)
    return result.exit_status


def open_named(names: Sequence[str], folder: Path) -> list[TestSet]:
    """The sets that a test names, in the order of their recording.  Raises `SelectionError`."""
    try:
        sets = map(TestSet.open, find_test_sets(names, folder))
        return sorted(sets, key=lambda one: one.manifest.created_ns)
    except (KebpfError, TestSetError) as error:
        raise SelectionError(str(error)) from error


def _say(text: str) -> None:
    typer.echo(f"kebpf: {text}", err=True)
