"""The options of ``kebpf review``, as they are declared to typer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from kebpf.cli.declaring import (
    OutputOption,
    UserOption,
    check_positive_seconds,
    check_seconds,
    command_behind_dashes,
)
from kebpf.cli.errors import CommandUsageError
from kebpf.cli.options import DEFAULT_TIMEOUT, RECORDINGS_FOLDER, ReviewOptions


def review(
    context: typer.Context,
    sets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SET",
            help="Names under the folder of recordings, or paths.  [default: all]",
            show_default=False,
        ),
    ] = None,
    run: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Review the run that test --json wrote.")
    ] = None,
    command: Annotated[
        str | None,
        typer.Option(
            "--command", "-c", metavar="COMMAND", help="Run it now: how to start the application."
        ),
    ] = None,
    accept_all: Annotated[
        bool, typer.Option("--accept-all", help="Accept whatever can be, without asking.")
    ] = False,
    accept: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="Accept without asking in cases of this name (a glob, or CASE:/PATH).",
        ),
    ] = None,
    output: OutputOption = None,
    delay: Annotated[
        float | None,
        typer.Option(
            metavar="S",
            callback=check_seconds,
            help="Wait S seconds more once it listens.  [default: 0]",
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            metavar="S",
            callback=check_positive_seconds,
            help=f"What one request may take, in seconds.  [default: {DEFAULT_TIMEOUT:g}]",
        ),
    ] = None,
    user: UserOption = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show what the application prints.")
    ] = False,
) -> int:
    """Go through what differs: accept it into the test set, reject it, or declare it noise.

    \b
    kebpf review [SET]... --run FILE
    kebpf review [SET]... -c "COMMAND"
    """
    from kebpf.cli.command import choose_command
    from kebpf.cli.config import load_config
    from kebpf.cli.review import run_review
    from kebpf.cli.sets import find_test_sets

    config = load_config(Path.cwd())
    behind = command_behind_dashes(context)
    if run is not None and (command or behind):
        raise CommandUsageError("--run says what was run: it goes without a command")
    chosen = None if run is not None else choose_command(behind, command, config.command)
    if run is None and not chosen:
        raise CommandUsageError(
            "what to review was not said",
            hint='say it with --run FILE, -c "COMMAND", -- COMMAND or the key command in kebpf.yml',
        )
    return run_review(
        ReviewOptions(
            test_sets=find_test_sets(sets or [], output or config.output or RECORDINGS_FOLDER),
            folder=Path.cwd(),
            run=run,
            command=chosen or [],
            is_accepting_all=accept_all,
            patterns=accept or [],
            delay=delay if delay is not None else config.delay or 0.0,
            timeout=timeout or config.timeout or DEFAULT_TIMEOUT,
            user=user or config.user,
            trust=config.trust,
            noise=config.noise,
            verbose=verbose,
        ),
        sys.stdin,
        sys.stdout,
    )
