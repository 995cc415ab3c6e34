"""Runs the kebpf command against a small service, and reads what it printed and left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
import venv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from examples.processes import Process
from examples.recorder import find_kebpf, with_sources

PATIENCE_SECONDS = 60.0
NOBODY = 65534

# Answers with as many bytes as the path says, and ends with the status in ``/end/STATUS``.
SERVICE = """
import http.server, os
class Service(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        _, what, number = self.path.split("/")
        body = os.urandom(int(number)) if what == "bytes" else number.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        if what == "end":
            self.connection.close()
            os._exit(int(number))
    def log_message(self, *_):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Service)
print("port", server.server_port, flush=True)
server.serve_forever()
"""
SERVICE_COMMAND = [sys.executable, "-c", SERVICE]


@dataclass(frozen=True)
class Service:
    """A service that runs."""

    pid: int
    port: int

    def fetch(self, path: str) -> bytes:
        """The answer to a GET."""
        return fetch(self.port, path)


def fetch(port: int, path: str) -> bytes:
    """The answer to a GET on this host."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}") as answer:
        body: bytes = answer.read()
        return body


def wait_port(process: Process) -> int:
    """Where the service says that it listens."""
    return int(process.wait_for(lambda line: line.startswith("port ")).split()[1])


@contextmanager
def serving() -> Iterator[Service]:
    """A service of its own, ended afterwards."""
    process = Process("service", SERVICE_COMMAND)
    try:
        yield Service(process.pid, wait_port(process))
    finally:
        process.stop(signal.SIGKILL)


@contextmanager
def recorder(
    *words: str, command: Sequence[str] = (), environment: Mapping[str, str] = {}
) -> Iterator[Process]:
    """``kebpf record WORDS -- COMMAND``, capturing when it is given; killed if it still runs."""
    process = Process(
        "kebpf record",
        [*find_kebpf(), "record", *words, *(["--", *command] if command else [])],
        environment=with_sources(environment),
    )
    try:
        process.wait_for(lambda line: line.startswith("recording "))
        yield process
    finally:
        process.stop(signal.SIGKILL)


def end(process: Process, number: int = signal.SIGINT) -> int:
    """Sends a signal; the exit status, and what was printed last is in `Process.lines`."""
    os.kill(process.pid, number)
    return process.wait(PATIENCE_SECONDS)


def run_kebpf(
    *words: str,
    prefix: Sequence[str] = (),
    environment: Mapping[str, str] = {},
    folder: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Runs to the end; ``prefix`` is a program that runs it, such as unshare."""
    return subprocess.run(
        [*prefix, *find_kebpf(), *words],
        env={**os.environ, **with_sources(environment)},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def in_shell(setup: str) -> list[str]:
    """A prefix: mounts of its own, made by ``setup``."""
    return ["unshare", "--mount", "sh", "-c", f'{setup} && exec "$@"', "sh"]


def assert_refused(
    done: subprocess.CompletedProcess[str], status: int, sentence: str, *hints: str
) -> None:
    """One sentence, perhaps a second line with what to do, no traceback, this exit status."""
    assert done.returncode == status, done.stdout + done.stderr
    lines = done.stderr.splitlines()
    errors = [number for number, line in enumerate(lines) if line.startswith("kebpf: ")]
    assert len(errors) == 1, done.stderr
    [at] = errors
    assert sentence in lines[at]
    assert len(lines) - at <= 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "unexpected" not in lines[at]
    for hint in hints:
        assert hint in " ".join(lines[at:])


def make_venv(folder: Path, wrong_bcc: bool) -> str:
    """A Python without bcc, or with the one that PyPI calls bcc; gives its interpreter."""
    venv.create(folder, with_pip=False, symlinks=True)
    if wrong_bcc:
        [packages] = folder.glob("lib/python*/site-packages")
        (packages / "bcc").mkdir()
        (packages / "bcc" / "__init__.py").write_text('__version__ = "0.1"\n')
    return str(folder / "bin" / "python")


@contextmanager
def tiny_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system that is soon full."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def list_left(folder: Path) -> list[str]:
    """All files there, hidden ones too."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
