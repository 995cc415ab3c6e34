"""Mistakes in calls to PostgreSQL: statements, parameters, rows sent, transactions."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import psycopg
from psycopg import errors

from tests.e2e.field.lines import Answer, Backends, CallFinding, Difference, Pool, as_json, line

LOST = "outgoing calls are not asserted, so a lost INSERT passes"
SIMILAR = "similarity without threshold (#4272)"
DESTINATION = "destination not compared when a mock is chosen"
ENDING = "ReadyForQuery status and command tags come from a session state machine"
BALANCE = "SELECT balance FROM accounts WHERE owner = %s"
ADD = "INSERT INTO events (kind, note) VALUES (%s, %s)"


def ask(pool: Pool, sql: str, *parameters: Any) -> list[list[Any]]:
    """The rows of one statement in a transaction of its own."""
    with pool.connection() as database:
        cursor = database.execute(sql.encode(), parameters or None)
        return [list(row) for row in cursor.fetchall()]


def do(use: Backends, sql: str, *parameters: Any) -> None:
    with use.database.connection() as database:
        database.execute(sql.encode(), parameters or None)


@line(SIMILAR, CallFinding("changed", "SELECT balance"))
def argument_one_off(bug: bool, use: Backends) -> Answer:
    sql = "SELECT balance FROM accounts WHERE id = %s"
    return as_json({"rows": ask(use.database, sql, 5 if bug else 4)})


@line("a call made by another case", CallFinding("changed", "bob"))
def row_of_another_case(bug: bool, use: Backends) -> Answer:
    return as_json({"balance": ask(use.database, BALANCE, "bob" if bug else "alice")})


@line("a call made by another case", CallFinding("missing", "bob"))
def row_read_by_another_case(bug: bool, use: Backends) -> Answer:
    return as_json({"balance": [[22]] if bug else ask(use.database, BALANCE, "bob")})


@line(DESTINATION, CallFinding("", "SELECT note"))
def database(bug: bool, use: Backends) -> Answer:
    pool = use.other_database if bug else use.database
    return as_json({"note": ask(pool, "SELECT note FROM places WHERE id = 1")})


@line(DESTINATION, Difference("/body/notes"))
def database_both_were_asked(bug: bool, use: Backends) -> Answer:
    """The statement is known of both databases, in this very case."""
    sql = "SELECT note FROM places WHERE id = 2"
    pools = [use.database, use.other_database]
    return as_json({"notes": [ask(pool, sql) for pool in (pools[::-1] if bug else pools)]})


@line("a query to a table not recorded", CallFinding("changed", "archive"))
def table_not_recorded(bug: bool, use: Backends) -> Answer:
    table = "archive" if bug else "accounts"
    return as_json({"count": ask(use.database, f"SELECT count(*) FROM {table}")})


@line("N+1", CallFinding("extra", "SELECT note FROM places WHERE id ="))
def n_plus_one(bug: bool, use: Backends) -> Answer:
    if bug:
        sql = "SELECT note FROM places WHERE id = %s"
        notes = [row for number in (1, 2, 3) for row in ask(use.database, sql, number)]
    else:
        sql = "SELECT note FROM places WHERE id = ANY(%s) ORDER BY id"
        notes = ask(use.database, sql, [1, 2, 3])
    return as_json({"notes": notes})


@line("a repeated call", CallFinding("repeated", "SELECT count(*) FROM places"))
def read_repeated(bug: bool, use: Backends) -> Answer:
    counts = [ask(use.database, "SELECT count(*) FROM places") for _ in range(2 if bug else 1)]
    return as_json({"count": counts[0]})


@line(LOST, CallFinding("missing", "INSERT INTO events"))
def insert_lost(bug: bool, use: Backends) -> Answer:
    with use.database.connection() as database:
        database.execute("SELECT 'begun'")
        if not bug:
            database.execute(ADD, ("lost", "insert"))
    return as_json({"kept": True})


@line(LOST, CallFinding("missing", "UPDATE accounts"))
def update_lost(bug: bool, use: Backends) -> Answer:
    if not bug:
        do(use, "UPDATE accounts SET note = %s WHERE id = 7", "late")
    return as_json({"kept": True})


@line(LOST, CallFinding("missing", "DELETE FROM events"))
def delete_lost(bug: bool, use: Backends) -> Answer:
    if not bug:
        do(use, "DELETE FROM events WHERE kind = 'gone'")
    return as_json({"removed": True})


@line(LOST, CallFinding("missing", "NOTIFY"))
def notify_lost(bug: bool, use: Backends) -> Answer:
    if not bug:
        do(use, "NOTIFY news, 'hello'")
    return as_json({"told": True})


@line("doubled INSERT", CallFinding("repeated", "INSERT INTO events"))
def insert_doubled(bug: bool, use: Backends) -> Answer:
    with use.database.connection() as database:
        for _ in range(2 if bug else 1):
            database.execute(ADD, ("doubled", "insert"))
    return as_json({"kept": True})


@line("an error that nobody looks at", CallFinding("changed", "INSERT INTO events"))
def insert_changed_and_error_swallowed(bug: bool, use: Backends) -> Answer:
    with suppress(psycopg.Error):
        do(use, ADD, "swallowed", "bad" if bug else "good")
    return as_json({"kept": True})


@line("recorded error no longer raised", CallFinding("changed", "INSERT INTO owners"))
def violation_no_longer_raised(bug: bool, use: Backends) -> Answer:
    ending = " ON CONFLICT DO NOTHING" if bug else ""
    try:
        do(use, "INSERT INTO owners (name) VALUES ('alice')" + ending)
    except errors.UniqueViolation:
        return as_json({"detail": "taken"}, 409)
    return as_json({"detail": "added"}, 201)


@line("raised with another SQLSTATE", Difference("/body/code"))
def another_sqlstate(bug: bool, use: Backends) -> Answer:
    owner = None if bug else "alice"
    try:
        do(use, "INSERT INTO owners (name, again) VALUES (%s, true)", owner)
    except psycopg.Error as error:
        return as_json({"code": error.sqlstate}, 409)
    return as_json({"code": None}, 201)


@line("executemany, a row less", CallFinding("missing", "INSERT INTO items"))
def one_row_less(bug: bool, use: Backends) -> Answer:
    rows = [(1, "a"), (2, "b"), (3, "c")]
    with use.database.connection() as database, database.cursor() as cursor:
        cursor.executemany("INSERT INTO items VALUES (%s, %s)", rows[: 2 if bug else 3])
    return as_json({"kept": True})


@line("COPY", CallFinding("changed", "COPY items"))
def copied_row_changed(bug: bool, use: Backends) -> Answer:
    with (
        use.database.connection() as database,
        database.cursor() as cursor,
        cursor.copy("COPY items FROM STDIN") as copy,
    ):
        for number in range(300):
            copy.write_row((number, "other" if bug and number == 150 else "same"))
    return as_json({"kept": True})


@line("SQL that differs in a lock only", CallFinding("changed", "SELECT balance"))
def lock_lost(bug: bool, use: Backends) -> Answer:
    sql = "SELECT balance FROM accounts WHERE id = 6" + ("" if bug else " FOR UPDATE")
    return as_json({"rows": ask(use.database, sql)})


@line("COMMIT became ROLLBACK", CallFinding("changed", "ROLLBACK"))
def commit_became_rollback(bug: bool, use: Backends) -> Answer:
    with use.database.connection() as database:
        database.execute(ADD, ("ending", "rollback"))
        if bug:
            database.rollback()
    return as_json({"kept": True})


@line("missing COMMIT", CallFinding("missing", "COMMIT"))
def commit_lost(bug: bool, use: Backends) -> Answer:
    database = psycopg.connect(use.database_url, autocommit=True)
    database.execute("BEGIN")
    database.execute(ADD, ("ending", "none"))
    if not bug:
        database.execute("COMMIT")
    database.close()
    return as_json({"kept": True})


@line("missing COMMIT", CallFinding("missing", "ROLLBACK TO"))
def partial_undo_lost(bug: bool, use: Backends) -> Answer:
    with use.database.connection() as database:
        database.execute(ADD, ("undone", "kept"))
        database.execute("SAVEPOINT here")
        database.execute(ADD, ("undone", "undone"))
        database.execute("RELEASE here" if bug else "ROLLBACK TO here")
    return as_json({"kept": 1})


@line("two transactions became one", CallFinding("missing", "COMMIT"))
def transactions_merged(bug: bool, use: Backends) -> Answer:
    with use.database.connection() as database:
        database.execute(ADD, ("merged", "first"))
        if not bug:
            database.commit()
        database.execute(ADD, ("merged", "second"))
    return as_json({"kept": 2})


@line("a call moved out of its transaction", CallFinding("reordered", "in two transactions"))
def write_moved_behind_the_commit(bug: bool, use: Backends) -> Answer:
    with use.database.connection() as database:
        database.execute(ADD, ("moved", "first"))
        if bug:
            database.commit()
        database.execute(ADD, ("moved", "second"))
        if not bug:
            database.commit()
        database.execute("SELECT 'checked'")
    return as_json({"kept": 2})


@line("a call in another order within a transaction", CallFinding("reordered", "accounts"))
def writes_reordered(bug: bool, use: Backends) -> Answer:
    writes = [
        "UPDATE accounts SET balance = balance - 5 WHERE id = 8",
        "UPDATE accounts SET balance = balance + 5 WHERE id = 9",
    ]
    with use.database.connection() as database:
        for sql in writes[::-1] if bug else writes:
            database.execute(sql.encode())
    return as_json({"moved": 5})


@line("a session's setting decides what a query may see", CallFinding("", "app.owner"))
def setting_of_another_owner(bug: bool, use: Backends) -> Answer:
    """Row-level security: the SELECT is the same, whose rows it gives is said by SET."""
    owner = "charlie" if bug else "alice"
    with use.database.connection() as database:
        database.execute(f"SET LOCAL app.owner = '{owner}'".encode())
        cursor = database.execute("SELECT note FROM owned ORDER BY note")
        return as_json({"notes": [row[0] for row in cursor.fetchall()]})


@line("a session's setting decides what a query may see", CallFinding("", "app.owner"))
def setting_lost(bug: bool, use: Backends) -> Answer:
    with use.database.connection() as database:
        if not bug:
            database.execute("SET LOCAL app.owner = 'bob'")
        cursor = database.execute("SELECT note FROM owned ORDER BY note LIMIT 5")
        return as_json({"notes": [row[0] for row in cursor.fetchall()]})


@line("isolation changed", CallFinding("", "SERIALIZABLE"))
def isolation_lost(bug: bool, use: Backends) -> Answer:
    with psycopg.connect(use.database_url, autocommit=True) as database:
        database.execute("BEGIN" if bug else "BEGIN ISOLATION LEVEL SERIALIZABLE")
        database.execute(ADD, ("isolation", "insert"))
        database.execute("COMMIT")
    return as_json({"kept": True})
