"""A command on mocks: its exit status, and that no call escapes the count."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kebpf.kernel.errors import KernelError
from kebpf.replay.invoker import find_invoker
from kebpf.replay.mockrun import MockRun, MockRunError, MockRunResult
from kebpf.replay.setrun import Environment
from tests.replay.sets import PROTOCOLS, SetInMemory, make_mock
from tests.replay.test_runner import DEPENDENCY, FakeSteering, Group

CALLER = """
import http.client, os, pathlib, sys
folder, *paths = sys.argv[1:]
port = int(pathlib.Path(folder, "responder").read_text())
for path in paths:
    there = http.client.HTTPConnection("127.0.0.1", port)
    there.request("GET", path, headers={"Host": "rates"})
    sys.stdout.write(f"{there.getresponse().status} ")
    there.close()
"""


class Stand:
    """A folder in which commands run that find the responder by agreement."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "cgroup.procs").touch()
        self.environment = Environment(
            lambda: FakeSteering(folder), self.make_group, protocols=lambda: PROTOCOLS
        )

    @contextmanager
    def make_group(self) -> Iterator[Group]:
        yield Group(self.folder)
        (self.folder / "cgroup.procs").write_text("")

    def make_set(self, *paths: str) -> SetInMemory:
        destination = f"{DEPENDENCY[0]}:{DEPENDENCY[1]}"
        head = "HTTP/1.1\r\nHost: rates\r\nAccept-Encoding: identity\r\n\r\n"
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n1.5"
        return SetInMemory(
            mocks=[
                make_mock("http", destination, f"GET {path} {head}".encode(), answer)
                for path in paths
            ]
        )

    def run(self, recorded: SetInMemory, *command: str) -> MockRunResult:
        run = MockRun([recorded], self.environment)
        return asyncio.run(run.run(command, find_invoker()))

    def run_python(self, recorded: SetInMemory, code: str, *words: str) -> MockRunResult:
        return self.run(recorded, sys.executable, "-c", code, str(self.folder), *words)


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path)


def test_all_answered(stand: Stand, capfd: pytest.CaptureFixture[str]) -> None:
    result = stand.run_python(stand.make_set("/a", "/b"), CALLER, "/b", "/a")
    assert (result.exit_status, result.answered, result.missed) == (0, 2, 0)
    assert (result.used, result.mocks) == (2, 2)
    assert capfd.readouterr().out == "200 200 "


def test_a_miss_makes_a_success_a_failure(stand: Stand, capfd: pytest.CaptureFixture[str]) -> None:
    result = stand.run_python(stand.make_set("/a"), CALLER, "/a", "/never")
    assert (result.status, result.exit_status, result.answered, result.missed) == (0, 1, 1, 1)
    [missed] = result.misses
    assert missed.destination == f"{DEPENDENCY[0]}:{DEPENDENCY[1]}"
    assert "GET" in missed.reason and "/never" in missed.reason
    assert capfd.readouterr().out.startswith("200 5")


@pytest.mark.parametrize(
    ("code", "status"),
    [("exit(7)", 7), ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", 128 + 15)],
)
def test_the_commands_own_status_comes_first(stand: Stand, code: str, status: int) -> None:
    result = stand.run_python(stand.make_set("/a"), f"{CALLER}\n{code}", "/never")
    assert (result.exit_status, result.missed) == (status, 1)


def test_a_call_made_in_the_last_moment_is_counted(stand: Stand) -> None:
    """The command ends without reading, before the responder can have seen anything."""
    code = """
import os, socket, sys, pathlib
responder = ("127.0.0.1", int(pathlib.Path(sys.argv[1], "responder").read_text()))
for number in range(50):
    there = socket.create_connection(responder)
    there.sendall(b"GET /never/%d HTTP/1.1\\r\\nHost: rates\\r\\n\\r\\n" % number)
os._exit(0)
"""
    result = stand.run_python(stand.make_set("/a"), code)
    assert (result.status, result.exit_status, result.missed) == (0, 1, 50)


def test_a_command_that_is_not_there(stand: Stand) -> None:
    with pytest.raises(MockRunError, match="the command no-such-command was not found"):
        stand.run(stand.make_set("/a"), "no-such-command")


def test_a_kernel_that_refuses(stand: Stand) -> None:
    def refuse() -> FakeSteering:
        raise KernelError("no BTF", "see `kebpf doctor`")

    environment = Environment(refuse, stand.make_group, protocols=lambda: PROTOCOLS)
    run = MockRun([stand.make_set("/a")], environment)
    with pytest.raises(MockRunError, match="no BTF") as caught:
        asyncio.run(run.run(["true"], find_invoker()))
    assert caught.value.hint == "see `kebpf doctor`"


def test_a_host_without_room_for_it(stand: Stand) -> None:
    def refuse() -> FakeSteering:
        raise PermissionError(1, "Operation not permitted")

    environment = Environment(refuse, stand.make_group, protocols=lambda: PROTOCOLS)
    run = MockRun([stand.make_set("/a")], environment)
    with pytest.raises(MockRunError, match="could not be set up: Operation not permitted"):
        asyncio.run(run.run(["true"], find_invoker()))
