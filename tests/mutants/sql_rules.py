"""Small changes of the SQL, and of other text, inside string literals."""

from __future__ import annotations

import re
from collections.abc import Iterator

Change = tuple[int, int, str]  # start and end within the text, what comes instead

_STATEMENT = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|COPY)\b")
_RULES: tuple[tuple[str, str], ...] = (
    (r"(?<![<>!:=]) (=) (?!ANY)", "<>"),
    (r" (<>) ", "="),
    (r" (AND) ", "OR"),
    (r" (OR) ", "AND"),
    (r"\b(DESC)\b", "ASC"),
    (r"\b(ASC)\b", "DESC"),
    (r"\bORDER BY [\w.]+()(?![\w.(]| DESC| ASC)", " DESC"),
    (r"\b(LEFT JOIN)\b", "JOIN"),
    (r"( FOR UPDATE)\b", ""),
    (r"\bIS (NULL)\b", "NOT NULL"),
    (r"\bIS (NOT NULL)\b", "NULL"),
    (r"\b(ILIKE)\b", "LIKE"),
    (r"\b(min)\(", "max"),
    (r"\b(sum)\(", "avg"),
    (r" (\+) ", "-"),
    (r" (-) ", "+"),
    (r"(?:SELECT|RETURNING) \w+(, \w+)(?=,| FROM|$)", ""),
    (r"(DISTINCT )", ""),
    (r"\b(HEADER, )", ""),
)
_NUMBER = re.compile(r"(?<![\w$%.])\d+(?![\w.%])")
_QUOTED = re.compile(r"'(\w+)'")


def is_sql(text: str) -> bool:
    """Whether a string literal, all its parts together, is a statement."""
    return _STATEMENT.match(text) is not None


def change_sql(text: str) -> Iterator[Change]:
    """One change a place in (a part of) a statement."""
    for pattern, replacement in _RULES:
        for match in re.finditer(pattern, text):
            yield match.start(1), match.end(1), replacement
    for match in _NUMBER.finditer(text):
        yield match.start(), match.end(), str(int(match[0]) + 1)
    for match in _QUOTED.finditer(text):
        yield match.start(1), match.end(1), match[1][:-1] + _next_letter(match[1][-1])


def change_text(text: str, holes: re.Pattern[str]) -> Iterator[Change]:
    """The first letter outside escapes and the holes of a template, by the one after it."""
    masked = re.sub(r"\\.", "  ", holes.sub(lambda match: " " * len(match[0]), text))
    found = re.search(r"[A-Za-z]", masked)
    if found is not None:
        yield found.start(), found.end(), _next_letter(found[0])
    elif not text:
        yield 0, 0, "x"


def _next_letter(letter: str) -> str:
    if letter in "zZ":
        return chr(ord(letter) - 25)
    return chr(ord(letter) + 1) if letter.isalpha() else "x"
