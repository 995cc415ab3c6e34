"""Runs a stranger beside its servers: recorded under load, replayed with all else off."""

from __future__ import annotations

import json
import shlex
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import psycopg

from examples.processes import Process, find_free_port
from examples.recorder import (
    find_kebpf,
    launch_recorder,
    start_recorder,
    stop_recorder,
    with_sources,
)
from tests.e2e.kebpf_runs import Entry, TestRun
from tests.e2e.runtimes.declaration import fill_in
from tests.e2e.strangers.declaration import Stranger, install_stranger
from tests.e2e.strangers.driving import drive
from tests.fix_postgres import run_postgres
from tests.fix_redis import run_redis

READY_SECONDS = 60.0
POLL_SECONDS = 0.05
TEST_SECONDS = 300.0
DATABASE = "stranger"


class Services:
    """What an application depends on, as a context manager; `switch_off` ends it all."""

    def __init__(self, stranger: Stranger) -> None:
        self.port = find_free_port()  # the application's
        self._stranger = stranger
        self._stack = ExitStack()
        self._database_port = self._redis_port = self._supplier_port = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            if "postgres" in self._stranger.services:
                self._database_port = stack.enter_context(run_postgres()).port
                self._make_database()
            if "redis" in self._stranger.services:
                self._redis_port = stack.enter_context(run_redis())
            if "supplier" in self._stranger.services:
                self._start_supplier(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.switch_off()

    def switch_off(self) -> None:
        self._stack.close()

    def _make_database(self) -> None:
        with self._connect("postgres") as connection:
            connection.execute("CREATE ROLE app LOGIN")
            connection.execute(f"CREATE DATABASE {DATABASE} OWNER app")
        with self._connect(DATABASE) as connection:
            connection.execute("SET ROLE app")
            connection.execute((self._stranger.sources / self._stranger.schema).read_bytes())

    def _connect(self, database: str) -> psycopg.Connection[Any]:
        where = f"host=127.0.0.1 port={self._database_port} user=postgres dbname={database}"
        return psycopg.connect(where, autocommit=True)

    def _start_supplier(self, stack: ExitStack) -> None:
        self._supplier_port = find_free_port()
        command = fill_in(self._stranger.supplier, supplier_port=self._supplier_port)
        folder = install_stranger(self._stranger)
        process = Process("supplier", command, folder=folder)
        stack.callback(process.stop)
        wait_until_healthy(process, f"http://127.0.0.1:{self._supplier_port}/health")

    @property
    def environment(self) -> dict[str, str]:
        """What the application is told."""
        told = {"PORT": str(self.port), "PYTHONDONTWRITEBYTECODE": "1"}
        if self._database_port:
            told["DATABASE_URL"] = f"postgres://app@127.0.0.1:{self._database_port}/{DATABASE}"
        if self._redis_port:
            told["REDIS_URL"] = f"redis://127.0.0.1:{self._redis_port}/0"
        if self._supplier_port:
            told["SUPPLIER_URL"] = f"http://127.0.0.1:{self._supplier_port}"
        return {**told, **self._stranger.environment}


def wait_until_healthy(process: Process, url: str) -> None:
    """Asks until it answers 200.  Raises ``TimeoutError`` with the program's last words."""
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end and process.exit_status is None:
        try:
            with urllib.request.urlopen(url, timeout=READY_SECONDS):
                return
        except OSError:
            time.sleep(POLL_SECONDS)
    raise TimeoutError(f"{process.name} does not answer\n{process.tail()}")


class Application:
    """An installed stranger beside its services."""

    def __init__(self, stranger: Stranger, services: Services) -> None:
        self.stranger = stranger
        self.folder = install_stranger(stranger)
        self.credentials: set[str] = set()  # what customers sent to be let in
        self._services = services

    def command(self, folder: Path) -> list[str]:
        """How to start it; programs of its folder by their whole path."""
        first, *rest = fill_in(self.stranger.start, port=self._services.port)
        return [str(folder / first) if (folder / first).is_file() else first, *rest]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._services.port}"

    def drive(self, first: int = 0) -> int:
        """All customers at once; gives the number of requests."""
        stranger = self.stranger
        return drive(
            self._services.port,
            stranger.customer,
            clients=stranger.clients,
            first=first,
            credentials=self.credentials,
        )

    def record(self, path: Path, *options: str) -> Entry:
        """From the start: kebpf starts it, customers come and go, kebpf ends it."""
        recorder = launch_recorder(
            path,
            *options,
            command=self.command(self.folder),
            environment=self._services.environment,
            folder=self.folder,
        )
        try:
            wait_until_healthy(recorder, self.url + self.stranger.health)
            sent = self.drive()
        finally:
            summary = stop_recorder(recorder)
        return {**summary, "sent": sent}

    def record_joined(self, path: Path) -> Entry:
        """Attaches by PID when pools are open and other customers have been there."""
        with self.running() as process:
            self.drive(first=1000)
            recorder = start_recorder(path, "--pid", str(process.pid))
            try:
                sent = self.drive(first=2000)
            finally:
                summary = stop_recorder(recorder)
        return {**summary, "sent": sent}

    @contextmanager
    def running(self) -> Iterator[Process]:
        """The application itself, healthy."""
        process = Process(
            self.stranger.name,
            self.command(self.folder),
            environment=self._services.environment,
            folder=self.folder,
        )
        try:
            wait_until_healthy(process, self.url + self.stranger.health)
            yield process
        finally:
            process.stop()

    def replay(
        self, path: Path, report: Path, *options: str, folder: Path | None = None
    ) -> TestRun:
        """Tests it, or the copy in ``folder``, against a recording of it."""
        folder = folder or self.folder
        words = ["test", "-c", shlex.join(self.command(folder)), str(path), "--json", str(report)]
        test = Process(
            "kebpf test",
            [*find_kebpf(), *words, *options],
            environment=with_sources(self._services.environment),
            folder=folder,
        )
        try:
            status = test.wait(TEST_SECONDS)
        finally:
            test.stop(signal.SIGINT)
        lines = report.read_text().splitlines() if report.exists() else []
        return TestRun(status, [json.loads(line) for line in lines], "\n".join(test.lines))
