"""Whether somebody listens on a Unix socket, told by real sockets."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path

import pytest

from kebpf.replay.invoker import find_invoker
from kebpf.replay.launch import LaunchError, launch_application
from kebpf.replay.localready import check_free, wait_local
from kebpf.replay.spawn import Launch

LISTEN = """
import socket, sys, time
with socket.socket(socket.AF_UNIX) as server:
    server.bind(sys.argv[1])
    if sys.argv[2] == "listens":
        server.listen()
    time.sleep(float(sys.argv[3]))
"""


def wait(path: Path, does: str, life_s: float, timeout_s: float = 20.0) -> None:
    async def scenario() -> None:
        command = [sys.executable, "-c", LISTEN, str(path), does, str(life_s)]
        application = await launch_application(Launch(command, find_invoker()))
        try:
            await wait_local(application, [str(path)], timeout_s)
        finally:
            await application.stop(0)

    asyncio.run(scenario())


def test_it_is_ready_when_it_listens(tmp_path: Path) -> None:
    wait(tmp_path / "socket", "listens", 600)
    asyncio.run(wait_nothing())


async def wait_nothing() -> None:
    application = await launch_application(Launch(["true"], find_invoker()))
    await wait_local(application, [], 0.01)
    await application.stop(0)


def test_a_socket_that_is_only_bound_does_not_listen(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match=r"did not listen on unix:/.*/socket within 0\.2 s"):
        wait(tmp_path / "socket", "waits", 600, 0.2)


def test_an_application_that_ends_before_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="exited with status 0 before it listened"):
        wait(tmp_path / "socket", "waits", 0)


def test_a_path_that_somebody_serves_is_not_to_be_taken(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    check_free([path, "@abstract"])
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        check_free([path])
        server.listen()
        with pytest.raises(LaunchError, match=r"somebody listens on unix:/.*/socket already"):
            check_free([path])
    check_free([path])  # what was left behind by one that is gone
