"""An HTTP service under wrk, with what else people would record it with beside kebpf."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.loads import load_http
from benchmarks.observers import MITMPROXY, STRACE, TCPDUMP
from benchmarks.subject import Subject, measure_subject
from examples.processes import Process, find_free_port
from examples.recorder import with_sources

SECONDS = 4.0
CONNECTIONS = 8


@contextmanager
def running_service() -> Iterator[tuple[Process, int]]:
    """`benchmarks.http_service` under uvicorn, and its port."""
    port = find_free_port()
    options = ["--host", "127.0.0.1", "--port", str(port), "--no-access-log"]
    command = [sys.executable, "-m", "uvicorn", "benchmarks.http_service:service", *options]
    service = Process("service", command, environment=with_sources(os.environ))
    try:
        service.wait_for(lambda line: "Uvicorn running" in line)
        yield service, port
    finally:
        service.stop()


def measure_http(doors: list[str], rounds: int, folder: Path) -> Iterator[Figure]:
    """Speed with and without recording."""
    with running_service() as (service, port):
        subject = Subject(
            name="HTTP, wrk -c 8",
            target=service.pid,
            port=port,
            load=lambda port, share: load_http(
                f"http://127.0.0.1:{port}/", SECONDS * share, CONNECTIONS
            ),
            tools=(MITMPROXY, TCPDUMP, STRACE),
        )
        yield from measure_subject(subject, doors, rounds, folder / "http")
