"""Prints the lines of a report, in colour where that is a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TextIO

from rich.console import Console
from rich.text import Text

from kebpf.report.lines import Line
from kebpf.report.terminal import STYLES


def print_lines(out: TextIO, lines: Iterable[Line]) -> None:
    """Each as it is: nothing is folded, so that what is to be copied stays whole."""
    console = Console(file=out, highlight=False, markup=False, emoji=False)
    for line in lines:
        console.print(Text(line.text, STYLES[line.tone]), soft_wrap=True)
