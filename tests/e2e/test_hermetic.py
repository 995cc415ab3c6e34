"""An application that tries to get out: nothing leaves, and every try is reported, in each form."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_names import fetch, find_free_port, kebpf, wait_listening

pytestmark = [pytest.mark.kernel, pytest.mark.e2e, pytest.mark.timeout(300)]

SOURCES = Path(__file__).parents[2]
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
        if "OUTCOME" in os.environ:
            with open(os.environ["OUTCOME"], "w") as file:
                json.dump(try_to_leave(), file)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"fine")

http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Service).serve_forever()
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the service and a test set of one case, in which it calls nobody."""
    folder = tmp_path_factory.mktemp("hermetic")
    (folder / "service.py").write_text(SERVICE)
    (folder / "resolv.conf").write_text("nameserver 198.51.100.53\n")
    port = find_free_port()
    command = f"exec {sys.executable} {folder}/service.py {port}"
    (folder / "command").write_text(command)
    words = ["record", "-o", str(folder), "--name", "quiet", "--", "sh", "-c", command]
    environment = {name: value for name, value in os.environ.items() if name != "OUTCOME"}
    with subprocess.Popen([*kebpf(), *words], env=environment) as recorder:
        try:
            wait_listening(port)
            assert fetch(f"http://127.0.0.1:{port}/") == b"fine"
        finally:
            recorder.send_signal(signal.SIGINT)
        assert recorder.wait() == 0
    return folder


def run_with_way_out(folder: Path, *options: str) -> tuple[dict[str, Any], list[str], Any]:
    """What was seen at the far end, the run's findings, and what the service saw itself."""
    report, outcome = folder / "report.jsonl", folder / "outcome.json"
    resolving = f"mount --bind {folder}/resolv.conf /etc/resolv.conf && "
    command = resolving + (folder / "command").read_text()
    words = ["test", str(folder / "quiet"), *options, "--json", str(report), "-c", command]
    environment = {**os.environ, "OUTCOME": str(outcome), "PYTHONPATH": str(SOURCES)}
    done = subprocess.run(
        [
            "unshare",
            "--net",
            "--mount",
            sys.executable,
            "-m",
            "tests.e2e.way_out",
            *kebpf(),
            *words,
        ],
        capture_output=True,
        text=True,
        env=environment,
        cwd=SOURCES,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in report.read_text().splitlines()]
    found = [one for event in events for one in event.get("calls", []) + event.get("findings", [])]
    tries = sorted(f"{one['protocol']} to {one['destination']}: {one['miss']}" for one in found)
    return json.loads(done.stdout), tries, json.loads(outcome.read_text())


FORMS: dict[str, tuple[str, ...]] = {
    "plain": (),
    "isolated": ("--isolated",),
    "jobs": ("--jobs", "2"),
}


@pytest.mark.parametrize("form", FORMS)
def test_nothing_leaves_and_every_try_is_told(recorded: Path, form: str) -> None:
    seen, tries, outcome = run_with_way_out(recorded, *FORMS[form])
    assert seen["probe"] == 1, "the far end sees what leaves"
    assert seen["left"] == 0
    assert seen["status"] == 1, seen["output"]
    assert outcome["icmp"] == "PermissionError 1"
    assert outcome["name"] == "gaierror -2"  # NXDOMAIN: the name is not known
    assert outcome["udp"] == "sent"
    told = "\n".join(tries)
    assert "icmp to 198.51.100.7: never recorded" in tries
    assert "dns to 198.51.100.53:53/udp: never recorded" in tries
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
