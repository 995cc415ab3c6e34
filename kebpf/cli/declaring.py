"""What the declarations of several commands share: options, checks, the command behind ``--``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from kebpf.cli.options import RECORDINGS_FOLDER

MAX_SECONDS = 1e9
MOST_SEED_DIGITS = 18


@dataclass(slots=True)
class Invocation:
    """What stood behind ``--``: the command to start."""

    command: list[str] = field(default_factory=list)


def check_seconds(value: float | None) -> float | None:
    if value is not None and not 0 <= value < MAX_SECONDS:
        raise typer.BadParameter("a number of seconds is expected, 0 or more")
    return value


def check_positive_seconds(value: float | None) -> float | None:
    if value is not None and not 0 < value < MAX_SECONDS:
        raise typer.BadParameter("a number of seconds above 0 is expected")
    return value


def check_seed(value: str | None) -> str | None:
    """``""`` is what stands for none: `kebpf.cli.main` writes it."""
    if value and not (value.isascii() and value.isdigit() and len(value) <= MOST_SEED_DIGITS):
        raise typer.BadParameter("a whole number is expected")
    return value


OutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="DIR",
        help=f"The folder of recordings.  [default: {RECORDINGS_FOLDER}/]",
    ),
]
RootlessOption = Annotated[
    bool,
    typer.Option("--rootless", help="The same without root or eBPF: for runners without rights."),
]
TrustOption = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE",
        help="A file (or folder) of the CAs COMMAND trusts, where it is not found by itself; "
        "may be given again.",
    ),
]
UserOption = Annotated[str | None, typer.Option(metavar="NAME", help="Start COMMAND as this user.")]


def command_behind_dashes(context: typer.Context) -> list[str]:
    invocation = context.obj
    return invocation.command if isinstance(invocation, Invocation) else []
