"""The options of ``kebpf verify``, as they are declared to typer."""

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
from kebpf.cli.options import (
    DEFAULT_RUNS,
    DEFAULT_TIMEOUT,
    MOST_RUNS,
    RECORDINGS_FOLDER,
    VerifyOptions,
)


def verify(
    context: typer.Context,
    sets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SET",
            help="Names under the folder of recordings, or paths.  [default: all]",
            show_default=False,
        ),
    ] = None,
    command: Annotated[
        str | None,
        typer.Option(
            "--command", "-c", metavar="COMMAND", help="How to start the version recorded."
        ),
    ] = None,
    runs: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            max=MOST_RUNS,
            help="Runs of a round: one in the recorded order, the others shuffled.",
        ),
    ] = DEFAULT_RUNS,
    output: OutputOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of lines.")
    ] = False,
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
    """Replay a recording against the very version recorded; class what differs, set apart the rest.

    \b
    kebpf verify -c "COMMAND" [SET]...
    kebpf verify [SET]... -- COMMAND...
    """
    from kebpf.cli.command import choose_command
    from kebpf.cli.config import load_config
    from kebpf.cli.sets import find_test_sets
    from kebpf.cli.verify import run_verify

    config = load_config(Path.cwd())
    chosen = choose_command(command_behind_dashes(context), command, config.command)
    if not chosen:
        raise CommandUsageError(
            "how to start the version recorded was not said",
            hint='say it with -c "COMMAND", -- COMMAND or the key command in kebpf.yml',
        )
    return run_verify(
        VerifyOptions(
            test_sets=find_test_sets(sets or [], output or config.output or RECORDINGS_FOLDER),
            command=chosen,
            runs=runs,
            delay=delay if delay is not None else config.delay or 0.0,
            timeout=timeout or config.timeout or DEFAULT_TIMEOUT,
            user=user or config.user,
            trust=config.trust,
            noise=config.noise,
            verbose=verbose,
            as_json=as_json,
        ),
        sys.stdout,
    )
