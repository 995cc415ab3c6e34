"""Starts a private PostgreSQL 15 for tests: scratch folder, free port, trust, no fsync."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

BIN = Path("/usr/lib/postgresql/15/bin")
_SETTINGS = (
    "fsync=off",
    "listen_addresses=127.0.0.1",
    "shared_preload_libraries=pg_stat_statements",
    "pg_stat_statements.track_utility=on",
    "max_connections=50",
    "TimeZone=UTC",
)


@dataclass(frozen=True)
class PostgresCluster:
    """A running server; everyone may connect as ``postgres`` without a password."""

    port: int
    folder: Path

    @property
    def dsn(self) -> str:
        return f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres"


def _as_postgres(*command: str | Path) -> list[str]:
    words = [str(word) for word in command]
    return ["runuser", "-u", "postgres", "--", *words] if os.geteuid() == 0 else words


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def run_postgres() -> Iterator[PostgresCluster]:
    """A cluster for as long as the block lasts."""
    folder = Path(tempfile.mkdtemp(prefix="kebpf-pg-"))
    folder.chmod(0o777)
    data, port = folder / "data", find_free_port()
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "cwd": folder}
    try:
        initdb = (BIN / "initdb", "-D", data, "-A", "trust", "-U", "postgres", "-N")
        subprocess.run(_as_postgres(*initdb, "--locale=C.UTF-8"), **quiet)  # type: ignore[call-overload]
        options = " ".join(f"-c {s}" for s in (*_SETTINGS, f"unix_socket_directories={folder}"))
        control = (BIN / "pg_ctl", "-D", data, "-w", "-l", folder / "log")
        subprocess.run(_as_postgres(*control, "-o", f"-p {port} {options}", "start"), **quiet)  # type: ignore[call-overload]
        try:
            yield PostgresCluster(port, folder)
        finally:
            subprocess.run(_as_postgres(*control, "-m", "immediate", "stop"), **quiet)  # type: ignore[call-overload]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresCluster]:
    """One private server for all tests of a run."""
    if not (BIN / "postgres").exists():
        pytest.skip(f"no PostgreSQL 15 in {BIN}")
    with run_postgres() as cluster:
        yield cluster
