"""Lines of a report with what they mean, so that each reporter can show them its own way."""

from __future__ import annotations

import enum
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass


class Tone(enum.Enum):
    """What a line is; the terminal gives each a colour."""

    PLAIN = "plain"
    GOOD = "good"
    BAD = "bad"
    WARNING = "warning"
    FAINT = "faint"
    HEADING = "heading"
    EXPECTED = "expected"
    ACTUAL = "actual"


@dataclass(frozen=True, slots=True)
class Line:
    text: str
    tone: Tone = Tone.PLAIN

    def indented(self, depth: int) -> Line:
        return Line(f"{'  ' * depth}{self.text}" if self.text else "", self.tone)


def indent(lines: Iterable[Line], depth: int = 1) -> list[Line]:
    return [line.indented(depth) for line in lines]


def join_text(lines: Iterable[Line]) -> str:
    return "\n".join(line.text for line in lines)


def wrap(text: str, width: int, most: int | None = None) -> list[str]:
    """Lines of at most ``width`` characters, the second and later ones indented, ``most`` of them.

    Words are not broken at their hyphens, which names of cases are full of.
    """
    return textwrap.wrap(
        text,
        width,
        subsequent_indent="  ",
        max_lines=most,
        placeholder=" …",
        break_on_hyphens=False,
    )


def fill(parts: Iterable[str], width: int, separator: str = " · ") -> list[str]:
    """Joins ``parts`` into lines of at most ``width`` characters, never breaking a part."""
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + len(separator) + len(part) <= width:
            lines[-1] += separator + part
        else:
            lines.append(part)
    return lines


def count(number: int, noun: str, plural: str | None = None) -> str:
    """``1 mock``, ``1,200 mocks``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
