"""Prints completion for a shell (bash, zsh or fish), from the command line's own declarations.

What it prints asks nobody when a person presses Tab: starting Python takes longer than they wait.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence

from docs.declarations import Command, Option, list_commands

_BASH = """\
# completion of kebpf for bash
_kebpf() {
    local word=$2 previous=$3 command=${COMP_WORDS[1]} options= values= named=
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W '@commands@' -- "$word")
        return
    fi
    case $command in
@cases@
    esac
    case $previous in
    @valued@) named=1 ;;
    esac
    if [ -n "$values" ]; then
        mapfile -t COMPREPLY < <(compgen -W "$values" -- "$word")
    elif [ -z "$named" ] && [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
    else
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
    fi
}
complete -F _kebpf kebpf
"""


def complete_bash(commands: Sequence[Command]) -> str:
    """Sourced when kebpf is first completed."""
    valued = {
        name for one in commands for option in one.options if option.value for name in option.names
    }
    text = _BASH.replace("@commands@", " ".join(one.name for one in commands))
    text = text.replace("@cases@", "\n".join(map(_bash_case, commands)))
    return text.replace("@valued@", " | ".join(sorted(valued)))


def _bash_case(command: Command) -> str:
    options = " ".join(name for option in command.options for name in option.names)
    lines = [f"    {command.name})", f"        options='{options}'"]
    choosing = [option for option in command.options if option.choices]
    if choosing:
        lines.append("        case $previous in")
        for option in choosing:
            values = " ".join(option.choices)
            lines.append(f"        {' | '.join(option.names)}) values='{values}' ;;")
        lines.append("        esac")
    return "\n".join([*lines, "        ;;"])


def complete_zsh(commands: Sequence[Command]) -> str:
    """A function that is found in the path of functions."""
    return "\n".join(_write_zsh(commands)) + "\n"


def _write_zsh(commands: Sequence[Command]) -> Iterator[str]:
    yield "#compdef kebpf"
    yield "# completion of kebpf for zsh"
    yield "_kebpf() {"
    yield "  local -a commands=("
    yield from (f"    {_quote(f'{one.name}:{one.summary}')}" for one in commands)
    yield "  )"
    yield "  if (( CURRENT == 2 )); then _describe command commands; return; fi"
    yield "  local command=$words[2]"
    yield "  shift words; (( CURRENT-- ))"
    yield "  case $command in"
    for command in commands:
        yield f"  {command.name})"
        yield "    _arguments \\"
        yield from (f"      {_quote(spec)} \\" for one in command.options for spec in _specs(one))
        yield "      '*:file:_files'"
        yield "    ;;"
    yield "  esac"
    yield "}"
    yield '_kebpf "$@"'


def _specs(option: Option) -> Iterator[str]:
    """As ``_arguments`` reads them; an option may be given again."""
    text = option.help.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")
    value = option.value.replace(":", "\\:")
    values = (
        f"({' '.join(option.choices)})" if option.choices else "_files" if option.is_path else " "
    )
    for name in option.names:
        yield f"*{name}[{text}]" + (f":{value}:{values}" if option.value else "")


def complete_fish(commands: Sequence[Command]) -> str:
    """Read when kebpf is first completed."""
    return "\n".join(_write_fish(commands)) + "\n"


def _write_fish(commands: Sequence[Command]) -> Iterator[str]:
    yield "# completion of kebpf for fish"
    for command in commands:
        yield (
            f"complete -c kebpf -n __fish_use_subcommand -f -a {command.name}"
            f" -d {_quote(command.summary)}"
        )
    for command in commands:
        for option in command.options:
            yield (
                f"complete -c kebpf -n '__fish_seen_subcommand_from {command.name}'"
                f"{_fish_names(option)} -d {_quote(option.help)}"
            )


def _fish_names(option: Option) -> str:
    names = [f" -l {one[2:]}" if one.startswith("--") else f" -s {one[1:]}" for one in option.names]
    if option.choices:
        names.append(f" -x -a {_quote(' '.join(option.choices))}")
    elif option.value:
        names.append(" -r" if option.is_path else " -x")
    return "".join(names)


def _quote(text: str) -> str:
    r"""Within single quotes; ``'\''`` is one within them, in all three shells."""
    return "'" + text.replace("'", "'\\''") + "'"


SHELLS: dict[str, Callable[[Sequence[Command]], str]] = {
    "bash": complete_bash,
    "zsh": complete_zsh,
    "fish": complete_fish,
}

if __name__ == "__main__":
    sys.stdout.write(SHELLS[sys.argv[1]](list_commands()))
