"""The peers of a row, over TLS: those it calls, what they were asked, and what it is told."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from enum import Enum
from pathlib import Path
from typing import Any, Self

import psycopg

from examples.certificates import Certificates, make_certificates
from examples.processes import find_free_port
from tests.e2e.tls.calls import Call, read_asked
from tests.e2e.tls.peers import Peer, Proxy, Vendor
from tests.fix_postgres import PostgresCluster, run_postgres
from tests.fix_redis import run_redis

PASSWORD = "top-secret"
TABLES = """
CREATE TABLE notes (number bigint NOT NULL, text text NOT NULL);
CREATE TABLE recalled (number bigint NOT NULL);
CREATE FUNCTION recall(wanted bigint) RETURNS text LANGUAGE sql VOLATILE AS $$
    INSERT INTO recalled VALUES (wanted);
    SELECT reverse(text) FROM notes WHERE number = wanted LIMIT 1;
$$;
GRANT ALL ON ALL TABLES IN SCHEMA public TO asker;
"""
HBA = """
host all postgres 127.0.0.1/32 trust
hostssl notes asker 127.0.0.1/32 scram-sha-256
"""


class Service(Enum):
    """Who may be called."""

    VENDOR = "vendor"
    MUTUAL = "vendor that wants certificates"
    PROXIED = "vendor behind a proxy"
    POSTGRES = "postgres"
    REDIS = "redis"


class Services:
    """As a context manager; `switch_off` stops them before its end.

    ``environment`` is what a program is told; `take_calls` what was asked so far.
    """

    def __init__(self, folder: Path, service: Service | None) -> None:
        self.port = find_free_port()  # the program's
        self.certificates = make_certificates(folder / "certificates")
        self.environment = {
            "PORT": str(self.port),
            "CA_FILE": str(self.certificates.authority),
            "CERT_FILE": str(self.certificates.certificate),
            "KEY_FILE": str(self.certificates.key),
            "SCRATCH": str(folder / "scratch"),
        }
        self.take_calls: Callable[[], list[Call]] = list
        self._folder = folder
        self._service = service
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        start = {
            Service.VENDOR: self._start_vendor,
            Service.MUTUAL: lambda stack: self._start_vendor(stack, is_mutual=True),
            Service.PROXIED: self._start_proxied,
            Service.POSTGRES: self._start_postgres,
            Service.REDIS: self._start_redis,
        }
        with ExitStack() as stack:
            if self._service is not None:
                start[self._service](stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.switch_off()

    def switch_off(self) -> None:
        """Nobody listens on their ports from now on."""
        self._stack.close()

    def _start_vendor(self, stack: ExitStack, is_mutual: bool = False) -> None:
        vendor = Vendor(self.certificates, is_mutual)
        stack.callback(vendor.stop)
        self.take_calls = lambda: read_asked(vendor.asked)
        self.environment |= {
            "VENDOR_URL": f"https://localhost:{vendor.port}",
            "VENDOR_PORT": str(vendor.port),
        }

    def _start_proxied(self, stack: ExitStack) -> None:
        self._start_vendor(stack)
        proxy: Peer = Proxy()
        stack.callback(proxy.stop)
        self.environment |= {"HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}"}

    def _start_postgres(self, stack: ExitStack) -> None:
        cluster = stack.enter_context(run_postgres())
        certificates = self.certificates.hand_over(cluster.folder / "tls", "postgres")
        with _connect(cluster, "postgres") as connection:
            connection.execute(f"CREATE ROLE asker LOGIN PASSWORD '{PASSWORD}'")
            connection.execute("CREATE DATABASE notes")
            _set_up_tls(connection, certificates, cluster)
        with _connect(cluster) as connection:
            connection.execute(TABLES)
        self.take_calls = lambda: _read_database(cluster)
        self.environment |= {
            "PGHOST": "localhost",
            "PGHOSTADDRESS": "127.0.0.1",
            "PGPORT": str(cluster.port),
            "PGUSER": "asker",
            "PGPASSWORD": PASSWORD,
            "PGDATABASE": "notes",
            "DATABASE_URL": f"postgresql://asker:{PASSWORD}@localhost:{cluster.port}/notes"
            f"?sslmode=verify-full&sslrootcert={self.certificates.authority}",
        }

    def _start_redis(self, stack: ExitStack) -> None:
        port = find_free_port()
        certificates = self.certificates
        options = ["--tls-port", port, "--tls-auth-clients", "no"]
        options += ["--tls-cert-file", certificates.certificate, "--tls-key-file", certificates.key]
        options += ["--tls-ca-cert-file", certificates.authority]
        options += ["--user", "asker", "on", f">{PASSWORD}", "~*", "+@all"]
        plain_port = stack.enter_context(run_redis(*map(str, options)))
        monitor = stack.enter_context(monitoring(plain_port))
        self.take_calls = monitor.take_calls
        self.environment |= {"REDIS_URL": f"rediss://asker:{PASSWORD}@localhost:{port}/0"}


def _connect(cluster: PostgresCluster, database: str = "notes") -> psycopg.Connection[Any]:
    return psycopg.connect(
        cluster.dsn.replace("dbname=postgres", f"dbname={database}"), autocommit=True
    )


def _set_up_tls(
    connection: psycopg.Connection[Any], certificates: Certificates, cluster: PostgresCluster
) -> None:
    """The role may come over TLS only, with its password by SCRAM."""
    (cluster.folder / "data" / "pg_hba.conf").write_text(HBA)
    settings = {
        "ssl_cert_file": certificates.certificate,
        "ssl_key_file": certificates.key,
        "ssl": "on",
    }
    for name, value in settings.items():
        connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
    connection.execute("SELECT pg_reload_conf()")


def _read_database(cluster: PostgresCluster) -> list[Call]:
    with _connect(cluster) as connection:
        kept = connection.execute("SELECT number, text FROM notes").fetchall()
        recalled = connection.execute("SELECT number FROM recalled").fetchall()
    texts = dict(kept)
    return [Call("keep", number, text, "") for number, text in kept] + [
        Call("recall", number, "", texts[number][::-1]) for (number,) in recalled
    ]


class Monitor:
    """What Redis says of its commands, read in a thread."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._texts: dict[int, str] = {}
        self._calls: list[Call] = []
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        with self._connection.makefile("rb") as lines:
            for line in lines:
                words = line.decode().rstrip().partition("] ")[2].split(" ", 2)
                self._note([word.strip('"') for word in words])

    def _note(self, words: list[str]) -> None:
        if len(words) < 2 or not words[1].startswith("note:"):
            return
        number = int(words[1].rpartition(":")[2])
        if words[0].upper() == "SET":
            self._texts[number] = words[2]
            self._calls.append(Call("keep", number, words[2], ""))
        elif words[0].upper() == "GET":
            self._calls.append(Call("recall", number, "", self._texts[number]))

    def take_calls(self) -> list[Call]:
        return list(self._calls)

    def end(self) -> None:
        self._connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()


@contextmanager
def monitoring(port: int) -> Iterator[Monitor]:
    """From now on."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(b"MONITOR\r\n")
        assert connection.recv(5) == b"+OK\r\n"
        connection.settimeout(None)
        monitor = Monitor(connection)
        try:
            yield monitor
        finally:
            monitor.end()
