"""The real servers that the clients are recorded with: PostgreSQL, Redis, a web site."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Self

import psycopg

from tests.conformance.declaration import Row
from tests.conformance.site import run_site
from tests.fix_postgres import PostgresCluster, run_postgres
from tests.fix_redis import run_redis

HOST = "127.0.0.1"
USER = "client"
DATABASE_SETUP = """
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE pair AS (number int, label text);
"""


class Services:
    """One PostgreSQL for all rows, if any is of it; the rest is a row's own."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows
        self._numbers = itertools.count(1)
        self._stack = ExitStack()
        self._cluster: PostgresCluster | None = None

    def __enter__(self) -> Self:
        if any(row.service == "postgres" for row in self._rows):
            self._cluster = self._stack.enter_context(run_postgres())
            self._execute("postgres", f"CREATE ROLE {USER} LOGIN")
        return self

    def __exit__(self, *_exception: object) -> None:
        """Nobody listens any more."""
        self._stack.close()

    def serve(self, row: Row) -> AbstractContextManager[Mapping[str, str]]:
        """The row's service, with nothing in it, as variables of the environment."""
        services = {"postgres": self._postgres, "redis": self._redis, "http": self._site}
        return services[row.service](row)

    @contextmanager
    def _postgres(self, row: Row) -> Iterator[Mapping[str, str]]:
        """A database of its own, with the types that `DATABASE_SETUP` makes."""
        assert self._cluster is not None
        number = next(self._numbers)
        database = f"{row.environment.name}_{row.name}_{number}".replace("-", "_")
        self._execute("postgres", f"CREATE DATABASE {database} OWNER {USER}")
        self._execute(database, f"SET ROLE {USER}; {DATABASE_SETUP}")
        yield {
            "PGHOST": HOST,
            "PGPORT": str(self._cluster.port),
            "PGUSER": USER,
            "PGDATABASE": database,
        }

    def _execute(self, database: str, sql: str) -> None:
        assert self._cluster is not None
        place = {"host": HOST, "port": self._cluster.port, "dbname": database, "user": "postgres"}
        with psycopg.connect(**place, autocommit=True) as connection:  # type: ignore[arg-type]
            connection.execute(sql.encode())

    @contextmanager
    def _redis(self, row: Row) -> Iterator[Mapping[str, str]]:
        with run_redis() as port:
            yield {"REDIS_HOST": HOST, "REDIS_PORT": str(port)}

    @contextmanager
    def _site(self, row: Row) -> Iterator[Mapping[str, str]]:
        with run_site(HOST) as port:
            yield {"HTTP_HOST": HOST, "HTTP_PORT": str(port)}
