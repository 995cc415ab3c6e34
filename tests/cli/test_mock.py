"""``kebpf mock`` as a person runs it: what it refuses, what it says, its exit status."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from kebpf.recording.model import Mock
from kebpf.recording.store import TestSetWriter
from tests.cli.recorders import NOBODY, assert_refused, run_kebpf
from tests.recording.builders import make_manifest
from tests.replay.sets import make_mock
from tests.replay.test_launch import is_alive

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="a run needs root")
PLACE = "10.99.0.1:8001"
CALLER = """
import sys, urllib.error, urllib.request
for path in sys.argv[1:]:
    try:
        with urllib.request.urlopen(f"http://10.99.0.1:8001{path}") as answer:
            print(answer.read().decode())
    except urllib.error.HTTPError as error:
        print(error.code)
"""


def make_http_mock(path: str, body: str) -> Mock:
    request = (
        f"GET {path} HTTP/1.1\r\nAccept-Encoding: identity\r\nHost: {PLACE}\r\n"
        f"User-Agent: Python-urllib/{sys.version_info[0]}.{sys.version_info[1]}\r\n"
        "Connection: close\r\n\r\n"
    )
    response = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    return make_mock("http", PLACE, request.encode(), response.encode(), name=f"rate-{path}")


def write_set(folder: Path, *mocks: Mock) -> Path:
    folder.parent.chmod(0o755)
    writer = TestSetWriter(folder)
    for mock in mocks:
        writer.add_mock(mock)
    writer.commit(make_manifest())
    return folder


@pytest.fixture
def rates(tmp_path: Path) -> Path:
    return write_set(tmp_path / "rates", make_http_mock("/a", "1.5"))


def run(path: Path, *calls: str) -> tuple[int, str, str]:
    done = run_kebpf("mock", str(path), "--", sys.executable, "-c", CALLER, *calls)
    return done.returncode, done.stdout, done.stderr


@NEEDS_ROOT
@pytest.mark.kernel
@pytest.mark.e2e
class TestRuns:
    def test_the_output_is_the_commands_own(self, rates: Path) -> None:
        status, out, said = run(rates, "/a")
        assert (status, out) == (0, "1.5\n"), said
        assert said.startswith("kebpf: 1 call answered in ")
        assert said.endswith(" s, no miss; 1 of 1 mock used\n")

    def test_a_miss_is_explained_and_fails(self, rates: Path) -> None:
        status, out, said = run(rates, "/a", "/b", "/b")
        assert status == 1
        assert out.startswith("1.5\n5")
        missed, counted = said.splitlines()
        assert missed.startswith(f"kebpf: 2 × {PLACE} (http): never recorded: GET ")
        assert "1 call answered" in counted and "2 misses" in counted

    def test_what_the_command_left_running_is_ended(self, rates: Path) -> None:
        done = run_kebpf("mock", str(rates), "--", "sh", "-c", "setsid sleep 1000 & echo $!")
        assert done.returncode == 0, done.stderr
        assert not is_alive(int(done.stdout))

    def test_the_environment_is_3(self, rates: Path) -> None:
        done = run_kebpf("mock", str(rates), "--", "no-such-command")
        assert_refused(done, 3, "the command no-such-command was not found")
        nobody = ["setpriv", "--reuid", str(NOBODY), "--clear-groups"]
        done = run_kebpf("mock", str(rates), "--", "true", prefix=nobody, folder=Path("/"))
        assert_refused(done, 3, "")


def test_no_command(rates: Path) -> None:
    assert_refused(run_kebpf("mock", str(rates)), 2, "what to run was not said", "-- COMMAND")
    assert_refused(run_kebpf("mock", str(rates), "--"), 2, "no command follows the --")


def test_no_set_and_no_mock(tmp_path: Path) -> None:
    words = ("mock", "gone", "-o", str(tmp_path), "--", "true")
    assert_refused(run_kebpf(*words), 2, "there is no test set 'gone'")
    empty = write_set(tmp_path / "empty")
    assert_refused(run_kebpf("mock", str(empty), "--", "true"), 4, "there is no mock in")
