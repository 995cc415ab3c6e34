"""``kebpf verify``: replays test sets against the version recorded, and mends or sets apart."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import typer
from rich.console import Console
from rich.text import Text

from kebpf.cli.errors import ExitStatus, KebpfError
from kebpf.cli.options import DEFAULT_RUNS, RecordOptions, TestOptions, VerifyOptions
from kebpf.cli.test import check_cases, make_run_options, name_set, open_sets
from kebpf.recording.errors import TestSetError
from kebpf.recording.model import TestCase
from kebpf.recording.rewriting import rewrite_set
from kebpf.recording.store import TestSet
from kebpf.replay.invoker import InvokerError
from kebpf.replay.ports import find_held_port
from kebpf.replay.selection import select_cases
from kebpf.replay.setrun import Environment, RunOptions
from kebpf.replay.verifier import RunDone, Verified, Verifier, VerifyError
from kebpf.report.lines import Line, Tone, count
from kebpf.report.terminal import STYLES
from kebpf.report.values import cut, strip_colours
from kebpf.report.verified import WIDTH, is_good, show_event, to_json_line, verification_object


def run_verify(options: VerifyOptions, out: TextIO) -> int:
    """Runs on this host.  Raises `KebpfError` if it cannot begin, or the application cannot."""
    from kebpf.cli.environment import make_environment
    from kebpf.cli.test import interrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return verify_in(make_environment(options.noise), options, out)


def verify_recording(options: RecordOptions, folder: Path | None, out: TextIO) -> int:
    """Verifies what was just recorded; the exit status.  Raises `KebpfError`.

    ``folder`` is where the recorded process works, for its own command line if none was given.
    """
    path = options.output / str(options.name)
    command = options.verify_command or _read_command(options, path, folder)
    asked = VerifyOptions(
        test_sets=[path],
        command=command,
        runs=options.verify_runs or DEFAULT_RUNS,
        user=options.user,
        noise=options.noise,
        as_json=options.as_json,
    )
    return run_verify(asked, out)


def _read_command(options: RecordOptions, path: Path, folder: Path | None) -> list[str]:
    """The recorded process's own command line.  Raises `KebpfError` where it will not do."""
    try:
        test_set = TestSet.open(path)
    except TestSetError as error:
        raise KebpfError(str(error)) from error
    name, words = name_set(path), test_set.manifest.command
    later = f'the recording is whole; verify it with: kebpf verify {name} -c "COMMAND"'
    if not options.pids or not words:
        raise KebpfError("how to start what was recorded was not said", hint=later)
    if test_set.manifest.test_cases:
        held = find_held_port(select_cases(name, test_set, []).needed_ports)
        if held is not None:
            raise KebpfError(
                f"{test_set.manifest.target} still listens on port {held}, which its replay needs",
                hint=f"end it; {later}",
            )
    where = f"in {folder} " if folder else ""
    typer.echo(
        f"kebpf: verifying with the command line recorded: {shlex.join(words)}\n"
        f"  {where}and in this environment, not that of the process; -c gives another",
        err=True,
    )
    if folder is None:
        return list(words)
    return ["/bin/sh", "-c", 'cd "$0" && exec "$@"', str(folder), *words]


def verify_in(environment: Environment, options: VerifyOptions, out: TextIO) -> int:
    """Verifies in ``environment``; the exit status.  Raises `KebpfError`."""
    try:
        test_sets = open_sets(options.test_sets)
        check_cases(test_sets)
        run_options = make_run_options(_as_test_options(options))
        display = _Display(out, options.as_json)
        results = [
            _verify_set(name, test_set, environment, run_options, options.runs, display)
            for name, test_set in test_sets
            if test_set.manifest.test_cases
        ]
    except (TestSetError, InvokerError) as error:
        raise KebpfError(str(error)) from error
    status = ExitStatus.PASSED if all(map(is_good, results)) else ExitStatus.CASE_FAILED
    display.finish(status)
    return status


def _as_test_options(options: VerifyOptions) -> TestOptions:
    return TestOptions(
        test_sets=options.test_sets,
        command=options.command,
        delay=options.delay,
        timeout=options.timeout,
        user=options.user,
        trust=options.trust,
        verbose=options.verbose,
    )


def _verify_set(
    name: str,
    test_set: TestSet,
    environment: Environment,
    run_options: RunOptions,
    runs: int,
    display: _Display,
) -> Verified:
    verifier = Verifier(name, test_set, run_options, environment, runs)
    display.start(name, verifier.revised.cases(), runs)
    try:
        result = _follow(verifier, name, display)
    except VerifyError as error:
        raise explain_failure(error, name, test_set) from error
    rewrite_set(test_set, verifier.revised)
    return result


def _follow(verifier: Verifier, name: str, display: _Display) -> Verified:
    runs = []
    for event in verifier.events():
        display.show(*show_event(event))
        if isinstance(event, RunDone):
            runs.append(event)
        if isinstance(event, Verified):
            display.note(verification_object(name, runs, event))
            return event
    raise RuntimeError("a verification ends with what it came to")


def explain_failure(error: VerifyError, name: str, test_set: TestSet) -> KebpfError:
    """A sentence with the application's last lines, and who holds a port that it needs."""
    last = "".join(f"\n  | {strip_colours(line)}" for line in error.output)
    text = f"{error}; {name} was left as it is{last}"
    held = find_held_port(select_cases(name, test_set, []).needed_ports)
    return KebpfError(text, hint=None if held is None else say_port_is_held(held))


def say_port_is_held(port: int) -> str:
    """What to do where the recorded program still serves."""
    return (
        f"something still listens on port {port}, perhaps the recorded program itself: end it, or "
        "give a command that listens on another port"
    )


class _Display:
    """Lines for people or, at the end, one JSON object."""

    def __init__(self, out: TextIO, as_json: bool) -> None:
        self._out = out
        self._as_json = as_json
        self._console = Console(file=out, highlight=False, markup=False, emoji=False)
        self._objects: list[dict[str, Any]] = []

    def start(self, name: str, cases: Sequence[TestCase], runs: int) -> None:
        text = f"verifying {name}: {count(len(cases), 'case')}, {count(runs, 'run')} a round"
        self.show(Line(cut(text, WIDTH), Tone.HEADING))

    def show(self, *lines: Line) -> None:
        for line in lines if not self._as_json else ():
            self._console.print(Text(line.text, STYLES[line.tone]), soft_wrap=True)

    def note(self, document: dict[str, Any]) -> None:
        self._objects.append(document)

    def finish(self, status: int) -> None:
        if self._as_json:
            document = {"exit_status": int(status), "test_sets": self._objects}
            self._out.write(to_json_line(document) + "\n")
