"""The commands and options as they are declared to typer, for what is made of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import typer

from kebpf.cli.commands import app

_PATHS = ("PATH", "FILE", "DIR", "FOLDER", "SET")


@dataclass(frozen=True, slots=True)
class Option:
    """``names`` with their dashes, the long one last; ``value`` is empty for a switch."""

    names: tuple[str, ...]
    value: str
    help: str
    choices: tuple[str, ...] = ()

    @property
    def is_path(self) -> bool:
        return self.value.upper().startswith(_PATHS)


@dataclass(frozen=True, slots=True)
class Command:
    """``usage`` are whole lines; ``arguments`` are pairs of metavar and help."""

    name: str
    text: str
    usage: tuple[str, ...]
    options: tuple[Option, ...]
    arguments: tuple[tuple[str, str], ...]
    epilog: str

    @property
    def summary(self) -> str:
        """The first sentence."""
        return " ".join(self.text.split()).partition(". ")[0].rstrip(".")


def list_commands() -> list[Command]:
    """All that are not hidden, in the order of declaration."""
    group: Any = typer.main.get_command(app)
    return [_read(name, one) for name, one in group.commands.items() if not one.hidden]


def describe_program() -> str:
    """What the whole is for."""
    return str(app.info.help)


def _read(name: str, command: Any) -> Command:
    text, _, usage = command.help.partition("\b")
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    lines = [line.strip() for line in usage.strip().splitlines()]
    words = ["kebpf", name, "[OPTION…]", *(f"[{one.metavar}]" for one in arguments)]
    return Command(
        name,
        text.strip(),
        tuple(lines or [" ".join(words)]),
        tuple(_list_options(command)),
        tuple((str(one.metavar), " ".join((one.help or "").split())) for one in arguments),
        command.epilog or "",
    )


def _list_options(command: Any) -> Iterator[Option]:
    for one in command.params:
        if one.param_type_name == "argument" or getattr(one, "hidden", False):
            continue
        names = (*sorted(one.opts, key=len), *one.secondary_opts)
        choices = tuple(map(str, getattr(one.type, "choices", ())))
        value = "" if one.is_flag else str(one.metavar or "|".join(choices) or "VALUE")
        yield Option(names, value, " ".join((one.help or "").split()), choices)
    yield Option(("-h", "--help"), "", "Say what there is, and end.")
