"""Which parameters and literals of a statement belong to a column whose name tells."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from kebpf.protocols.postgres.lexing import Token, tokenize, unquote_name

LONGEST_SQL = 32_768
_OPERATORS = frozenset(
    ("=", "<>", "!", "<", ">", "~", "|", ":", "like", "ilike", "is", "in", "not", "any", "all")
)
_MOST_BETWEEN = 8  # tokens between a column's name and its value: operators, functions


class Place(NamedTuple):
    """A value beside a column's name.

    ``parameter`` counts from 0 and is -1 for a literal at ``start`` to ``end``, quotes included.
    """

    column: str
    parameter: int
    start: int = 0
    end: int = 0


@lru_cache(maxsize=1024)
def find_places(sql: str) -> tuple[Place, ...]:
    """Of ``INSERT INTO t (a, b) VALUES (…)``, ``a = …``, ``PASSWORD '…'``."""
    if len(sql) > LONGEST_SQL:
        return ()
    tokens = list(tokenize(sql))
    return (*_find_inserted(tokens), *_find_compared(tokens))


def _find_inserted(tokens: list[Token]) -> Iterator[Place]:
    texts = [token.text for token in tokens]
    if "insert" not in texts or "values" not in texts:
        return
    start, values = texts.index("insert"), texts.index("values")
    if "(" not in texts[start:values]:
        return
    opening = texts.index("(", start)
    columns = [
        unquote_name(token)
        for token in tokens[opening + 1 : values]
        if token.kind in ("word", "quoted")
    ]
    depth, number = 0, 0
    for token in tokens[values + 1 :]:
        if depth == 0 and token.kind == "word":
            return  # ON CONFLICT, RETURNING
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        if token.text == "(" and depth == 1:
            number = 0
        elif token.text == "," and depth == 1:
            number += 1
        elif number < len(columns) and (depth == 1 or token.kind == "parameter"):
            yield from _place_of(columns[number], token)


def _find_compared(tokens: list[Token]) -> Iterator[Place]:
    for index, token in enumerate(tokens):
        if token.kind not in ("word", "quoted"):
            continue
        name = unquote_name(token)
        following = tokens[index + 1 : index + 1 + _MOST_BETWEEN]
        if name == "password" and following and following[0].kind == "string":
            yield from _place_of(name, following[0])
        elif following and following[0].text in _OPERATORS:
            yield from _find_value(name, following)


def _find_value(name: str, following: list[Token]) -> Iterator[Place]:
    """The first value behind ``name =``, in a function's brackets too."""
    for token in following:
        if token.kind in ("parameter", "string"):
            yield from _place_of(name, token)
            return
        is_function = token.kind == "word" and token.text not in ("and", "or", "where", "from")
        if not (is_function or token.text in _OPERATORS or token.text in "(.:"):
            return


def _place_of(column: str, token: Token) -> Iterator[Place]:
    if token.kind == "parameter":
        yield Place(column, int(token.text[1:]) - 1)
    elif token.kind == "string":
        yield Place(column, -1, token.start, token.end)


def split_literal(text: str) -> tuple[int, int]:
    """Where in a quoted literal its content is."""
    start = text.find("'") + 1
    if text.startswith("$"):
        start = text.find("$", 1) + 1
        return start, len(text) - start
    return start, len(text) - 1
