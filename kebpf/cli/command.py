"""How the command that starts the application is given: words, or one text as in a shell."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from kebpf.cli.errors import CommandUsageError

# A text with any of these needs a shell, and so does one that begins with NAME=value.
SHELL_CHARACTERS = frozenset("|&;<>()$`*?[]{}~#!\n")


def choose_command(
    words: Sequence[str], text: str | None, configured: str | list[str] | None
) -> list[str]:
    """The words to start; the command line wins over ``kebpf.yml``.  Empty if none was given.

    Raises `CommandUsageError` when the command line has it twice or a quote is left open.
    """
    if words and text is not None:
        raise CommandUsageError("give either -c or -- COMMAND, not both")
    if words:
        return list(words)
    if text is not None:
        return split_command(text)
    if isinstance(configured, str):
        return split_command(configured)
    return list(configured or [])


def split_command(text: str) -> list[str]:
    """Splits a command as a shell would; hands it to ``/bin/sh`` if it needs one.

    Raises `CommandUsageError` if it is empty or a quote is left open.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise CommandUsageError(f"the command {text!r} leaves a quote open") from error
    if not words or not words[0]:
        raise CommandUsageError("the command is empty")
    if SHELL_CHARACTERS.intersection(text) or "=" in words[0]:
        return ["/bin/sh", "-c", text]
    return words
