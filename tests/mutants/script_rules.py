"""Edits of JavaScript source, found among its tokens; what is not edited stays as it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.mutants.mutant import Edit
from tests.mutants.sql_rules import change_sql, change_text, is_sql

_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*|/\*.*?\*/)
    |(?P<string>'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*")
    |(?P<template>`(?:\\.|[^`\\])*`)
    |(?P<number>\d+(?:\.\d+)?)
    |(?P<word>[A-Za-z_$][\w$]*)
    |(?P<sign>=>|===|!==|==|!=|<=|>=|\|\||&&|\.\.\.|[-+*/%<>=!?:;,.(){}\[\]])""",
    re.VERBOSE | re.DOTALL,
)
_SIGNS = {
    "===": "!==", "!==": "===", "||": "&&", "&&": "||", "<": "<=", ">": ">=", "+": "-", "*": "+",
}  # fmt: skip
_WORDS = {"true": "false", "false": "true", "null": "0"}
_OPENING = {"(": ")", "[": "]", "{": "}"}
_HOLES = re.compile(r"\$\{[^{}]*\}")
_SWITCH = "BUG"  # the application's own regressions are not there
_NOT_CALLS = frozenset({"const", "let", "if", "for", "try", "function", "return", "throw", "async"})


@dataclass(frozen=True)
class Token:
    """A token, not white space; ``mate`` is the place of the bracket that closes it."""

    kind: str
    text: str
    start: int
    end: int


class ScriptError(Exception):
    """The source has something that the tokens here do not know."""


def read_tokens(text: str) -> list[Token]:
    """All tokens but space and comments.  Raises `ScriptError`."""
    found, place = [], 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise ScriptError(f"not a token: {text[place : place + 20]!r}")
        if match.lastgroup != "space":
            assert match.lastgroup is not None
            found.append(Token(match.lastgroup, match[0], match.start(), match.end()))
        place = match.end()
    return found


def find_edits(source: bytes) -> list[Edit]:
    """All edits of a script.  Raises `ScriptError` for syntax that the rules do not know."""
    text = source.decode()
    if not text.isascii():
        raise ScriptError("offsets are those of bytes in ASCII only")
    return list(_Finder(text).find())


class _Finder:
    """Looks at every token, every bracketed list and every statement."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = read_tokens(text)
        self._mates = _pair_brackets(self._tokens)

    def find(self) -> Iterator[Edit]:
        for place, token in enumerate(self._tokens):
            if token.text == _SWITCH or self._is_dead(place):
                continue
            yield from self._edit_token(place, token)
            if token.text in _OPENING:
                yield from self._edit_list(place)
            if self._begins_statement(place):
                yield from self._edit_statement(place)

    def _make(self, operator: str, start: int, end: int, text: str) -> Edit:
        line = self._text.count("\n", 0, start) + 1
        return Edit(operator, start, end, text.encode(), range(line, line + 1))

    def _is_dead(self, place: int) -> bool:
        """Whether a token belongs to a choice by the application's own switch."""
        line = self._line_of(place)
        return re.search(rf"\b{_SWITCH}\b", line) is not None

    def _line_of(self, place: int) -> str:
        start = self._tokens[place].start
        begin = self._text.rfind("\n", 0, start) + 1
        return self._text[begin : self._text.find("\n", start)]

    def _edit_token(self, place: int, token: Token) -> Iterator[Edit]:
        match token.kind:
            case "sign" if token.text in _SIGNS:
                operator = "logic" if token.text in {"||", "&&"} else "comparison"
                operator = "arithmetic" if token.text in {"+", "*"} else operator
                yield self._make(operator, token.start, token.end, _SIGNS[token.text])
            case "number":
                is_status = "." not in token.text and 100 <= int(token.text) < 600
                changed = token.text[:-1] + str((int(token.text[-1]) + 1) % 10)
                yield self._make(
                    "status" if is_status else "number", token.start, token.end, changed
                )
            case "word" if token.text in _WORDS:
                yield self._make("constant", token.start, token.end, _WORDS[token.text])
            case "word" if token.text == "if":
                yield from self._edit_condition(place + 1)
            case "string" | "template":
                yield from self._edit_string(token)

    def _edit_condition(self, place: int) -> Iterator[Edit]:
        start, end = self._tokens[place].end, self._tokens[self._mates[place]].start
        yield self._make("negate", start, end, f"!({self._text[start:end]})")

    def _edit_string(self, token: Token) -> Iterator[Edit]:
        inner = token.text[1:-1]
        holes = _HOLES if token.kind == "template" else re.compile(r"(?!)")
        is_statement = is_sql(inner)
        changes = change_sql(inner) if is_statement else change_text(inner, holes)
        for first, last, text in changes:
            start = token.start + 1
            operator = "sql" if is_statement else "text"
            yield self._make(operator, start + first, start + last, text)

    # lists: arguments, elements, fields

    def _parts(self, place: int) -> list[tuple[int, int]]:
        """The parts between commas of the bracket that opens at ``place``, as token places."""
        parts, begin, inner = [], place + 1, place + 1
        while inner < self._mates[place]:
            if self._tokens[inner].text in _OPENING:
                inner = self._mates[inner]
            elif self._tokens[inner].text == ",":
                parts.append((begin, inner))
                begin = inner + 1
            inner += 1
        return [*parts, (begin, inner)] if begin < inner else parts

    def _span(self, part: tuple[int, int]) -> tuple[int, int]:
        return self._tokens[part[0]].start, self._tokens[part[1] - 1].end

    def _edit_list(self, place: int) -> Iterator[Edit]:
        token, parts = self._tokens[place], self._parts(place)
        if token.text == "{":
            if self._is_object(place):
                yield from self._edit_fields(place, parts)
            return
        if self._is_declaration(place):
            return
        operator = "swap-arguments" if token.text == "(" else "swap-elements"
        for one, other in zip(parts[::2], parts[1::2], strict=False):
            (start, middle), (begin, end) = self._span(one), self._span(other)
            first, between, last = (
                self._text[a:b] for a, b in ((start, middle), (middle, begin), (begin, end))
            )
            if "=>" not in last:
                yield self._make(operator, start, end, f"{last}{between}{first}")

    def _is_declaration(self, place: int) -> bool:
        """Whether a bracket holds parameters."""
        following = self._tokens[self._mates[place] + 1 :][:1]
        return bool(following) and following[0].text in {"=>", "{"}

    def _is_object(self, place: int) -> bool:
        """Whether a brace opens an object, not a block and not a pattern."""
        before = self._tokens[place - 1].text if place else ";"
        following = self._tokens[self._mates[place] + 1 :][:1]
        is_pattern = bool(following) and following[0].text in {"=", ")"} and before != "("
        return before in {"(", ",", "=", ":", "return", "["} and not is_pattern

    def _edit_fields(self, place: int, parts: list[tuple[int, int]]) -> Iterator[Edit]:
        end = self._tokens[self._mates[place]].start
        last = self._span(parts[-1])[1] if parts else end
        yield self._make("add-field", last, last, ", mutant: 1" if parts else "mutant: 1")
        for part in parts:
            start, stop = self._span(part)
            following = self._tokens[part[1]]
            stop = following.end if following.text == "," else stop
            yield self._make("drop-field", start, stop, "")

    # statements

    def _begins_statement(self, place: int) -> bool:
        before = self._tokens[place - 1] if place else None
        if before is None or before.text in {";", "}"}:
            return True
        return before.text == "{" and not self._is_object(place - 1)

    def _edit_statement(self, place: int) -> Iterator[Edit]:
        """Statements that only call something are dropped and doubled."""
        if self._tokens[place].kind != "word" or self._tokens[place].text in _NOT_CALLS:
            return
        inner = place
        while inner < len(self._tokens) and self._tokens[inner].text != ";":
            if self._tokens[inner].text in _OPENING:
                inner = self._mates[inner]
            elif self._tokens[inner].text in {"}", "=", "=>"}:
                return
            inner += 1
        if inner >= len(self._tokens):
            return
        start, end = self._tokens[place].start, self._tokens[inner].end
        statement = self._text[start:end]
        if "(" in statement:
            yield self._make("drop-statement", start, end, ";")
            yield self._make("double-call", start, end, f"{statement} {statement}")


def _pair_brackets(tokens: list[Token]) -> dict[int, int]:
    """For each opening bracket the place of the one that closes it.  Raises `ScriptError`."""
    mates: dict[int, int] = {}
    opened: list[int] = []
    for place, token in enumerate(tokens):
        if token.text in _OPENING:
            opened.append(place)
        elif token.text in _OPENING.values():
            if not opened or _OPENING[tokens[opened[-1]].text] != token.text:
                raise ScriptError(f"an unpaired {token.text} at {token.start}")
            mates[opened.pop()] = place
    if opened:
        raise ScriptError(f"an unclosed {tokens[opened[-1]].text}")
    return mates
