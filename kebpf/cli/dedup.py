"""``kebpf dedup``: keeps what is unique of test sets that were recorded before."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from kebpf.cli.errors import CommandUsageError, ExitStatus, KebpfError
from kebpf.cli.options import RECORDINGS_FOLDER

if TYPE_CHECKING:  # `--help` loads nothing of a set
    from kebpf.recording.dedup.leaving import Rules

MOST_ROUTES = 1_000  # lines of a trial


def dedup(
    sets: Annotated[
        list[str],
        typer.Argument(
            metavar="SET",
            help="Names under the folder of recordings, or paths.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="NEW", help="Leave SET as it is and write the rest to NEW."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would stay, route by route; write nothing.")
    ] = False,
) -> int:
    """Keep of each test set what is unique: exemplars of each shape of request, and their mocks.

    \b
    kebpf dedup SET
    kebpf dedup SET --dry-run
    kebpf dedup SET -o NEW
    """
    from kebpf.cli.config import load_config
    from kebpf.cli.sets import find_test_sets
    from kebpf.recording.dedup.leaving import Rules
    from kebpf.recording.errors import TestSetError

    config = load_config(Path.cwd())
    paths = find_test_sets(sets, config.output or RECORDINGS_FOLDER)
    if output is not None and len(paths) > 1:
        raise CommandUsageError("-o NEW is for one test set")
    try:
        for path in paths:
            run_dedup(path, Rules(config.list_left_out(True)), output, dry_run, sys.stdout)
    except TestSetError as error:
        raise KebpfError(str(error)) from error
    return ExitStatus.PASSED


def run_dedup(path: Path, rules: Rules, into: Path | None, is_trial: bool, out: TextIO) -> None:
    """One set; prints what became of it.  Raises ``TestSetError``."""
    from kebpf.protocols.registry import get_protocol
    from kebpf.recording.dedup.sets import sift_set
    from kebpf.recording.store import TestSet
    from kebpf.report.sifted import describe_routes, describe_sifted

    result = sift_set(TestSet.open(path), rules, get_protocol, into=into, is_trial=is_trial)
    if is_trial:
        for line in describe_routes(result, MOST_ROUTES):
            out.write(line + "\n")
    for line in describe_sifted(result, path.name, into, is_trial):
        out.write(line + "\n")
