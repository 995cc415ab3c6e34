"""Starts the shop with a PostgreSQL, a Redis and a rates service of its own, and stops them.

``python -m examples.services`` does so until Ctrl-C; tests and the demo use `Services`.
"""

from __future__ import annotations

import atexit
import os
import shlex
import shutil
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import psycopg

from examples.oracle import (
    count_postgres_calls,
    count_redis_calls,
    flush_redis,
    list_http_requests,
)
from examples.processes import (
    Process,
    exiting_on_signals,
    find_free_port,
    find_program,
    find_unprivileged_user,
    run_to_end,
)

EXAMPLES = Path(__file__).parent
SHOP = EXAMPLES / "shop"
ROLE = "shop"
PASSWORD = "shop"  # of a private server that lives for minutes
TABLES = "payments, order_items, orders, products, customers"
INITDB_OPTIONS = (
    *("--username=owner", "--auth-local=trust", "--auth-host=scram-sha-256"),
    *("--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"),
)
POSTGRES_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "shared_preload_libraries": "pg_stat_statements",
    "pg_stat_statements.track": "top",  # the SELECT in a COPY is no call of the client's
    "pg_stat_statements.track_utility": "on",
    "pg_stat_statements.save": "off",
    "fsync": "off",
    "log_line_prefix": "%u %p ",
    "lc_messages": "C",
}


class Services:
    """The servers, the rates service and the shop, as a context manager.

    Nothing of the host's own servers is touched: all listen on free ports of 127.0.0.1 and keep
    their files in a scratch folder that is removed at the end.  ``log_statements`` makes
    PostgreSQL write every statement with its parameters to `postgres`'s lines.
    """

    postgres: Process
    redis: Process
    rates: Process

    _database = "postgres"  # until the shop's is made

    def __init__(self, *, log_statements: bool = False) -> None:
        self.postgres_port = find_free_port()
        self.redis_port = find_free_port()
        self.rates_port = find_free_port()
        self.shop_port = find_free_port()
        self._log_statements = log_statements
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        atexit.register(self._stack.close)
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stack.close()
        atexit.unregister(self._stack.close)

    def _start(self) -> None:
        user = find_unprivileged_user()
        scratch = Path(tempfile.mkdtemp(prefix="kebpf-shop-"))
        self._stack.callback(shutil.rmtree, scratch, ignore_errors=True)
        if user is not None:
            shutil.chown(scratch, user)
        self.scratch = scratch
        self.redis = self._start_redis(user)
        self.postgres = self._start_postgres(user)
        self.load_database()
        self.rates = self._start_rates()

    def _keep(self, process: Process, stop_signal: int = signal.SIGTERM) -> Process:
        self._stack.callback(process.stop, stop_signal)
        return process

    def _start_postgres(self, user: str | None) -> Process:
        programs = find_program("initdb", "usr/lib/postgresql/*/bin/initdb").parent
        data = self.scratch / "postgres"
        initdb: list[str | Path] = [
            programs / "initdb",
            "-D",
            data,
            "-U",
            "owner",
            "--no-sync",
            "-E",
            "UTF8",
        ]
        security = ["--auth-local=trust", "--auth-host=scram-sha-256", "--locale=C.UTF-8"]
        run_to_end("initdb", [*initdb, *security], user=user)
        settings = {
            **POSTGRES_SETTINGS,
            "port": str(self.postgres_port),
            "unix_socket_directories": str(self.scratch),
            "log_statement": "all" if self._log_statements else "none",
        }
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        server = Process("postgres", [programs / "postgres", "-D", data, *options], user=user)
        self._keep(server, signal.SIGINT)  # "fast": open connections do not delay it
        server.wait_for(lambda line: "ready to accept connections" in line)
        return server

    def _start_redis(self, user: str | None) -> Process:
        options = {
            "--bind": "127.0.0.1",
            "--port": str(self.redis_port),
            "--dir": str(self.scratch),
            "--save": "",
            "--appendonly": "no",
        }
        words = [word for option in options.items() for word in option]
        server = self._keep(Process("redis", [find_program("redis-server"), *words], user=user))
        server.wait_for(lambda line: "eady to accept connections" in line)
        return server

    def _start_rates(self) -> Process:
        command = [sys.executable, "-m", "rates"]
        environment = {"RATES_PORT": str(self.rates_port)}
        rates = Process("rates", command, environment=environment, folder=EXAMPLES)
        self._keep(rates).wait_for(lambda line: "Uvicorn running" in line)
        return rates

    def connect_postgres(self) -> psycopg.Connection[tuple[object, ...]]:
        """A connection of the database's owner, over the private Unix socket."""
        return psycopg.connect(
            host=str(self.scratch),
            port=self.postgres_port,
            user="owner",
            dbname=self._database,
            autocommit=True,
        )

    def load_database(self) -> None:
        """Makes the shop's role, schema and rows in a new database."""
        with self.connect_postgres() as connection:
            connection.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'")
            connection.execute(f"CREATE DATABASE {ROLE}")
        self._database = ROLE
        with self.connect_postgres() as connection:
            connection.execute("CREATE EXTENSION pg_stat_statements")
            connection.execute((SHOP / "schema.sql").read_bytes())
            connection.execute((SHOP / "seed.sql").read_bytes())
            connection.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {ROLE}")
            connection.execute(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {ROLE}")

    def reset(self) -> None:
        """Puts the database and the cache back to what they were at the start."""
        with self.connect_postgres() as connection:
            connection.execute(f"TRUNCATE {TABLES} RESTART IDENTITY")
            connection.execute((SHOP / "seed.sql").read_bytes())
        flush_redis(self.redis_port)

    @property
    def shop_command(self) -> str:
        """What starts the shop, for `kebpf test -c`; run it in `EXAMPLES`."""
        return shlex.join([sys.executable, "-m", "shop"])

    @property
    def shop_environment(self) -> dict[str, str]:
        """The shop's settings."""
        host = "127.0.0.1"
        return {
            "SHOP_PORT": str(self.shop_port),
            "SHOP_DATABASE_URL": f"postgresql://{ROLE}:{PASSWORD}@{host}:{self.postgres_port}/{ROLE}",
            "SHOP_REDIS_URL": f"redis://{host}:{self.redis_port}/0",
            "SHOP_RATES_URL": self.rates_url,
        }

    @property
    def rates_url(self) -> str:
        return f"http://127.0.0.1:{self.rates_port}"

    @property
    def shop_url(self) -> str:
        return f"http://127.0.0.1:{self.shop_port}"

    def start_shop(self, bug: str = "") -> Process:
        """Starts the shop, with a regression if named; it is stopped at the end at the latest."""
        environment = {**self.shop_environment, "SHOP_BUG": bug}
        shop = Process(
            "shop", shlex.split(self.shop_command), environment=environment, folder=EXAMPLES
        )
        self._keep(shop).wait_for(lambda line: "Uvicorn running" in line)
        return shop

    def stop_backends(self) -> None:
        """Stops everything the shop depends on; the scratch folder stays."""
        self.rates.stop()
        self.redis.stop()
        self.postgres.stop(signal.SIGINT)

    def count_calls(self) -> dict[str, int]:
        """What the servers themselves say the shop has asked of them so far."""
        with self.connect_postgres() as connection:
            postgres = sum(count_postgres_calls(connection, ROLE).values())
        return {
            "postgres": postgres,
            "redis": sum(count_redis_calls(self.redis_port).values()),
            "http": len(list_http_requests(self.rates_url)),
        }


def main() -> int:
    """Runs all of it until a signal comes; prints how to reach it."""
    with exiting_on_signals(), Services() as services:
        shop = services.start_shop(bug=os.environ.get("SHOP_BUG", ""))
        print(f"shop        {services.shop_url} (pid {shop.pid})")
        print(f"rates       http://127.0.0.1:{services.rates_port} (pid {services.rates.pid})")
        for name, value in services.shop_environment.items():
            print(f"{name}={value}")
        print("Ctrl-C stops everything.", flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            print("stopping")
    return 0


if __name__ == "__main__":
    sys.exit(main())
