"""``kebpf diff``: what is otherwise in one run than in another."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, TextIO

import typer

from kebpf.cli.errors import CommandUsageError, ExitStatus


def diff(
    before: Annotated[Path, typer.Argument(metavar="RUN", help="What test --json wrote.")],
    after: Annotated[Path, typer.Argument(metavar="RUN", help="The same of a later run.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of lines.")
    ] = False,
) -> int:
    """Say which cases of two runs ended otherwise; exit status 1 if any did.

    \b
    kebpf diff before.jsonl after.jsonl
    """
    return run_diff(before, after, as_json, sys.stdout)


def run_diff(before: Path, after: Path, as_json: bool, out: TextIO) -> int:
    """Compares two run files; the exit status.  Raises `CommandUsageError`."""
    from kebpf.cli.lines import print_lines
    from kebpf.report.rundiff import compare_runs
    from kebpf.report.rundiffs import run_diff_to_json, show_run_diff
    from kebpf.report.runfile import RunFileError, read_run

    try:
        result = compare_runs(read_run(before), read_run(after))
    except RunFileError as error:
        raise CommandUsageError(str(error)) from error
    if as_json:
        out.write(run_diff_to_json(result) + "\n")
    else:
        print_lines(out, show_run_diff(result))
    return ExitStatus.PASSED if result.has_same_verdicts else ExitStatus.CASE_FAILED
