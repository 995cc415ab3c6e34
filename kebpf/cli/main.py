"""The command line's outermost part: splits it, runs it, turns errors into a sentence."""

from __future__ import annotations

import errno
import io
import os
import re
import sys
from collections.abc import Sequence
from typing import Protocol, cast

import typer

from kebpf.cli.commands import Invocation, app
from kebpf.cli.errors import (
    DEBUG_VARIABLE,
    DEFECT_HINT,
    CommandUsageError,
    ExitStatus,
    KebpfError,
)

HELP_HINT = "kebpf --help and kebpf COMMAND --help say what there is"
COMMANDS_WITH_COMMAND = ("record", "test", "verify", "mock", "review")
_PLAIN = (
    (re.compile(r"is not a valid int(?:eger)?(?: range)?"), "is not a whole number"),
    (re.compile(r"is not in the range (\d+)<=x<=(\d+)"), r"has to be from \1 to \2"),
    (re.compile(r"is not in the range x>=(\d+)"), r"has to be \1 or more"),
    (re.compile(r"got unexpected extra arguments? ?(?:\(s\) )?\((.*)\)"), r"nothing takes \1 here"),
)
_FULL = (errno.ENOSPC, errno.EDQUOT)

# typer exports no other name for what it raises on a wrong command line, in any of its versions.
UsageError = cast("type[Exception]", typer.BadParameter.__bases__[0])


class _UsageMessage(Protocol):
    def format_message(self) -> str: ...


def split_arguments(arguments: Sequence[str]) -> tuple[list[str], Invocation]:
    """Takes ``-- COMMAND…`` off, so that test sets before it cannot be taken for its words.

    Raises `CommandUsageError` when nothing follows the dashes.
    """
    words = list(arguments)
    if "--" not in words or words[0] not in COMMANDS_WITH_COMMAND:
        return words, Invocation()
    at = words.index("--")
    if at == len(words) - 1:
        raise CommandUsageError("no command follows the --")
    return words[:at], Invocation(words[at + 1 :])


def fill_in_seed(words: Sequence[str]) -> list[str]:
    """``--shuffle`` without a number behind it gets an empty one, so that it takes no test set."""
    following = [*words[1:], ""]
    return [
        f"{word}=" if word == "--shuffle" and not after.isdigit() else word
        for word, after in zip(words, following, strict=False)
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and gives its exit status."""
    _accept_any_character()
    try:
        status = _run(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
        return status
    except KebpfError as error:
        return _fail(error.message, error.hint, error.exit_status)
    except UsageError as error:
        message = cast(_UsageMessage, error).format_message().strip().rstrip(".")
        return _fail(say_plainly(message[:1].lower() + message[1:]), HELP_HINT, ExitStatus.USAGE)
    except (KeyboardInterrupt, typer.Abort):
        return ExitStatus.INTERRUPTED
    except (BrokenPipeError, SystemExit):  # typer makes a SystemExit of a broken pipe
        return _end_quietly()
    except OSError as error:
        return _fail_writing(error) if error.errno in _FULL else _fail_unexpectedly(error)
    except Exception as error:  # noqa: BLE001 - the outermost boundary: it reports what it caught
        return _fail_unexpectedly(error)


def say_plainly(message: str) -> str:
    """A sentence of the command line's library without its notation."""
    for pattern, plain in _PLAIN:
        message = pattern.sub(plain, message)
    return message


def _accept_any_character() -> None:
    """Where the locale lacks a character, shows its number: a report must not end a run."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _run(arguments: Sequence[str]) -> int:
    words, invocation = split_arguments(arguments)
    status = app(args=fill_in_seed(words), prog_name="kebpf", standalone_mode=False, obj=invocation)
    return int(status or ExitStatus.PASSED)


def _fail(message: str, hint: str | None, status: int) -> int:
    typer.echo(f"kebpf: {message}", err=True)
    if hint:
        typer.echo(f"  {hint}", err=True)
    return status


def _end_quietly() -> int:
    """The reader of our output has gone, as in ``kebpf show | head``."""
    # The interpreter must not try to flush into the closed pipe once more when it exits.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ExitStatus.OUTPUT_CLOSED


def _fail_writing(error: OSError) -> int:
    """Reports and standard output are written where the run goes on: one boundary for them all."""
    return _fail(
        f"a report or the output could not be written to its end: {error.strerror}",
        "free some space, or write it elsewhere, and run it again",
        ExitStatus.ENVIRONMENT,
    )


def _fail_unexpectedly(error: Exception) -> int:
    if os.environ.get(DEBUG_VARIABLE):
        import traceback

        traceback.print_exception(error)
    kind = type(error).__name__
    text = " ".join(str(error).split())
    return _fail(
        f"unexpected {kind}: {text}" if text else f"unexpected {kind}",
        DEFECT_HINT,
        ExitStatus.ENVIRONMENT,
    )


if __name__ == "__main__":
    sys.exit(main())
