"""Steering on a real cgroup: who listens is told as it happens, and undone it is undone."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from contextlib import aclosing

import pytest

from kebpf.kernel.cgroup import Cgroup, make_cgroup
from kebpf.replay.stages import Listening, ResponderPorts
from kebpf.replay.steering import KernelSteering
from tests.kernel.test_redirect import CALLERS, await_gone, list_attached

pytestmark = pytest.mark.kernel


async def run_caller(cgroup: Cgroup, *words: str) -> object:
    procs = str(cgroup.path / "cgroup.procs")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", str(CALLERS), procs, *words, stdout=subprocess.PIPE
    )
    output, _ = await process.communicate()
    return json.loads(output)


async def take(steering: KernelSteering, count: int) -> list[Listening]:
    """The next ``count`` sockets."""
    found = []
    async with aclosing(steering.watch_listening()) as listening:
        async for one in listening:
            found.append(one)
            if len(found) == count:
                break
    return found


def test_listening_is_told_as_it_happens() -> None:
    asyncio.run(_listening_is_told_as_it_happens())


async def _listening_is_told_as_it_happens() -> None:
    steering = KernelSteering()
    with make_cgroup() as cgroup:
        steering.attach(cgroup, ResponderPorts(1, 2))
        try:
            async with asyncio.timeout(20):
                taking = asyncio.create_task(take(steering, 3))
                report = await run_caller(cgroup, "listen", "127.0.0.1", "::1")
                found = await taking
        finally:
            steering.close()
    assert isinstance(report, dict)
    four, six = report["ports"]
    assert [(one.host, one.port) for one in found] == [
        ("127.0.0.1", four),
        ("::1", six),
        ("127.0.0.1", report["child_port"]),
    ]
    assert found[2].pid == report["child"]


def test_a_call_is_known_by_its_source() -> None:
    asyncio.run(_a_call_is_known_by_its_source())


async def _a_call_is_known_by_its_source() -> None:
    with socket.create_server(("127.0.0.1", 0)) as responder, make_cgroup() as cgroup:
        steering = KernelSteering()
        assert steering.original_destination("tcp", "127.0.0.1", 1) is None
        steering.attach(cgroup, ResponderPorts(responder.getsockname()[1], 2))
        attached = list_attached(cgroup.path)
        try:
            calling = asyncio.create_task(run_caller(cgroup, "call_streams", "192.0.2.7", "5432"))
            sock, source = await asyncio.to_thread(responder.accept)
            with sock:
                found = steering.original_destination("tcp", *source)
                sock.sendall(b"here")
                report = await calling
        finally:
            steering.close()
            steering.close()
        assert found == ("192.0.2.7", 5432)
        assert report == [["here", ["192.0.2.7", 5432], list(source)]]
        assert list_attached(cgroup.path) == set()
        await_gone(attached)


def test_before_it_is_attached_nobody_listens() -> None:
    async def watch() -> list[Listening]:
        return [one async for one in KernelSteering().watch_listening()]

    assert asyncio.run(watch()) == []
