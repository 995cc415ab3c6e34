"""Programs, versions and statuses for the tests of the agent."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kebpf.agent.programs import Program, read_program


@contextlib.contextmanager
def running(*words: str | Path, folder: Path | None = None) -> Iterator[Program]:
    """A process that waits for its input's end, killed afterwards."""
    with subprocess.Popen(
        [*map(str, words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=folder,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        program = read_program(process.pid)
        assert program is not None
        try:
            yield program
        finally:
            process.kill()


#: Says that it is there, and waits.
WAITING = "print('ready', flush=True); input()"
WAITING_IN_SHELL = "echo ready; read line"


def make_program(
    pid: int = 10,
    executable: str = "/srv/shop/bin/shop",
    words: Sequence[str] = (),
    parent: int = 1,
) -> Program:
    return Program(pid, parent, 100, executable, tuple(words))


def make_target_status(**fields: Any) -> dict[str, Any]:
    return {
        "name": "shop",
        "follows": "unit shop.service",
        "state": "recording",
        "processes": [{"pid": 4711, "program": "python3.11", "version": "3f9a1c22d0b7"}],
        "watched": [4711, 4712],
        "version": "3f9a1c22d0b7",
        "set": "/var/lib/kebpf/shop/2026-11-23-3f9a1c22d0b7",
        "last_set": "",
        "recorders": [99],
        "rate": 12.5,
        "requests": 12431,
        "unique": 87,
        "test_cases": 203,
        "mocks": 200,
        "events": 5,
        "lost_events": 0,
        "lost_bytes": 0,
        "captured_bytes": 10,
        "programs_followed": 3,
        "follow_seconds": 0.01,
        "longest_follow_seconds": 0.125,
        "sets": 2,
        "failures": 1,
        "last_error": "",
        "last_error_at": 0.0,
        **fields,
    }


def make_status(*targets: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "pid": 1234,
        "started": 1000.0,
        "now": 1000.0 + 3 * 86400 + 4 * 3600,
        "output": "/var/lib/kebpf",
        "disk_bytes": 5 << 20,
        "memory_bytes": 100 << 20,
        "config_error": "",
        "targets": list(targets),
        **fields,
    }
