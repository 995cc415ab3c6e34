"""Unix sockets on both sides of a service: recorded, and replayed without what is behind them."""

from __future__ import annotations

import http.client
import json
import shlex
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from examples.processes import Process, find_program
from examples.services import Services
from tests.e2e.conftest import skip_unless_root
from tests.e2e.kebpf_runs import Entry, TestRun, read_set, recording, run_kebpf_test

pytestmark = [pytest.mark.e2e, pytest.mark.kernel, pytest.mark.postgres, pytest.mark.redis]

TARGET = Path(__file__).with_name("local_target.py")
NAMES = ("ann", "robert", "cleo")


class LocalConnection(http.client.HTTPConnection):
    """To the Unix socket whose path is given as host."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.host)


@dataclass(frozen=True)
class Recorded:
    folder: Path
    command: str
    services: Services
    entries: list[Entry]

    @property
    def path(self) -> Path:
        """Of the service's socket."""
        return self.folder / "app.sock"

    def count_statements(self) -> int:
        """Of the service's, in PostgreSQL's own log."""
        return sum("SELECT length(" in line for line in self.services.postgres.lines)

    def test(self, *options: str, **environment: str) -> TestRun:
        words = [*options, str(self.folder / "recording"), "-c", f"exec {self.command}"]
        known = {"PGPORT": str(self.services.postgres_port), **environment}
        return run_kebpf_test(words, self.folder / "report", known, self.folder)


def ask(path: Path, name: str) -> Entry:
    connection = LocalConnection(str(path))
    try:
        connection.request("GET", f"/{name}")
        answer: Entry = json.loads(connection.getresponse().read())
        return answer
    finally:
        connection.close()


@pytest.fixture(scope="module")
def recorded(
    tmp_path_factory: pytest.TempPathFactory, shop_services: Services
) -> Iterator[Recorded]:
    """Redis and the folder of its socket are gone when it is given; PostgreSQL serves on."""
    skip_unless_root()
    folder = tmp_path_factory.mktemp("local")
    (folder / "cache").mkdir()
    sockets = (folder / "app.sock", folder / "cache" / "redis.sock", shop_services.scratch, "owner")
    command: list[str | Path] = [sys.executable, TARGET, *sockets]
    options: list[str | Path] = [
        "--port",
        "0",
        "--unixsocket",
        folder / "cache" / "redis.sock",
        "--save",
        "",
    ]
    redis = Process("redis", [find_program("redis-server"), *options], folder=folder)
    try:
        redis.wait_for(lambda line: "eady to accept connections" in line)
        environment = {"PGPORT": str(shop_services.postgres_port)}
        service = Process("service", command, environment=environment)
        try:
            service.wait_for(lambda line: line == "ready")
            with recording(folder / "recording", "--pid", str(service.pid)):
                for number, name in enumerate(NAMES, 1):
                    answer = {"row": [len(name), name.upper()], "count": number}
                    assert ask(folder / "app.sock", name) == answer
        finally:
            service.stop(signal.SIGKILL)
    finally:
        redis.stop()
    shutil.rmtree(folder / "cache")
    entries = read_set(folder / "recording")
    yield Recorded(folder, shlex.join(map(str, command)), shop_services, entries)


def test_requests_and_calls_are_recorded(recorded: Recorded) -> None:
    kinds = [(one["kind"], one["protocol"]) for one in recorded.entries]
    assert kinds.count(("test", "http")) == len(NAMES)
    assert recorded.count_statements() >= len(NAMES)
    assert {"postgres", "redis"} <= {protocol for kind, protocol in kinds if kind == "mock"}


@pytest.mark.parametrize("form", ["--clock=real", "--isolated", "--rootless", "--alone"])
def test_they_replay_without_the_servers(recorded: Recorded, form: str) -> None:
    asked = recorded.count_statements()
    done = recorded.test(form)
    assert (done.status, done.failed) == (0, []), done.output
    assert done.finished["passed"] == len(NAMES)
    assert recorded.count_statements() == asked  # PostgreSQL serves on, and is not asked
    assert not (recorded.folder / "cache").exists()


def test_a_changed_call_is_found(recorded: Recorded) -> None:
    done = recorded.test(BUG="yes")
    assert (done.status, len(done.failed)) == (1, len(NAMES)), done.output
    assert "INCRBY seen" in done.output
    assert f"curl -i --unix-socket {recorded.path}" in done.output


def test_a_socket_that_is_served_is_not_taken_away(recorded: Recorded) -> None:
    recorded.path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as live:
        live.bind(str(recorded.path))
        live.listen()
        done = recorded.test()
        assert done.status == 3
        assert f"somebody listens on unix:{recorded.path} already" in done.output
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(recorded.path))
