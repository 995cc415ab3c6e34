"""Edits of what clients and servers see beside values: headers, cookies, time to live, order.

Found by patterns in the text, which are in effects.toml.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.mutant import Edit
from tests.mutants.python_rules import parses

RULES = Path(__file__).with_name("effects.toml")


@dataclass(frozen=True)
class Rule:
    """What ``operator`` puts in place of a match of ``pattern``: a template of `re`."""

    operator: str
    pattern: re.Pattern[str]
    becomes: str


def read_rules(language: str) -> list[Rule]:
    """Those for ``python`` or ``script``."""
    entries = tomllib.loads(RULES.read_text())[language]
    return [
        Rule(one["operator"], re.compile(one["pattern"], re.MULTILINE), one["becomes"])
        for one in entries
    ]


def find_python_edits(source: bytes) -> list[Edit]:
    """All of a module; each gives a module that parses."""
    statements = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.stmt)]
    return [
        Edit(operator, start, end, text, _reach_of(source, start, statements))
        for operator, start, end, text in _find(source, "python")
        if parses(source[:start] + text + source[end:])
    ]


def find_script_edits(source: bytes) -> list[Edit]:
    """All of a script."""
    return [
        Edit(operator, start, end, text, range(line, line + 1))
        for operator, start, end, text in _find(source, "script")
        for line in [source.count(b"\n", 0, start) + 1]
    ]


def _find(source: bytes, language: str) -> Iterator[tuple[str, int, int, bytes]]:
    text = source.decode()
    for rule in read_rules(language):
        for match in rule.pattern.finditer(text):
            start = len(text[: match.start()].encode())
            end = start + len(match[0].encode())
            yield rule.operator, start, end, match.expand(rule.becomes).encode()


def _reach_of(source: bytes, start: int, statements: list[ast.stmt]) -> range:
    """The lines of the innermost statement around an edit, or of its head."""
    line = source.count(b"\n", 0, start) + 1
    around = [one for one in statements if one.lineno <= line <= (one.end_lineno or one.lineno)]
    innermost = min(around, key=lambda one: (one.end_lineno or one.lineno) - one.lineno)
    return range(innermost.lineno, max(line, innermost.lineno) + 1)
