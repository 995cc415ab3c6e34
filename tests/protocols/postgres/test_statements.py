"""Which SQL is a session matter; the rule's own examples and what must not fall under it."""

from __future__ import annotations

import itertools

import asyncpg.introspection
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebpf.protocols.postgres.lexing import shape_sql, split_statements, tokenize
from kebpf.protocols.postgres.statements import (
    block_effect,
    copies_in,
    is_session_sql,
    is_session_statement,
    read_cursor,
    split_sql,
)

SESSION = [
    "",
    " ; ",
    "-- only a comment",
    "BEGIN",
    "begin isolation level serializable;",
    "START TRANSACTION",
    "commit; begin",
    "/* tag /* nested */ */ ROLLBACK TO SAVEPOINT a",
    "SET search_path TO a, b",
    "set local statement_timeout = 5",
    "SHOW server_version",
    "DISCARD ALL",
    "DEALLOCATE x",
    "SELECT 1",
    "select pg_catalog.version()",
    "select current_schema()",
    "SELECT current_setting('jit') AS cur, set_config('jit', 'off', false) AS new",
    "select set_config('jit', $1, false)",
    "SELECT pg_advisory_unlock_all();\nCLOSE ALL;\nUNLISTEN *;\nRESET ALL;",
    "SELECT t.oid, typarray FROM pg_type t JOIN pg_namespace ns ON typnamespace = ns.oid",
    "select * from pg_catalog.pg_type, pg_class",
    'select typname from "pg_type"',
    "select pg_catalog.current_setting('jit'), 1 as one",
    asyncpg.introspection.INTRO_LOOKUP_TYPES,
    asyncpg.introspection.TYPE_BY_NAME,
]
CALLS = [
    "SELECT 1, now()",
    'SELECT "version"',
    "SELECT version, pg_type",
    "select 'a'",
    "SELECT a FROM t",
    "select pg_advisory_lock(1)",
    "select set_config('a.b', 'c', true)",
    "select set_config($1, 'c', true)",
    "select current_setting('a.b')",
    "select set_config('jit', (select 1)::text, true)",
    "set app.tenant = '5'",
    "set local app.tenant to '5'",
    "COMMIT PREPARED 'x'",
    "start_replication",
    "begin; insert into t values (1); commit",
    "select * from pg_type, secrets",
    "select * from pg_type where oid in (select oid from secrets)",
    "select * from (select 1) x, secrets, pg_type",
    "with t as (select * from secrets) select * from t, pg_type",
    "with t as (delete from x returning *) select * from pg_type",
    "select * from public.pg_type",
    "select * from pg_type for update",
    "select * from pg_stat_activity",
    "close c",
    "unlisten x",
    "listen x",
    "create table t (a int)",
    "select 'BEGIN'",
]


@pytest.mark.parametrize("sql", SESSION)
def test_session_matters(sql: str) -> None:
    assert is_session_sql(sql)


@pytest.mark.parametrize("sql", CALLS)
def test_calls(sql: str) -> None:
    assert not is_session_sql(sql)


def test_statements_are_split_where_the_server_splits() -> None:
    sql = """select ';' ; select $a$ ; $$ ; $a$; select ";" -- ;\n; /* ; */ select E'\\';' """
    assert len(split_statements(sql)) == 4


@given(st.text(max_size=60))
def test_tokens_cover_what_is_not_space(sql: str) -> None:
    tokens = list(tokenize(sql))
    assert all(a.end <= b.start for a, b in itertools.pairwise(tokens))


def test_effects_on_the_block() -> None:
    def effect(sql: str, tag: str) -> str:
        return block_effect(split_statements(sql)[0], tag)

    assert effect("begin", "BEGIN") == "open"
    assert effect("rollback to savepoint a", "ROLLBACK") == ""
    assert effect("commit and chain", "COMMIT") == "chain"
    assert effect("commit and no chain", "COMMIT") == "close"
    assert effect("end", "COMMIT") == "close"


def test_copies_and_cursors() -> None:
    assert copies_in(split_statements("COPY t (a) FROM STDIN WITH (FORMAT csv)")[0])
    assert not copies_in(split_statements("copy t to stdout")[0])
    declare = 'DECLARE "My c" CURSOR WITH HOLD FOR select * from t for update'
    assert read_cursor(split_statements(declare)[0]) == ("My c", "select * from t for update")


simple_sql = st.lists(
    st.sampled_from(
        [
            *("select", "FETCH", "from", "Pg_Type", "pg_type", "a1", "version", "insert", "begin"),
            *("1", "22", "007", "1.5", ".5", "5.", "1e5", "1a", "_1", "x.1", "$1", "'2'", '"3"'),
            *(" ", "  ", "\n", "\t", ",", "(", ")", "=", "<>", "*", "+", "-", "--", "/*", "/"),
            *(";", "é", "\u00a0", "\x0b", "!"),
        ]
    ),
    max_size=10,
).map("".join)


@given(simple_sql)
def test_sql_that_differs_in_numbers_alone_is_taken_apart_as_any(sql: str) -> None:
    """Each SQL text that was never seen, beside others of its shape that were."""
    tokens, found = split_statements(sql), split_sql(sql)
    assert [(one.sql, one.verb) for one in found] == [(one.sql, one.verb) for one in tokens]
    assert is_session_sql(sql) == all(map(is_session_statement, tokens))
    assert [one.tokens for one in found] == [one.tokens for one in tokens]
    assert [one.texts() for one in found] == [one.texts() for one in tokens]


@pytest.mark.parametrize(
    ("sql", "shape"),
    [
        ("SELECT a FROM t WHERE n = 42;", "SELECT a FROM t WHERE n = 0;"),
        ("SELECT t1.a2, 3.5 FROM t1", "SELECT t1.a2, 3.5 FROM t1"),
        ("SELECT 1; SELECT 2", None),
        ("SELECT '1'", None),
        ("SELECT $1", None),
        ("SELECT 1 -- 2", None),
    ],
)
def test_shapes(sql: str, shape: str | None) -> None:
    assert shape_sql(sql) == shape
