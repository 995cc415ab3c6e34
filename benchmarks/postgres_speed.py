"""A PostgreSQL server under pgbench, each of its three forms of a query."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.loads import Load, load_postgres
from benchmarks.subject import Subject, measure_subject
from examples.processes import (
    Process,
    find_free_port,
    find_program,
    find_unprivileged_user,
    run_to_end,
)

SECONDS = 4
FORMS = ("simple", "extended", "prepared")


@contextmanager
def running_postgres() -> Iterator[tuple[Process, int, Path]]:
    """A private server with pgbench's tables, its port, and a folder it may write to."""
    user = find_unprivileged_user()
    programs = find_program("initdb", "usr/lib/postgresql/*/bin/initdb").parent
    folder, port = Path(tempfile.mkdtemp(prefix="kebpf-bench-postgres-")), find_free_port()
    if user is not None:
        shutil.chown(folder, user)
    options = ["-D", str(folder / "data"), "-U", "owner", "--no-sync", "-A", "trust"]
    run_to_end("initdb", [programs / "initdb", *options], user=user)
    settings = ["-c", f"port={port}", "-c", f"unix_socket_directories={folder}", "-F"]
    server = Process(
        "postgres", [programs / "postgres", "-D", folder / "data", *settings], user=user
    )
    try:
        server.wait_for(lambda line: "ready to accept connections" in line)
        where = ["-h", "127.0.0.1", "-p", str(port), "-U", "owner", "postgres"]
        run_to_end("pgbench -i", [programs / "pgbench", "-i", "-q", *where], user=user)
        yield server, port, folder
    finally:
        server.stop(signal.SIGINT)
        shutil.rmtree(folder, ignore_errors=True)


def measure_postgres(doors: list[str], rounds: int, folder: Path) -> Iterator[Figure]:
    """Speed with and without recording the server, whose clients are a process each."""
    user = find_unprivileged_user()
    programs = find_program("initdb", "usr/lib/postgresql/*/bin/initdb").parent
    with running_postgres() as (server, port, scratch):
        logs = scratch / "logs"
        logs.mkdir()
        if user is not None:
            shutil.chown(logs, user)
        for form in FORMS:
            subject = Subject(
                name=f"pgbench -S {form}",
                target=server.pid,
                port=port,
                load=partial(_load, programs, form, logs, user),
            )
            yield from measure_subject(subject, doors, rounds, folder / f"postgres-{form}")


def _load(programs: Path, form: str, logs: Path, user: str | None, port: int, share: float) -> Load:
    return load_postgres(programs, port, max(1, int(SECONDS * share)), form, logs, user)
