"""Says what the servers of the notes service were asked, from their own logs."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from examples.oracle import ask_redis

SESSION_COMMANDS = ('"hello"', '"client"', '"select"', '"echo"', '"info"')
_ENTRY = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ \w+ \[\d+\] (?P<level>[A-Z]+):  (?P<text>.*)", re.DOTALL
)


def read_statements(log: str) -> Iterator[str]:
    """PostgreSQL's statements and errors, each with its parameters, whatever the session."""
    for entry in re.split(r"\n(?=\S)", log):
        match = _ENTRY.fullmatch(entry.rstrip("\n"))
        if match is None or match["text"].startswith(("connection", "checkpoint")):
            continue
        text = re.sub(r"^execute [^:]+: ", "statement: ", match["text"])
        yield f"{match['level']} {text}"


@contextmanager
def watching_servers(log: Path, redis_port: int, calls: list[str]) -> Iterator[None]:
    """Adds to ``calls`` what was asked while the block lasts."""
    start = log.stat().st_size
    with (
        socket.create_connection(("127.0.0.1", redis_port), timeout=30) as connection,
        connection.makefile("rb") as monitor,
    ):
        connection.sendall(b"MONITOR\r\n")
        assert monitor.readline() == b"+OK\r\n"
        try:
            yield
        finally:
            marker = f"marker-{start}-{len(calls)}"
            ask_redis(redis_port, f"ECHO {marker}")
            with log.open("rb") as file:
                file.seek(start)
                calls += read_statements(file.read().decode(errors="replace"))
            while marker not in (line := monitor.readline().decode(errors="replace")):
                command = line.partition("] ")[2].rstrip()
                if command and not command.lower().startswith(SESSION_COMMANDS):
                    calls.append(f"redis {command}")
