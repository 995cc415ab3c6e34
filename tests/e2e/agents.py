"""A ``kebpf agent`` that runs, services for it to follow, and the groups such services are in."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from examples.processes import Process, find_free_port
from examples.recorder import find_kebpf, with_sources
from kebpf.agent.asking import NoAgentError, ask_status
from kebpf.kernel.cgroup import find_cgroup2_mount, remove_cgroup

PATIENCE_SECONDS = 60.0

# Answers with its version and the path; ``{version}`` is written in.
SERVICE = """
import http.server, sys
class Service(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = b"{version} " + self.path.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Service)
print("listening", flush=True)
server.serve_forever()
"""


@dataclass
class Unit:
    """A service's group and program, which are made anew with each start, as systemd does."""

    group: Path
    program: Path
    port: int = field(default_factory=find_free_port)
    process: Process | None = None
    source: str = SERVICE

    def deploy(self, version: str) -> None:
        self.program.write_text(self.source.replace("{version}", version))

    def start(self) -> int:
        """Its process; it listens."""
        self.group.mkdir(exist_ok=True)
        join = f'echo $$ > {self.group}/cgroup.procs && exec "$@"'
        words = ["sh", "-c", join, "sh", sys.executable, str(self.program), str(self.port)]
        self.process = Process(self.group.name, words)
        self.process.wait_for(lambda line: line == "listening")
        return self.pid

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def stop(self) -> None:
        if self.process is not None:
            self.process.stop(signal.SIGKILL)
            self.process = None
            remove_cgroup(self.group)

    def fetch(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}") as answer:
            body: bytes = answer.read()
            return body


@contextlib.contextmanager
def making_unit(name: str, folder: Path) -> Iterator[Unit]:
    """A unit with a group below one of the test's own."""
    slice_ = find_cgroup2_mount() / f"kebpf-agent-test-{os.getpid()}.slice"
    slice_.mkdir(exist_ok=True)
    source = folder / name
    source.mkdir()
    unit = Unit(slice_ / f"{name}.service", source / "service.py")
    unit.deploy("1")
    try:
        yield unit
    finally:
        unit.stop()
        with contextlib.suppress(OSError):  # another unit of the test's is still there
            slice_.rmdir()


class Agent:
    """One that runs; systemd's side of the notifications is the test's."""

    def __init__(
        self,
        folder: Path,
        *targets: str,
        more: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.output = folder / "sets"
        self.socket = folder / "agent.sock"
        self.config = folder / "kebpf.yml"
        self.metrics_port = find_free_port()
        self.configure(*targets, more=more)
        self._receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify = folder / "notify"
        notify.unlink(missing_ok=True)
        self._receiver.bind(str(notify))
        self._receiver.settimeout(PATIENCE_SECONDS)
        self.told: list[str] = []
        told = {"NOTIFY_SOCKET": str(notify), "WATCHDOG_USEC": "2000000"}
        self.process = Process(
            "kebpf agent",
            [*find_kebpf(), "agent", "--config", self.config],
            environment=with_sources({**told, **(environment or {})}),
        )
        self.await_told("READY=1")

    @property
    def pid(self) -> int:
        """The supervisor's: what was started is a program that starts it."""
        return int(self.status()["pid"])

    def configure(self, *targets: str, more: str = "") -> None:
        lines = "".join(f"  - {target}\n" for target in targets)
        self.config.write_text(
            f"output: {self.output}\nsocket: {self.socket}\n"
            f"metrics: 127.0.0.1:{self.metrics_port}\n{more}targets:\n{lines}"
        )

    def await_told(self, wanted: str) -> None:
        """The next notification with this line."""
        while True:
            text = self._receiver.recv(4096).decode()
            self.told.append(text)
            if wanted in text.splitlines():
                return

    def status(self) -> dict[str, Any]:
        return ask_status(self.socket)

    def target(self, name: str) -> dict[str, Any]:
        [found] = [one for one in self.status()["targets"] if one["name"] == name]
        assert isinstance(found, dict)
        return found

    def wait_until(
        self,
        name: str,
        is_so: Callable[[dict[str, Any]], bool],
        seconds: float = PATIENCE_SECONDS,
    ) -> dict[str, Any]:
        """A target's status, once it is as wanted."""
        deadline = time.monotonic() + seconds
        while not is_so(found := self.target(name)):
            assert time.monotonic() < deadline, f"{found}\n{self.process.tail()}"
            time.sleep(0.02)
        return found

    def wait_watched(self, name: str, pid: int) -> dict[str, Any]:
        return self.wait_until(name, lambda one: pid in one["watched"])

    def wait_for(self, part: str) -> str:
        """A line of its log."""
        return self.process.wait_for(lambda line: part in line)

    def sets(self, target: str) -> list[Path]:
        """The whole ones, the oldest first."""
        found = (path for path in (self.output / target).glob("[!.]*") if path.is_dir())
        return sorted(found, key=lambda path: (path / "test-set.yaml").stat().st_mtime_ns)

    def end(self, number: int = signal.SIGTERM) -> int:
        with contextlib.suppress(NoAgentError):
            os.kill(self.pid, number)
        return self.process.wait(PATIENCE_SECONDS)

    def close(self) -> None:
        self._receiver.close()
        self.process.stop(signal.SIGTERM)


@contextlib.contextmanager
def running_agent(
    folder: Path, *targets: str, more: str = "", environment: Mapping[str, str] | None = None
) -> Iterator[Agent]:
    """Ready when it is given; ended afterwards."""
    agent = Agent(folder, *targets, more=more, environment=environment)
    try:
        yield agent
    finally:
        agent.close()


def list_paths(path: Path) -> list[str]:
    """What was asked for by the test cases of a set, in its program's words."""
    done = subprocess.run(
        [*find_kebpf(), "show", str(path), "--json"],
        env={**os.environ, **with_sources({})},
        capture_output=True,
        text=True,
        check=True,
    )
    entries = [json.loads(line) for line in done.stdout.splitlines()]
    return sorted(one["request"]["path"] for one in entries if one["kind"] == "test")
