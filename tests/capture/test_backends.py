"""Databases of open connections, as the servers themselves say which they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from kebpf.capture.backends import Backends, End
from tests.fix_postgres import PostgresCluster, run_postgres

DATABASES = ("postgres", "template1")
CLIENT, SERVER = ("10.0.0.1", 40000), ("10.0.0.2", 5432)
TCP = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid"
ROW = " 0: 0200000A:1538 0100000A:9C40 01 00000000:00000000 00:00000000 00000000 103 0 777 1 0"
ROW6 = (
    " 0: 0000000000000000FFFF00000200000A:1538 0000000000000000FFFF00000100000A:9C40 01"
    " 00000000:00000000 00:00000000 00000000 103 0 777 1 0"
)


@pytest.fixture
def cluster() -> Iterator[PostgresCluster]:
    with run_postgres() as running:
        yield running


@pytest.mark.postgres
def test_each_connection_is_for_the_database_that_its_server_says(cluster: PostgresCluster) -> None:
    backends, server = Backends(), ("127.0.0.1", cluster.port)
    for name in DATABASES:
        dsn = cluster.dsn.replace("dbname=postgres", f"dbname={name}")
        with psycopg.connect(dsn) as connection:
            row = connection.execute("SELECT current_database(), inet_client_port()").fetchone()
            assert row is not None
            client = ("127.0.0.1", int(row[1]))
            assert Backends().find_database(client, server) == row[0] == name
            assert Backends().find_database(server, client) is None
            assert Backends().find_database(client, ("127.0.0.1", cluster.port + 1)) is None
    assert backends.find_database(client, server) is None  # it is closed by now


def make_process(proc: Path, title: str, row: str = ROW, inode: int = 777) -> None:
    """A process 42 with one socket."""
    folder = proc / "42"
    (folder / "fd").mkdir(parents=True)
    (folder / "net").mkdir()
    (folder / "cmdline").write_bytes(title.encode() + b"\0\0")
    is_6 = row is ROW6
    (folder / "net" / "tcp").write_text(TCP + "\n" + ("" if is_6 else row + "\n"))
    (folder / "net" / "tcp6").write_text(TCP + "\n" + (row + "\n" if is_6 else ""))
    (folder / "fd" / "9").symlink_to(f"socket:[{inode}]")


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("postgres: field other 10.0.0.1(40000) idle in transaction", "other"),
        ("postgres: field other 10.0.0.1(40000)", "other"),
        ("postgres: 15/main: field other client.example(40000) SELECT waiting", "other"),
        ("postgres: field other 10.0.0.1(40001) idle", None),
        ("postgres: field other name 10.0.0.1(40000) idle", None),
        ("postgres: field other [local] idle", None),
        ("postgres: walsender field 10.0.0.1(40000) streaming", None),
        ("vi postgres: field other 10.0.0.1(40000) idle", None),
    ],
)
@pytest.mark.parametrize("row", [ROW, ROW6], ids=["IPv4", "mapped"])
def test_titles(tmp_path: Path, title: str, name: str | None, row: str) -> None:
    make_process(tmp_path, title, row)
    assert Backends(tmp_path).find_database(CLIENT, SERVER) == name


@pytest.mark.parametrize(
    ("client", "server", "inode"),
    [
        (CLIENT, SERVER, 778),  # the socket is another process's
        (("10.0.0.9", 40000), SERVER, 777),
        (CLIENT, ("10.0.0.2", 5433), 777),
    ],
)
def test_a_title_alone_is_no_proof(tmp_path: Path, client: End, server: End, inode: int) -> None:
    make_process(tmp_path, "postgres: field other 10.0.0.1(40000) idle", inode=inode)
    assert Backends(tmp_path).find_database(client, server) is None
