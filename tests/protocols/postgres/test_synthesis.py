"""Session statements that were never recorded are answered as a real server answers them."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from kebpf.protocols.postgres.synthesis import find_report, make_report
from tests.fix_postgres import PostgresCluster
from tests.protocols.postgres.test_session import dsn, record
from tests.protocols.postgres.wire import replay

pytestmark = pytest.mark.postgres

SCRIPTS: dict[str, list[str]] = {
    "blocks": [
        "begin",
        "commit",
        "start transaction isolation level serializable",
        "rollback",
        "begin",
        "end",
        "begin",
        "abort",
    ],
    "blocks within blocks": ["begin", "begin", "commit", "commit", "rollback"],
    "chains": ["begin", "commit and chain", "rollback and chain", "rollback and no chain"],
    "savepoints": [
        "begin",
        "savepoint a",
        'savepoint "B c"',
        "rollback to savepoint a",
        "rollback to a",
        "release savepoint a",
        "commit",
    ],
    "savepoints that are not there": [
        "begin",
        "rollback to nowhere",
        "select 1",
        "savepoint a",
        "rollback",
        "begin",
        "savepoint a",
        "release nowhere",
        "rollback to a",
        "release a",
        "commit",
    ],
    "savepoints outside of a block": ["savepoint a", "release a", "rollback to a"],
    "a failed block": ["begin", "release a", "begin", "select 1", "show TimeZone", "commit"],
    "settings": [
        "set application_name = 'one'",
        "show application_name",
        "begin",
        "set local application_name = 'two'",
        "show application_name",
        "rollback",
        "show application_name",
        "begin",
        "set application_name = 'three'",
        "rollback",
        "show application_name",
        "reset application_name",
        "show application_name",
    ],
    "settings that are not reported": [
        "set search_path = pg_catalog",
        "show search_path",
        "reset search_path",
        "show search_path",
        "begin",
        "set local statement_timeout = 0",
        "set local search_path = pg_temp",
        "show search_path",
        "commit",
        "show search_path",
    ],
    "set_config": [
        "select set_config('application_name', 'x''y', false)",
        "select current_setting('application_name')",
        "begin",
        "select set_config('application_name', 'local', true)",
        "commit",
        "show application_name",
    ],
    "time zones": [
        "set time zone 'Europe/Paris'",
        "show time zone",
        "show TimeZone",
        "set timezone to 'UTC'",
        "show time zone",
    ],
    "constraints": ["begin", "set constraints all deferred", "commit"],
    "discarding": ["set application_name = 'x'", "discard all", "show application_name"],
    "discarding in a block": ["begin", "discard all", "rollback"],
    "discarding a part": ["discard plans", "discard temp", "discard sequences"],
    "deallocation": ["deallocate all"],
    "selects": ["select 1", "select 1 as one", "select current_user", "select current_database()"],
    "resetting": ["set application_name = 'x'", "reset all", "show application_name"],
}


def run_script(port: int, statements: list[str]) -> list[Any]:
    """Tag, rows, column names, error, notices and transaction status after each statement."""
    seen: list[Any] = []
    notices: list[Any] = []
    with psycopg.connect(dsn(port), autocommit=True) as conn:
        conn.add_notice_handler(
            lambda report: notices.append(
                (report.severity, report.sqlstate, report.message_primary)
            )
        )
        for statement in statements:
            result = conn.pgconn.exec_(statement.encode())
            rows = [
                [result.get_value(row, column) for column in range(result.nfields)]
                for row in range(result.ntuples)
            ]
            columns = [
                (result.fname(column), result.ftype(column)) for column in range(result.nfields)
            ]
            fields = (
                psycopg.pq.DiagnosticField.SQLSTATE,
                psycopg.pq.DiagnosticField.MESSAGE_PRIMARY,
            )
            error = [result.error_field(field) for field in fields]
            status = conn.pgconn.transaction_status
            name = conn.pgconn.parameter_status(b"application_name")
            zone = conn.pgconn.parameter_status(b"TimeZone")
            seen.append(
                (statement, result.command_status, rows, columns, error, status, name, zone)
            )
    return [*seen, notices]


def connect_only(port: int) -> None:
    psycopg.connect(dsn(port)).close()


@pytest.mark.parametrize("script", SCRIPTS)
def test_session_statements(script: str, postgres: PostgresCluster) -> None:
    expected = run_script(postgres.port, SCRIPTS[script])
    _, connecting = record(connect_only, postgres)
    found, _ = replay(lambda port: run_script(port, SCRIPTS[script]), connecting)
    assert found == expected


def test_a_report_is_as_the_server_worded_it() -> None:
    made = make_report("25P02", "aborted")
    recorded = {**made, "file": "postgres.c", "line": "1081"}
    others = [None, make_report("25P02", "else"), make_report("25P01", "aborted")]
    assert find_report(made, [*others, recorded]) == recorded
    assert find_report(made, others) == made
