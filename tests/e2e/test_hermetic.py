"""An application that tries to get out: nothing leaves, and every try is reported, in each form."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.ordinary import become, find_ordinary_user, give, open_folder
from tests.e2e.test_names import fetch, find_free_port, kebpf, wait_listening
from tests.kernel.rootless_runs import skip_unless_reachable

pytestmark = [pytest.mark.kernel, pytest.mark.e2e, pytest.mark.timeout(300)]

SOURCES = Path(__file__).parents[2]
JOBS = 4
SERVICE = """
import http.server, json, os, socket, sys

def attempt(call):
    try:
        return str(call())
    except OSError as error:
        return f"{type(error).__name__} {error.errno}"

def call_tcp():
    with socket.create_connection(("198.51.100.7", 9), 5) as sock:
        sock.sendall(b"GET / HTTP/1.1\\r\\nHost: out\\r\\n\\r\\n")
        sock.recv(100)
    return "connected"

def send(kind, protocol, data):
    with socket.socket(socket.AF_INET, kind, protocol) as sock:
        sock.sendto(data, ("198.51.100.7", 9))
    return "sent"

def try_to_leave():
    return {
        "name": attempt(lambda: socket.getaddrinfo("unknown.example.test", 80)),
        "tcp": attempt(call_tcp),
        "udp": attempt(lambda: send(socket.SOCK_DGRAM, 0, b"hello")),
        "icmp": attempt(lambda: send(socket.SOCK_RAW, 1, b"\\x08\\0\\xf7\\xff\\0\\0\\0\\0")),
    }

class Service(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if "OUTCOMES" in os.environ:
            with open(os.environ["OUTCOMES"] + self.path, "w") as file:
                json.dump(try_to_leave(), file)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"fine")

http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Service).serve_forever()
"""


@pytest.fixture(scope="module")
def recorded() -> Iterator[Path]:
    """A folder with the service and a test set of some cases, in which it calls nobody."""
    with open_folder() as folder:
        (folder / "service.py").write_text(SERVICE)
        (folder / "resolv.conf").write_text("nameserver 198.51.100.53\n")
        port = find_free_port()
        command = f"exec {sys.executable} {folder}/service.py {port}"
        (folder / "command").write_text(command)
        words = ["record", "-o", str(folder), "--name", "quiet", "--", "sh", "-c", command]
        environment = {name: value for name, value in os.environ.items() if name != "OUTCOMES"}
        with subprocess.Popen([*kebpf(), *words], env=environment) as recorder:
            try:
                wait_listening(port)
                for number in range(JOBS):
                    assert fetch(f"http://127.0.0.1:{port}/{number}") == b"fine"
            finally:
                recorder.send_signal(signal.SIGINT)
            assert recorder.wait() == 0
        yield folder


@dataclass(frozen=True)
class Attempts:
    """What came of a run whose application tries to get out at every request.

    ``left`` counts the frames that arrived at the far end, ``probe`` those of a packet that was
    to; ``told`` are the run's findings, ``seen`` what the application itself was told each time.
    """

    left: int
    probe: int
    status: int
    output: str
    told: list[str]
    seen: list[dict[str, str]]


def run_with_way_out(recorded: Path, *options: str, user: str | None = None) -> Attempts:
    """A run in a namespace that has a way out, where what leaves can be counted."""
    with open_folder() as folder:
        copied, outcomes, report = folder / "quiet", folder / "seen", folder / "report.jsonl"
        shutil.copytree(recorded / "quiet", copied)
        outcomes.mkdir()
        command = (recorded / "command").read_text()
        words = [*kebpf(), "test", str(copied), *options, "--json", str(report), "-c", command]
        if user is not None:
            give(folder, user)
            words = [*become(user), *words]
        resolving = f'mount --bind {recorded}/resolv.conf /etc/resolv.conf && exec "$@"'
        counting = [sys.executable, "-m", "tests.e2e.way_out"]
        done = subprocess.run(
            ["unshare", "--net", "--mount", "sh", "-c", resolving, "sh", *counting, *words],
            capture_output=True,
            text=True,
            env={**os.environ, "OUTCOMES": str(outcomes), "PYTHONPATH": str(SOURCES)},
            cwd=SOURCES,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        events = [json.loads(line) for line in report.read_text().splitlines()]
        seen = [json.loads(path.read_text()) for path in outcomes.iterdir()]
    found = [one for event in events for one in event.get("calls", []) + event.get("findings", [])]
    told = sorted(f"{one['protocol']} to {one['destination']}: {one['miss']}" for one in found)
    return Attempts(**json.loads(done.stdout), told=told, seen=seen)


ROOTS_FORMS: dict[str, tuple[str, ...]] = {
    "plain": (),
    "isolated": ("--isolated",),
    "jobs": ("--jobs", str(JOBS)),
}
USERS_FORMS: dict[str, tuple[str, ...]] = {
    "rootless": ("--rootless",),
    "rootless jobs": ("--rootless", "--isolated", "--jobs", str(JOBS)),  # isolated anyway
}


@pytest.mark.parametrize("form", [*ROOTS_FORMS, *USERS_FORMS])
def test_nothing_leaves_and_every_try_is_told(recorded: Path, form: str) -> None:
    if form in USERS_FORMS:
        skip_unless_reachable()
        run = run_with_way_out(recorded, *USERS_FORMS[form], user=find_ordinary_user())
    else:
        run = run_with_way_out(recorded, *ROOTS_FORMS[form])
    assert run.probe == 1, "the far end sees what leaves"
    assert run.left == 0
    assert run.status == 1, run.output
    assert len(run.seen) == JOBS
    for seen in run.seen:
        assert seen["icmp"] == "PermissionError 1"
        assert seen["name"] == "gaierror -2"  # NXDOMAIN: the name is not known
        assert seen["udp"] == "sent"
    for start in (
        "dns to 198.51.100.53:53/udp: never recorded",
        *(["icmp to 198.51.100.7: never recorded"] if form in ROOTS_FORMS else []),
    ):
        assert start in run.told
    told = "\n".join(run.told)
    assert "to 198.51.100.7:9: " in told
    assert "to 198.51.100.7:9/udp: " in told


def test_without_the_rights_it_is_a_sentence(recorded: Path) -> None:
    for options in (["--isolated"], ["--jobs", "2"]):
        words = ["test", str(recorded / "quiet"), *options, "-c", "true"]
        done = subprocess.run(
            ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-all", *kebpf(), *words],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 3
        reason = "the kernel does not let this process make one"
        assert done.stderr.startswith(f"kebpf: a network namespace cannot be made: {reason}\n")
        assert "without --isolated" in done.stderr
        assert done.stdout == ""
