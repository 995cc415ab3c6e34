"""A service that looks up the host it calls: recorded, and replayed without any resolver."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = [pytest.mark.kernel, pytest.mark.e2e]

RESOLVER = "127.0.0.77"
NAME = "upstream.example.test"

DNS_SERVER = f"""
import socket, dpkt
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("{RESOLVER}", 53))
print("ready", flush=True)
while True:
    data, peer = server.recvfrom(4096)
    answer = dpkt.dns.DNS(data)
    answer.qr, answer.ar = 1, []
    question = answer.qd[0]
    if question.name == "{NAME}" and question.type == 1:
        address = socket.inet_aton("127.0.0.1")
        answer.an = [dpkt.dns.DNS.RR(name=question.name, type=1, cls=1, ttl=5, rdata=address)]
        answer.an[0].ip = address
    server.sendto(bytes(answer), peer)
"""

UPSTREAM = """
import http.server
class Upstream(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"from upstream")
server = http.server.HTTPServer(("127.0.0.1", 0), Upstream)
print(server.server_port, flush=True)
server.serve_forever()
"""

SERVICE = """
import http.server, sys, urllib.request
class Service(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with urllib.request.urlopen(sys.argv[2] + self.path) as answer:
            body = b"got " + answer.read()
        self.send_response(200); self.end_headers(); self.wfile.write(body)
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Service).serve_forever()
"""


@contextmanager
def running(code: str) -> Iterator[str]:
    """A Python program; gives its first line, which says that it is ready."""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def kebpf() -> list[str]:
    script = Path(sys.executable).with_name("kebpf")
    if script.exists():
        return [str(script)]
    return [sys.executable, "-c", "import sys; from kebpf.cli.main import main; sys.exit(main())"]


def wait_listening(port: int) -> None:
    """Returns once something listens: ss asks the kernel, no connection is made."""
    while (
        f":{port} "
        not in subprocess.run(["ss", "-Hltn"], capture_output=True, text=True, check=True).stdout
    ):
        os.sched_yield()


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url) as answer:
        body: bytes = answer.read()
        return body


def test_names_are_recorded_and_answered_from_the_recording(tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").write_text(f"nameserver {RESOLVER}\n")
    (tmp_path / "service.py").write_text(SERVICE)
    port = find_free_port()
    with running(DNS_SERVER) as ready, running(UPSTREAM) as upstream_port:
        assert ready == "ready"
        # its own mount namespace gives the service a resolver of its own
        command = (
            f"mount --bind {tmp_path}/resolv.conf /etc/resolv.conf && "
            f"exec {sys.executable} {tmp_path}/service.py {port} http://{NAME}:{upstream_port}"
        )
        launched = ["unshare", "--mount", "sh", "-c", command]
        with subprocess.Popen(
            [*kebpf(), "record", "-o", str(tmp_path), "--name", "names", "--", *launched]
        ) as recorder:
            try:
                wait_listening(port)
                assert fetch(f"http://127.0.0.1:{port}/a") == b"got from upstream"
                assert fetch(f"http://127.0.0.1:{port}/b") == b"got from upstream"
            finally:
                recorder.send_signal(signal.SIGINT)
            assert recorder.wait() == 0
    with pytest.raises(urllib.error.URLError):
        fetch(f"http://127.0.0.1:{port}/a")
    shown = subprocess.run(
        [*kebpf(), "show", str(tmp_path / "names"), "--json"], capture_output=True, check=True
    ).stdout.decode()
    assert shown.count(f'"name": "{NAME}", "type": "A"') >= 2
    test = subprocess.run(
        [*kebpf(), "test", str(tmp_path / "names"), "--", *launched],
        capture_output=True,
        text=True,
        check=False,
    )
    assert test.returncode == 0, test.stdout + test.stderr
    assert "2 passed, 0 failed" in test.stdout
