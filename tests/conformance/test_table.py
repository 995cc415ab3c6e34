"""The table in the documentation is that of the declared rows."""

from __future__ import annotations

import re

from tests.conformance.declaration import CHANGED, PLAIN, find_rows
from tests.conformance.table import PAGE, write_page

ASKED_FOR = (
    ("psycopg", "psycopg2", "asyncpg", "pg8000", "SQLAlchemy", "psql", "pgbench"),
    ("redis-py", "redis-cli"),
    ("requests", "httpx", "aiohttp", "urllib3", "curl"),
)


def test_page_is_written_from_the_declarations() -> None:
    assert PAGE.read_text() == write_page(find_rows())


def test_every_row_is_in_it_once() -> None:
    rows = find_rows()
    names = re.findall(r"^\| `([^`]+)` \|", PAGE.read_text(), re.MULTILINE)
    assert sorted(names) == sorted(row.name for row in rows)
    assert len(set(names)) == len(names)
    assert not any({PLAIN, CHANGED} & set(row.forms) for row in rows)
    assert all(set(row.prints_otherwise) <= set(row.forms) for row in rows)


def test_clients_promised_are_there() -> None:
    clients = " ".join(row.client for row in find_rows())
    missing = [name for names in ASKED_FOR for name in names if name not in clients]
    assert missing == []
