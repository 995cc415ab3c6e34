"""How the command that starts the application is given: as words, or as one text for a shell."""

from __future__ import annotations

from collections.abc import Sequence

from kebpf.cli.errors import CommandUsageError

Command = str | list[str]  # a text is for ``/bin/sh -c``, words are executed as they are


def choose_command(words: Sequence[str], text: str | None, configured: Command | None) -> Command:
    """What to start; the command line wins over ``kebpf.yml``.  Empty if nothing was given.

    Raises `CommandUsageError` when the command line has it twice or the text is blank.
    """
    if words and text is not None:
        raise CommandUsageError("give either -c or -- COMMAND, not both")
    if words:
        return list(words)
    if text is not None and not text.strip():
        raise CommandUsageError("the command is empty")
    return text if text is not None else configured or []


def to_words(command: Command) -> list[str]:
    """The argument vector of a command."""
    return ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)
