"""Prints kebpf(1) in man's language, from the command line's own declarations."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from docs.declarations import Command, Option, describe_program, list_commands

_FILES = (
    ("/etc/kebpf/kebpf.yml", "What kebpf agent follows and how much it may take."),
    ("/var/lib/kebpf", "The test sets that kebpf agent records."),
    ("/var/cache/kebpf", "Compiled eBPF programs; may be removed at any time."),
    ("kebpf.yml", "In the current folder: options of record, test and mock."),
)
_STATUSES = (
    ("0", "All cases passed, or the command did what it was asked for."),
    ("1", "A case failed or could not be finished, or a call was left over."),
    ("2", "The command line or the configuration is wrong."),
    ("3", "The environment or the application failed."),
    ("4", "Nothing ran."),
)


def make_page() -> str:
    """The whole page."""
    return "\n".join(_write_page()) + "\n"


def escape(text: str) -> str:
    """Text that roff takes as it is, also at the beginning of a line."""
    text = text.replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{text}" if text.startswith((".", "'")) else text


def _write_page() -> Iterator[str]:
    commands = list_commands()
    yield ".\\\" made from the commands' declarations when kebpf was installed"
    yield '.TH KEBPF 1 "" kebpf "User Commands"'
    yield ".SH NAME"
    yield r"kebpf \- record a running service, replay it with everything it depends on off"
    yield ".SH SYNOPSIS"
    yield from _write_lines(line for command in commands for line in command.usage)
    yield ".SH DESCRIPTION"
    yield escape(describe_program())
    yield ".SH COMMANDS"
    for command in commands:
        yield from _write_command(command)
    yield ".SH FILES"
    yield from _write_table(_FILES)
    yield ".SH EXIT STATUS"
    yield from _write_table(_STATUSES)


def _write_command(command: Command) -> Iterator[str]:
    yield f".SS kebpf {escape(command.name)}"
    yield from _write_paragraphs(command.text)
    yield from _write_table(command.arguments)
    yield from _write_table((_describe(option), option.help) for option in command.options)
    if command.epilog:
        yield ".PP"
        yield from _write_paragraphs(command.epilog)


def _describe(option: Option) -> str:
    return ", ".join(option.names) + (f" {option.value}" if option.value else "")


def _write_paragraphs(text: str) -> Iterator[str]:
    for number, paragraph in enumerate(text.split("\n\n")):
        if number:
            yield ".PP"
        yield escape(" ".join(paragraph.split()))


def _write_table(rows: object) -> Iterator[str]:
    for term, text in rows:  # type: ignore[attr-defined]
        yield ".TP"
        yield rf"\fB{escape(term)}\fR"
        yield escape(text)


def _write_lines(lines: Iterator[str]) -> Iterator[str]:
    yield ".nf"
    yield from map(escape, lines)
    yield ".fi"


if __name__ == "__main__":
    sys.stdout.write(make_page())
