"""What is unique of a service that answers from its own memory passes too, with Redis gone."""

from __future__ import annotations

import json
import os
import random
import shlex
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import skip_unless_root
from tests.e2e.kebpf_runs import Entry, read_set, recording, run_kebpf_test
from tests.fix_redis import find_free_port, run_redis

pytestmark = [pytest.mark.e2e, pytest.mark.kernel, pytest.mark.redis]

PROGRAM = Path(__file__).with_name("remembering_target.py")
ROUNDS = 350  # of four requests, so that far more come than are held for a while


@dataclass(frozen=True)
class Remembered:
    """``command`` starts the service anew; ``sent`` are the requests."""

    path: Path
    command: str
    summary: Entry
    sent: int


class Visitor:
    """Uses what it was given, some of it long afterwards."""

    def __init__(self, connection: HTTPConnection) -> None:
        self._connection = connection
        self._choice = random.Random(5)
        self._tokens: list[str] = []
        self._notes: list[str] = []
        self.sent = 0

    def visit(self, number: int) -> None:
        """One round."""
        if number % 50 == 0:
            self._tokens.append(self._send("POST", "/login", {"user": number})["token"])
        if number % 5 == 0:
            self._notes.append(self._send("POST", "/notes", {"text": f"note {number}"})["id"])
        self._send("GET", "/me", token=self._choice.choice(self._tokens))
        self._send("GET", f"/notes/{self._choice.choice(self._notes)}")
        self._send("GET", f"/items/{self._choice.randrange(60)}")
        self._send("GET", f"/items/{number % 7}")
        if number == ROUNDS - 100:
            self._send("GET", "/me", token="none")

    def _send(self, method: str, path: str, body: Any = None, token: str = "") -> dict[str, Any]:
        self.sent += 1
        data = None if body is None else json.dumps(body)
        headers = {"Authorization": token} if token else {}
        self._connection.request(method, path, data, headers)
        found: dict[str, Any] = json.loads(self._connection.getresponse().read())
        return found


@pytest.fixture(scope="module")
def remembered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remembered]:
    """Redis is gone once it is given."""
    skip_unless_root()
    path, port = tmp_path_factory.mktemp("remembered") / "set", find_free_port()
    with run_redis() as redis_port:
        words = [sys.executable, *map(str, (PROGRAM, port, redis_port))]
        for number in range(0, 60, 2):
            key = ["redis-cli", "-p", str(redis_port), "SET", f"item:{number}", f"item {number}"]
            subprocess.run(key, check=True, capture_output=True)
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as target:
            try:
                assert target.stdout is not None
                assert target.stdout.readline() == "listening\n"
                with (
                    recording(path, "--pid", str(target.pid), "--unique") as summary,
                    closing(HTTPConnection("127.0.0.1", port)) as connection,
                ):
                    visitor = Visitor(connection)
                    for number in range(ROUNDS):
                        visitor.visit(number)
            finally:
                target.send_signal(signal.SIGKILL)
    yield Remembered(path, shlex.join(words), summary, visitor.sent)


def test_what_is_unique_passes(remembered: Remembered, tmp_path: Path) -> None:
    words = ["-c", remembered.command, str(remembered.path)]
    run = run_kebpf_test(words, tmp_path / "run.jsonl", os.environ, tmp_path)
    assert (run.status, run.failed) == (0, []), run.explain()


def test_every_shape_is_there_and_counted(remembered: Remembered) -> None:
    cases = [entry for entry in read_set(remembered.path) if entry["kind"] == "test"]
    shapes = {case["shape"]: case["seen"] for case in cases}
    assert sum(shapes.values()) == remembered.sent == remembered.summary["requests"]
    kinds = Counter(
        (case["request"]["path"].split("/")[1], case["response"]["status"]) for case in cases
    )
    expected = {("login", 201), ("notes", 201), ("notes", 200), ("me", 200), ("me", 401)}
    assert kinds.keys() == {*expected, ("items", 200)}
    assert len(cases) < remembered.sent / 10
