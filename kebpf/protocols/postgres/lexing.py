"""SQL text → tokens and statements, as far as telling statements apart needs (section 4.1)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_TOKEN = re.compile(
    r"""
    (?:\s+|--[^\n]*)*+ (?:
    (?P<comment>/\*)
  | (?P<string>[eE]'(?:[^'\\]|\\.|'')*+'|'(?:[^']|'')*+')
  | (?P<quoted>"(?:[^"]|"")*+")
  | (?P<dollar>\$(?:[A-Za-z_\u0080-\uffff][A-Za-z_0-9\u0080-\uffff]*)?\$)
  | (?P<word>[A-Za-z_\u0080-\uffff][\w$]*)
  | (?P<number>\d[\w.]*)
  | (?P<parameter>\$\d+)
  | (?P<other>.)
    )
    """,
    re.VERBOSE | re.DOTALL,
)
_MAX_SHAPED = 1024
_SIMPLE = re.compile(r"[\w ,.=<>()+*!\t\r\n]*;?[ \t\r\n]*", re.ASCII)
_NUMBER = re.compile(r"(?<![\w.])\d+(?![\w.])", re.ASCII)
_COMMENT_EDGE = re.compile(r"/\*|\*/")


class Token(NamedTuple):
    """``text`` is lower case for words; ``start`` and ``end`` are positions in the SQL."""

    kind: str
    text: str
    start: int
    end: int


class Statement:
    """One statement of a query string; ``verb`` is its first word, lower case, empty for none."""

    __slots__ = ("_tokens", "_whole", "sql", "verb")

    def __init__(self, sql: str, tokens: tuple[Token, ...]) -> None:
        self.sql = sql
        self.verb = tokens[0].text if tokens and tokens[0].kind == "word" else ""
        self._tokens = tokens
        self._whole = ""

    def with_numbers_of(self, sql: str) -> Statement:
        """The only statement of ``sql``, which differs in numbers alone and ends in a semicolon."""
        other = object.__new__(Statement)
        other.sql = sql.rstrip().removesuffix(";").strip()
        other.verb = self.verb
        other._tokens = ()
        other._whole = sql
        return other

    @property
    def tokens(self) -> tuple[Token, ...]:
        """Its tokens, with their positions in the query string."""
        if self._whole:
            self._tokens = tuple(split_statements(self._whole)[0].tokens)
            self._whole = ""
        return self._tokens

    def texts(self) -> list[str]:
        """The tokens' texts."""
        return [token.text for token in self.tokens]


def _skip_comment(sql: str, position: int) -> int:
    depth = 1
    for edge in _COMMENT_EDGE.finditer(sql, position + 2):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(sql)


def tokenize(sql: str) -> Iterator[Token]:
    """The tokens of ``sql`` without white space and comments."""
    match_token, make = _TOKEN.match, tuple.__new__  # for `Token` itself there is a call more
    position = 0
    while (match := match_token(sql, position)) is not None:
        kind = match.lastgroup or ""
        start, position = match.span(kind)
        if kind == "word":
            yield make(Token, (kind, sql[start:position].lower(), start, position))
        elif kind == "comment":
            position = _skip_comment(sql, start)
        elif kind == "dollar":
            text = match[kind]
            close = sql.find(text, position)
            position = len(sql) if close < 0 else close + len(text)
            yield Token("string", sql[start:position], start, position)
        else:
            yield make(Token, (kind, sql[start:position], start, position))


def split_statements(sql: str) -> list[Statement]:
    """The statements between semicolons, empty ones left out.

    The body of a ``BEGIN ATOMIC`` function is cut too, so such text has one statement too many.
    """
    statements: list[Statement] = []
    tokens = list(tokenize(sql))
    if ";" in sql:
        begin = 0
        for place, token in enumerate(tokens):
            if token[1] == ";" and token[0] == "other":
                _add_statement(statements, sql, tokens[begin:place])
                begin = place + 1
        tokens = tokens[begin:]
    _add_statement(statements, sql, tokens)
    return statements


def _add_statement(statements: list[Statement], sql: str, tokens: list[Token]) -> None:
    if tokens:
        statements.append(Statement(sql[tokens[0].start : tokens[-1].end], tuple(tokens)))


def shape_sql(sql: str) -> str | None:
    """The query string with 0 for each whole number, if it is one simple statement.

    It has the same tokens otherwise.  ``None`` for any other, and for what holds strings, quoted
    names, comments or signs other than the most usual.
    """
    if len(sql) > _MAX_SHAPED or _SIMPLE.fullmatch(sql) is None:
        return None
    return _NUMBER.sub("0", sql)


def unquote_name(token: Token) -> str:
    """The identifier a word or quoted token stands for."""
    if token.kind == "quoted":
        return token.text[1:-1].replace('""', '"')
    return token.text
