"""nginx as a front: its proxied requests replay with the upstream off; what it sends by sendfile
cannot be read, so those cases are kept out, to the byte."""

from __future__ import annotations

import http.client
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from examples.processes import Process, find_free_port
from examples.recorder import start_recorder, stop_recorder
from tests.cli.recorders import run_kebpf
from tests.e2e.conftest import skip_unless_root
from tests.e2e.kebpf_runs import Entry, read_set
from tests.e2e.runtimes.declaration import FOLDER

pytestmark = [pytest.mark.e2e, pytest.mark.kernel, pytest.mark.timeout(300)]

SOURCES = FOLDER / "nginx-front"
LOGO = bytes(range(256)) * 800
ROUNDS = 6
WHOLE = 5  # requests of a round that become cases
BODY = b"y" * 100_000  # more than nginx keeps of a request in memory
SLOW_SIZE = 4_000_000
RECEIVE_SIZE = 4096


@dataclass(frozen=True)
class Recorded:
    """A front that has ended, as has its upstream, and its recording."""

    folder: Path
    summary: Entry
    lines: list[str]
    entries: list[Entry]

    def cases(self) -> list[Entry]:
        return [one for one in self.entries if one["kind"] == "test"]

    def test(self, config: str) -> subprocess.CompletedProcess[str]:
        return run_kebpf("test", str(self.folder / "recording"), "--", *front(self.folder, config))


def front(folder: Path, config: str) -> list[str]:
    """The command that starts nginx in a folder."""
    return ["nginx", "-e", "stderr", "-p", str(folder), "-c", str(folder / config)]


def prepare(folder: Path) -> tuple[int, int]:
    """Files and configurations; the ports of front and upstream."""
    port, upstream = find_free_port(), find_free_port()
    (folder / "www" / "files").mkdir(parents=True)
    (folder / "www" / "files" / "logo").write_bytes(LOGO)
    values = {"UPSTREAM": upstream, "PORT": port, "ROOT": folder / "www"}
    text = (SOURCES / "nginx.conf").read_text()
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    for version in ("old", "new"):
        (folder / version).write_text(text.replace("@FRONT@", version))
    return port, upstream


class Customer:
    """Sends requests to the front on one connection and looks at the answers."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def ask(self, method: str, path: str, status: int = 200, body: bytes | None = None) -> bytes:
        self._connection.request(method, path, body, {"Content-Type": "text/plain"})
        answer = self._connection.getresponse()
        got = answer.read()
        assert answer.status == status
        return got

    def run_round(self, number: int) -> None:
        assert f"/small/{number}".encode() in self.ask("GET", f"/small/{number}")
        rows = self.ask("GET", f"/chunked?n={number * 50 + 1}").splitlines()
        assert len(rows) == number * 50 + 1
        assert len(self.ask("GET", f"/large?n={20_000 + number}")) == 20_000 + number
        assert self.ask("POST", "/echo", 200, BODY[:1000]) == BODY[:1000]
        self.ask("GET", "/files/none", 404)
        assert self.ask("GET", "/files/logo") == LOGO
        assert self.ask("POST", "/echo", 200, BODY) == BODY

    def read_late(self, nginx: Process) -> None:
        """Takes an answer of which nginx has put a part into a file by then."""
        path = f"/large?n={SLOW_SIZE}"
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_SIZE)
            slow.connect(("127.0.0.1", self._port))
            slow.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            nginx.wait_for(lambda line: "upstream response is buffered to a temporary file" in line)
            received = bytearray()
            while data := slow.recv(65536):
                received += data
        assert len(received.partition(b"\r\n\r\n")[2]) == SLOW_SIZE

    def close(self) -> None:
        self._connection.close()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    """Recorded after connections to the upstream were open and in use."""
    skip_unless_root()
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not installed")
    folder = tmp_path_factory.mktemp("nginx")
    port, upstream_port = prepare(folder)
    upstream = Process("upstream", [sys.executable, SOURCES / "upstream.py", str(upstream_port)])
    try:
        upstream.wait_for(lambda line: line == "listening")
        summary, lines = record(folder, port)
    finally:
        upstream.stop()
    yield Recorded(folder, summary, lines, read_set(folder / "recording"))


def record(folder: Path, port: int) -> tuple[Entry, list[str]]:
    nginx = Process("nginx", front(folder, "old"))
    try:
        nginx.wait_for(lambda line: line.count("start worker process ") == 1)
        customer = Customer(port)
        customer.run_round(0)
        recorder = start_recorder(folder / "recording", "--pid", str(nginx.pid))
        for number in range(ROUNDS):
            customer.run_round(number)
        customer.read_late(nginx)
        summary = stop_recorder(recorder)
        customer.close()
    finally:
        nginx.stop(signal.SIGQUIT)
    return summary, list(recorder.lines)


def lost_in(reasons: Sequence[str]) -> list[int]:
    """The sizes that reasons name."""
    return [
        int(size.replace(",", ""))
        for one in reasons
        for size in re.findall(r"[\d,]+(?= byte)", one)
    ]


def test_what_sendfile_moved_is_missing_to_the_byte(recorded: Recorded) -> None:
    reasons = recorded.summary["left_out"]
    assert recorded.summary["lost_events"] == 0
    by_file = f"{len(LOGO):,} bytes of the response were lost"
    by_body = f"a call it made cannot be replayed: {len(BODY):,} bytes of the request were lost"
    assert (reasons.pop(by_file), reasons.pop(by_body)) == (ROUNDS, ROUNDS)
    [slow] = reasons  # the part of the answer that nginx had put into a file
    assert reasons[slow] == 1 and slow.endswith(" bytes of the response were lost")
    [kept_in_file] = lost_in([slow])
    assert 0 < kept_in_file < SLOW_SIZE
    missing = ROUNDS * (len(LOGO) + len(BODY)) + kept_in_file
    assert recorded.summary["lost_bytes"] == missing
    notes = [line for line in recorded.lines if line.startswith("note: ") and "sendfile" in line]
    assert notes and all("nginx (process " in note for note in notes)
    assert sum(lost_in(notes)) == missing


def test_everything_else_is_a_case(recorded: Recorded) -> None:
    paths = Counter(case["request"]["path"].partition("/")[2] for case in recorded.cases())
    assert paths.total() == ROUNDS * WHOLE == recorded.summary["test_cases"]
    mocks = [one for one in recorded.entries if one["kind"] == "mock"]
    assert {mock["protocol"] for mock in mocks} == {"http"}
    assert all(mock["case"] and mock["tier"] == "case" for mock in mocks)
    assert len(mocks) == ROUNDS * (WHOLE - 1)  # a missing file is nginx's own affair


def test_same_front_passes_with_the_upstream_off(recorded: Recorded) -> None:
    done = recorded.test("old")
    assert done.returncode == 0, done.stdout
    assert f"{ROUNDS * WHOLE} passed, 0 failed" in done.stdout


def test_changed_front_fails(recorded: Recorded) -> None:
    """nginx adds the header to all answers but errors."""
    done = recorded.test("new")
    assert done.returncode == 1, done.stdout
    assert f"{ROUNDS} passed, {ROUNDS * (WHOLE - 1)} failed" in done.stdout
