"""The PostgreSQL and the Redis that the programs keep their notes in, and what these counted."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import psycopg

from examples.oracle import count_postgres_calls, count_redis_calls, flush_redis
from examples.processes import find_free_port
from tests.fix_postgres import run_postgres
from tests.fix_redis import run_redis

AUTHORS = ("ann", "bob", "eve")  # eve comes later
CROWD = tuple(f"guest{number}" for number in range(32))  # who come all at once, if at all
SEEDED = 10_000  # notes of each author that the cache does not know: more than rounds in a run
TABLES = """
CREATE TABLE notes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    author text NOT NULL,
    title text NOT NULL,
    body text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE history (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    note_id bigint NOT NULL,
    action text NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);
GRANT ALL ON ALL TABLES IN SCHEMA public TO notes;
GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO notes;
"""
SEED = """
INSERT INTO notes (author, title, body)
SELECT author, 'old note ' || n || ' of ' || author, repeat('seeded ', n %% 7)
FROM unnest(%s::text[]) WITH ORDINALITY AS a(author, place), generate_series(1, %s) AS n
ORDER BY place, n
"""
TRANSACTIONS = frozenset({"BEGIN", "COMMIT", "ROLLBACK"})
MODIFIED = 1_700_000_000  # seconds since the Unix epoch
LOGO = bytes((7 * n + n // 251) % 256 for n in range(200_003))


def is_transaction(sql: object) -> bool:
    """Whether a statement begins or ends a transaction, whatever options it has."""
    return isinstance(sql, str) and sql.upper().rstrip("; ").split(" ")[0] in TRANSACTIONS


class Servers:
    """Private servers of one run, as a context manager; `switch_off` stops them before its end."""

    def __init__(self, folder: Path, authors: Sequence[str] = AUTHORS) -> None:
        self.port = find_free_port()  # the program's
        self._authors = list(authors)
        self.files = folder / "files"
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self.files.mkdir()
        (self.files / "logo").write_bytes(LOGO)
        os.utime(self.files / "logo", (MODIFIED, MODIFIED))  # Last-Modified is no time of the run
        with ExitStack() as stack:
            self._cluster = stack.enter_context(run_postgres())
            self._redis_port = stack.enter_context(run_redis())
            self._make_database()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.switch_off()

    def switch_off(self) -> None:
        """Stops both; nobody listens on their ports from now on."""
        self._stack.close()

    def _connect(self, database: str = "notes") -> psycopg.Connection:
        port = self._cluster.port
        host = "127.0.0.1"
        return psycopg.connect(
            host=host, port=port, user="postgres", dbname=database, autocommit=True
        )

    def _make_database(self) -> None:
        with self._connect("postgres") as connection:
            connection.execute("CREATE ROLE notes LOGIN")
            connection.execute("CREATE DATABASE notes")
        with self._connect() as connection:
            connection.execute("CREATE EXTENSION pg_stat_statements")
            connection.execute(TABLES)
            connection.execute(SEED, (self._authors, SEEDED))

    @property
    def environment(self) -> dict[str, str]:
        """What a program is told."""
        return {
            "PORT": str(self.port),
            "DATABASE_URL": f"postgres://notes@127.0.0.1:{self._cluster.port}/notes",
            "REDIS_URL": f"redis://127.0.0.1:{self._redis_port}/0",
            "FILES_DIR": str(self.files),
        }

    def log_statements(self) -> None:
        """Has PostgreSQL write each statement of the program, with its parameters, to its log."""
        with self._connect() as connection:
            connection.execute("ALTER ROLE notes SET log_statement = 'all'")

    @property
    def postgres_log(self) -> Path:
        return self._cluster.folder / "log"

    @property
    def redis_port(self) -> int:
        return self._redis_port

    def end_sessions(self) -> None:
        """Ends the program's PostgreSQL sessions, as a failover or an idle timeout does."""
        with self._connect() as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
                " WHERE usename = 'notes'"
            )

    def forget(self) -> None:
        """Puts everything back to what it was at the start."""
        with self._connect() as connection:
            connection.execute("TRUNCATE notes, history RESTART IDENTITY")
            connection.execute(SEED, (self._authors, SEEDED))
        flush_redis(self._redis_port)

    def count_calls(self) -> dict[str, int]:
        """What the servers say the program has asked of them so far, `TRANSACTIONS` aside.

        PostgreSQL 15 counts such a statement, once prepared, on its first execution only.
        """
        with self._connect() as connection:
            counted = count_postgres_calls(connection, "notes")
        postgres = sum(calls for sql, calls in counted.items() if not is_transaction(sql))
        return {"postgres": postgres, "redis": sum(count_redis_calls(self._redis_port).values())}
