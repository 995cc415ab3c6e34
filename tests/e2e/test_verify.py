"""A service that draws lots, verified against itself: it passes from then on, no defect does."""

from __future__ import annotations

import http.client
import http.server
import json
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from examples.processes import Process, find_free_port
from examples.recorder import launch_recorder, start_recorder, stop_recorder
from tests.cli.recorders import run_kebpf
from tests.e2e.conftest import skip_unless_root

pytestmark = [pytest.mark.e2e, pytest.mark.kernel, pytest.mark.timeout(300)]

SERVICE = Path(__file__).parent / "wobbly.py"
BUGS = (
    "colour", "stock", "lot", "job", "seen", "coin", "share", "code", "steady", "tags", "path",
)  # fmt: skip
PATHS = (
    "colour", "stock", "lot", "job", "seen", "coin", "share", "code", "asked", "weather", "steady",
    "a/colour", "b/colour", "c/asked",
)  # fmt: skip
READY_SECONDS = 20.0


class Dependency(http.server.BaseHTTPRequestHandler):
    """Says yes to everything."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"yes")

    def log_message(self, *_: Any) -> None:
        """Not a word."""


@contextmanager
def serving() -> Iterator[int]:
    """The dependency, on the port given."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Dependency)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def fetch(port: int, path: str) -> int:
    there = http.client.HTTPConnection("127.0.0.1", port, timeout=READY_SECONDS)
    try:
        there.request("GET", f"/{path}")
        answer = there.getresponse()
        answer.read()
        return answer.status
    finally:
        there.close()


def wait_until_served(port: int) -> None:
    """Connects until something listens."""
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            fetch(port, "steady")
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.05)  # nothing tells of a port that opens
        else:
            return


@dataclass(frozen=True)
class Wobbly:
    """Where the service is, and its recording."""

    folder: Path
    port: int
    dependency: int

    @property
    def path(self) -> Path:
        return self.folder / "kebpf" / "wobbly"

    def command(self, bug: str = "") -> list[str]:
        words = [sys.executable, str(SERVICE), str(self.port), str(self.dependency)]
        return [*words, str(self.folder / "flag"), *([bug] if bug else [])]

    def verify(self, *options: str) -> tuple[int, Any]:
        done = run_kebpf("verify", str(self.path), "--json", *options, "--", *self.command())
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    def test(self, *options: str, bug: str = "") -> tuple[int, str]:
        done = run_kebpf("test", str(self.path), *options, "--", *self.command(bug))
        return done.returncode, done.stdout


@pytest.fixture(scope="module")
def verified(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Wobbly, int, Any]]:
    """Recorded while it ran, then verified without its dependency and in other weather."""
    skip_unless_root()
    folder = tmp_path_factory.mktemp("wobbly")
    (folder / "flag").touch()
    with serving() as dependency:
        wobbly = Wobbly(folder, find_free_port(), dependency)
        service = Process("wobbly", wobbly.command(), environment={}, folder=folder)
        try:
            wait_until_served(wobbly.port)
            wobbly.path.parent.mkdir()
            recorder = start_recorder(wobbly.path, "--pid", str(service.pid))
            assert [fetch(wobbly.port, path) for path in PATHS] == [200] * len(PATHS)
            assert stop_recorder(recorder)["test_cases"] == len(PATHS)
        finally:
            service.stop()
    (folder / "flag").unlink()
    yield wobbly, *wobbly.verify("--runs", "4")


def test_only_what_no_class_mends_is_set_apart(verified: tuple[Wobbly, int, Any]) -> None:
    wobbly, status, document = verified
    [found] = document["test_sets"]
    assert list(found["set_apart"].values()) == ["the status was 200 and is 503"]
    assert status == document["exit_status"] == 1
    assert found["passed"] == len(PATHS) - 1
    assert [run["failed"] for run in found["runs"][-4:]] == [0] * 4
    assert [run["seed"] is None for run in found["runs"][-4:]] == [True, False, False, False]
    assert (found["unresolved"], found["order_dependent"]) == ([], [])
    [apart] = (wobbly.path / "set-apart").iterdir()
    assert apart.stem == next(iter(found["set_apart"]))
    classes = {one["path"]: one["class"] for one in found["generalised"]}
    assert classes["/body/stock"] == "{permutation}"
    assert classes["/body/lot"] == "{integer:2-4}"
    assert "/body/seen" not in classes  # a time by its look
    assert classes["/body/job"].startswith("job {uuid4} of {integer:")


@pytest.mark.parametrize("order", ["", "--shuffle=11", "--shuffle=12", "--alone"])
def test_the_version_recorded_passes_from_then_on(
    verified: tuple[Wobbly, int, Any], order: str
) -> None:
    status, output = verified[0].test(*filter(None, [order]))
    assert status == 0, output
    assert "1 case set apart, not run: the status was 200 and is 503" in output


@pytest.mark.parametrize("bug", BUGS)
def test_a_defect_is_found_all_the_same(verified: tuple[Wobbly, int, Any], bug: str) -> None:
    status, output = verified[0].test(bug=bug)
    assert status == 1, output


def test_a_case_set_apart_runs_when_it_is_named(verified: tuple[Wobbly, int, Any]) -> None:
    wobbly, _, document = verified
    [name] = document["test_sets"][0]["set_apart"]
    status, output = wobbly.test("--case", name)
    assert (status, "1 failed" in output) == (1, True)
    shown = run_kebpf("show", str(wobbly.path)).stdout
    assert "Set apart, so not run: 1 test case" in shown


@pytest.fixture
def wobbly(tmp_path: Path) -> Iterator[Wobbly]:
    """The same service, not recorded yet."""
    skip_unless_root()
    (tmp_path / "flag").touch()
    (tmp_path / "kebpf").mkdir()
    with serving() as dependency:
        yield Wobbly(tmp_path, find_free_port(), dependency)


def test_a_command_is_recorded_and_verified_at_once(wobbly: Wobbly) -> None:
    recorder = launch_recorder(wobbly.path, "--verify", "2", command=wobbly.command())
    try:
        recorder.wait_for(lambda line: line.startswith("recording "))
        wait_until_served(wobbly.port)
        assert [fetch(wobbly.port, path) for path in PATHS] == [200] * len(PATHS)
    finally:
        status = recorder.stop(signal.SIGINT, 200.0)
    assert status == 0, recorder.tail(40)
    [found] = json.loads(recorder.lines[-1])["test_sets"]
    assert (found["passed"], found["set_apart"]) == (len(PATHS) + 1, {})


def test_a_process_that_holds_its_port_is_told_from_a_bad_recording(wobbly: Wobbly) -> None:
    service = Process("wobbly", wobbly.command(), environment={}, folder=wobbly.folder)
    try:
        wait_until_served(wobbly.port)
        recorder = launch_recorder(wobbly.path, "--pid", str(service.pid), "--verify", "2")
        recorder.wait_for(lambda line: line.startswith("recording "))
        fetch(wobbly.port, "lot")
        assert recorder.stop(signal.SIGINT, 100.0) == 3
    finally:
        service.stop()
    said = recorder.tail(6)
    assert f"process {service.pid} still listens on port {wobbly.port}" in said
    assert "the recording is whole; verify it with: kebpf verify" in said
