"""Connections that are joined in the middle of a message: what comes next is recorded rightly."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import IO, Any

import pytest

from examples.recorder import find_kebpf
from tests.e2e.joining_target import BIG
from tests.e2e.kebpf_runs import read_set, recording
from tests.fix_postgres import find_free_port, run_postgres
from tests.fix_redis import run_redis

pytestmark = [pytest.mark.e2e, pytest.mark.kernel, pytest.mark.postgres, pytest.mark.redis]

PROGRAM = Path(__file__).with_name("joining_target.py")
PATHS = ("/redis", "/postgres", "/prepared", "/plain")
ANSWERS = [b"hello", b"42", b"42", b"plain"]
UNKNOWN = 'statement "before" was prepared before the recording began'


@dataclass
class Joined:
    """A recording that began halfway; ``command`` starts the program anew."""

    path: Path
    command: str
    summary: dict[str, Any] = field(default_factory=dict)


def fetch(connection: HTTPConnection, path: str) -> bytes:
    connection.request("GET", path)
    return connection.getresponse().read()


def begin_big_request(port: int) -> HTTPConnection:
    connection = HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/big")
    return connection


@contextmanager
def waiting_for(lines: IO[str], line: str) -> Iterator[None]:
    assert lines.readline() == line
    yield


def record_halfway(joined: Joined, words: list[str], port: int, door: str) -> None:
    with subprocess.Popen(
        [*words, "halfway"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as target:
        assert target.stdin is not None and target.stdout is not None
        try:
            assert target.stdout.readline() == "listening\n"
            with (
                closing(begin_big_request(port)) as halfway,
                closing(HTTPConnection("127.0.0.1", port)) as idle,
                waiting_for(target.stdout, "halfway\n"),
                recording(joined.path, "--pid", str(target.pid), "--door", door) as summary,
            ):
                print("go on", file=target.stdin, flush=True)
                assert len(halfway.getresponse().read()) == BIG
                assert target.stdout.readline() == "past it\n"
                assert [fetch(halfway, path) for path in PATHS] == [
                    b"hello",
                    b"42",
                    b"42",
                    b"plain",
                ]
                assert fetch(idle, "/redis") == b"hello"
            joined.summary = summary
        finally:
            target.send_signal(signal.SIGKILL)


@pytest.fixture(scope="module", params=["a", "b"])
def joined(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Joined]:
    """PostgreSQL and Redis are gone once it is given."""
    port, path = find_free_port(), tmp_path_factory.mktemp("joined") / "set"
    with run_redis() as redis_port, run_postgres() as postgres:
        redis_cli = ["redis-cli", "-p", str(redis_port), "-x", "SET"]
        for key, value in {"small": "hello", "big": "x" * BIG}.items():
            subprocess.run([*redis_cli, key], input=value, text=True, check=True)
        words = [sys.executable, *map(str, (PROGRAM, port, redis_port, postgres.port))]
        made = Joined(path, shlex.join([*words, "fresh"]))
        record_halfway(made, words, port, request.param)
    yield made


def test_what_began_before_is_no_case_and_what_came_after_is(joined: Joined) -> None:
    cases = [entry for entry in read_set(joined.path) if entry["kind"] == "test"]
    assert [case["request"]["path"] for case in cases] == [
        "/redis",
        "/postgres",
        "/plain",
        "/redis",
    ]
    assert joined.summary["test_cases"] == 4
    assert joined.summary["lost_bytes"] == joined.summary["lost_events"] == 0


def test_no_mock_was_made_of_half_a_message(joined: Joined) -> None:
    mocks = [entry for entry in read_set(joined.path) if entry["kind"] == "mock"]
    calls = [(mock["request"].get("command") or mock["request"].get("sql")) for mock in mocks]
    assert sorted(calls, key=str) == ["SELECT 40 + 2", ["GET", "small"], ["GET", "small"]]


def test_unknown_statement_is_named(joined: Joined) -> None:
    assert any(
        "before" in reason and number == 1 for reason, number in joined.summary["left_out"].items()
    ), joined.summary


def test_same_version_passes(joined: Joined, tmp_path: Path) -> None:
    done = subprocess.run(
        [*find_kebpf(), "test", "-c", joined.command, joined.path, "--json", tmp_path / "events"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    finished = json.loads((tmp_path / "events").read_text().splitlines()[-1])
    assert (finished["passed"], finished["failed"]) == (4, 0)
