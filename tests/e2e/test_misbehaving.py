"""Applications that listen elsewhere, go to the background, will not end: what a test run does."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from kebpf.recording.model import Endpoint
from kebpf.recording.store import TestSetWriter
from tests.cli.recorders import run_kebpf
from tests.recording.builders import make_manifest
from tests.replay.reviews import make_http, record

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.e2e,
    pytest.mark.skipif(os.geteuid() != 0, reason="a test run needs root"),
]

PROGRAM = Path(__file__).with_name("misbehaving.py")


def find_ports(number: int) -> list[int]:
    holders = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [int(holder.getsockname()[1]) for holder in holders]
    for holder in holders:
        holder.close()
    return ports


class Stand:
    """A set of one case, served on a port of its own, and programs that are to serve it."""

    def __init__(self, folder: Path) -> None:
        self.recorded, self.other = find_ports(2)
        self.folder = folder / "shop"
        writer = TestSetWriter(self.folder)
        endpoint = Endpoint("tcp", "127.0.0.1", self.recorded)
        writer.add_case(record("one", make_http(b"ok"), endpoint=endpoint))
        manifest = make_manifest()
        manifest.ports = [self.recorded]
        writer.commit(manifest)

    def run(self, mode: str, *ports: int) -> tuple[int, str, str]:
        """The exit status and what was said; nothing of the run is left afterwards."""
        before = self.list_processes()
        words = [sys.executable, str(PROGRAM), mode, *map(str, ports)]
        done = run_kebpf("test", str(self.folder), "--", *words)
        assert self.list_processes() <= before
        assert "Traceback (most" not in done.stderr
        return done.returncode, done.stdout, done.stderr

    def list_processes(self) -> set[int]:
        """Those that run the program for one of our ports."""
        found = set()
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().split(b"\0")
            except OSError:  # it has ended
                continue
            if bytes(PROGRAM) in words and str(self.recorded).encode() in words:
                found.add(int(path.parent.name))
        return found


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path)


def test_another_port(stand: Stand) -> None:
    status, shown, said = stand.run("plain", stand.other)
    assert status == 0, shown + said
    assert f"listens on port {stand.other} instead of {stand.recorded}" in said


def test_one_more_port(stand: Stand) -> None:
    status, shown, said = stand.run("plain", stand.recorded, stand.other)
    assert status == 0, shown + said


def test_one_that_goes_to_the_background_is_followed_and_ended(stand: Stand) -> None:
    status, shown, said = stand.run("daemon", stand.recorded)
    assert status in (0, 3), shown + said
    if status == 3:  # it had not listened yet when its first process ended
        assert "it must stay in the foreground" in shown


def test_one_that_ignores_sigterm_is_killed(stand: Stand) -> None:
    status, shown, said = stand.run("stubborn", stand.recorded)
    assert status == 0, shown + said


def test_a_port_that_is_taken(stand: Stand) -> None:
    with socket.create_server(("127.0.0.1", stand.recorded)):
        status, shown, _ = stand.run("plain", stand.recorded)
    assert status == 3
    assert (
        "the run failed: the application exited with status 1 before it listened; something else "
        f"listens on port {stand.recorded}: end it, or use --isolated"
    ) in shown.splitlines()
