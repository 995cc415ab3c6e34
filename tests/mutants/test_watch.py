from __future__ import annotations

from tests.mutants.watch import read_statements

LOG = """2026-01-01 10:00:00.000 UTC [12] LOG:  execute __asyncpg_stmt_1__: SELECT $1
2026-01-01 10:00:00.000 UTC [12] DETAIL:  parameters: $1 = '7'
2026-01-01 10:00:00.001 UTC [13] LOG:  statement: SELECT a
\tFROM b
2026-01-01 10:00:00.002 UTC [13] ERROR:  column "a" does not exist at character 8
2026-01-01 10:00:00.003 UTC [9] LOG:  checkpoint starting: time
"""


def test_statements_have_their_parameters_and_all_their_lines() -> None:
    assert list(read_statements(LOG)) == [
        "LOG statement: SELECT $1",
        "DETAIL parameters: $1 = '7'",
        "LOG statement: SELECT a\n\tFROM b",
        'ERROR column "a" does not exist at character 8',
    ]
