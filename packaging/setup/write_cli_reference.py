"""Writes docs/reference/cli.md from what `kebpf --help` and each command's help say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEAD = "# Command line\n\nWritten by `make docs` from the commands' own help.\n"


def read_help(program: str, *command: str) -> str:
    """What a command says of itself, 80 columns wide."""
    environment = {**os.environ, "COLUMNS": "80", "TERM": "dumb", "NO_COLOR": "1"}
    done = subprocess.run(
        [program, *command, "--help"], check=True, capture_output=True, text=True, env=environment
    )
    return "\n".join(line.rstrip() for line in done.stdout.splitlines()).strip()


def find_commands(text: str) -> list[str]:
    """The names under "Commands:" in the program's help."""
    _, _, block = text.partition("Commands:\n")
    return re.findall(r"^  (\w[\w-]*)", block, re.MULTILINE)


def main() -> int:
    """Writes the page; 1 when the help names no command."""
    program = sys.argv[1]
    text = read_help(program)
    commands = find_commands(text)
    if not commands:
        sys.stderr.write("kebpf --help names no command\n")
        return 1
    sections = [
        ("kebpf", text),
        *((f"kebpf {each}", read_help(program, each)) for each in commands),
    ]
    page = HEAD + "".join(f"\n## {title}\n\n```text\n{body}\n```\n" for title, body in sections)
    target = ROOT / "docs" / "reference" / "cli.md"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
