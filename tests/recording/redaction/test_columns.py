"""Which column a parameter or a literal belongs to, as PostgreSQL reads the statement."""

from __future__ import annotations

import pytest

from kebpf.recording.redaction.columns import find_places, split_literal


def parameters(sql: str) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for place in find_places(sql):
        if place.parameter >= 0:
            found.setdefault(place.parameter, set()).add(place.column)
    return found


def literals(sql: str) -> list[tuple[str, str]]:
    return [
        (place.column, sql[place.start : place.end])
        for place in find_places(sql)
        if place.parameter < 0
    ]


@pytest.mark.parametrize(
    ("sql", "columns"),
    [
        ("INSERT INTO u (a, b) VALUES ($1, $2), ($3, $4)", ["a", "b", "a", "b"]),
        ('INSERT INTO s."u" ("A b", c) VALUES ($1, crypt($2, x(1))) RETURNING d', ["A b", "c"]),
        ("INSERT INTO u (a) VALUES (f($1, g(1))) ON CONFLICT (a) DO UPDATE SET b = $2", ["a", "b"]),
        ("UPDATE u SET a = $1, b = lower($2) WHERE c = $3 AND d.e <> $4", ["a", "b", "c", "e"]),
        ("SELECT * FROM u WHERE a = crypt($1, a) OR b = ANY($2) OR c IN ($3)", ["a", "b", "c"]),
        ("SELECT 1 FROM u WHERE a = b AND c = $1 LIMIT $2", ["c"]),
        ("SELECT $1", []),
    ],
)  # fmt: skip
def test_parameters(sql: str, columns: list[str]) -> None:
    assert parameters(sql) == {number: {name} for number, name in enumerate(columns)}


def test_literals() -> None:
    sql = "INSERT INTO u (a, b) VALUES ('it''s', 7); UPDATE u SET c = E'x\\'y' WHERE d = $$z$$"
    assert literals(sql) == [("a", "'it''s'"), ("c", "E'x\\'y'"), ("d", "$$z$$")]
    assert literals("ALTER ROLE shop WITH PASSWORD 'p'") == [("password", "'p'")]
    assert literals("INSERT INTO u (a) VALUES (crypt('p', gen_salt('bf')))") == []
    for text, content in (("'a'", "a"), ("E'a'", "a"), ("$$a$$", "a"), ("$x$a$x$", "a")):
        start, end = split_literal(text)
        assert text[start:end] == content
