"""Writes docs/reference/cli.md from the command line's own declarations."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from kebpf.cli.commands import app

TARGET = Path(__file__).parent / "reference" / "cli.md"
HEAD = "<!-- written by `make docs` -->\n\n# Commands\n\n`kebpf --version`, and:\n"


def make_reference() -> str:
    """The whole page."""
    group: Any = typer.main.get_command(app)
    parts = [HEAD]
    for name, command in group.commands.items():
        parts.append("\n".join(describe_command(name, command)))
    return "\n".join(parts) + "\n"


def describe_command(name: str, command: Any) -> Iterator[str]:
    yield f"## kebpf {name}\n"
    text, _, usage = command.help.partition("\b")
    yield f"{text.strip()}\n"
    lines = [line.strip() for line in usage.strip().splitlines()] or [describe_usage(name, command)]
    yield "\n".join(["```", *lines, "```", ""])
    yield "| | |\n|---|---|"
    for parameter in command.params:
        if not getattr(parameter, "hidden", False):
            yield describe_parameter(parameter)
    if command.epilog:
        yield f"\n{command.epilog}"
    yield ""


def describe_usage(name: str, command: Any) -> str:
    """For a command whose help does not say it."""
    arguments = [each.metavar for each in command.params if each.param_type_name == "argument"]
    return " ".join(["kebpf", name, *(f"[{each}]" for each in arguments)])


def describe_parameter(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"| `{parameter.metavar}` | {parameter.help} |"
    options = (*sorted(parameter.opts, key=len), *parameter.secondary_opts)
    names = ", ".join(f"`{option}`" for option in options)
    value = f" {parameter.metavar}" if parameter.metavar else ""
    return f"| {names}{value} | {parameter.help} |"


def main() -> int:
    TARGET.write_text(make_reference(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
