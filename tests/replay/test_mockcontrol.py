"""The control socket, spoken to by hand: who gets which lane, scopes, and rubbish."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from kebpf.kernel.errors import KernelError
from kebpf.protocols.base import ProtocolSpec
from kebpf.replay.mockcontrol import MockControl, listen
from kebpf.replay.mocklane import Lane
from kebpf.replay.mockscope import MockLibrary, Scopes, SelectionError, Totals
from kebpf.replay.responder import Responder
from kebpf.replay.routing import Routes
from kebpf.replay.runtls import RunAuthority, RunTls
from kebpf.replay.stages import Recorded
from tests.replay.builders import DATABASE, MemorySet, PlainSpec, make_mock
from tests.replay.test_runner import Group

# Says hello, tells what it is answered, and stays until its input ends.
CALLER = """
import socket, sys
there = socket.socket(socket.AF_UNIX)
there.connect(sys.argv[1])
there.sendall(b'{"op": "hello"}\\n')
print(there.recv(1000).decode().strip(), flush=True)
there.close()
sys.stdin.read()
"""


class NoRedirect:
    """Nobody connects to the lanes."""

    def original_destination(self, transport: str, host: str, port: int) -> None:
        return None


class Stand:
    """A control socket over lanes whose control groups are folders."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.totals = Totals()
        self.lanes: list[Lane] = []
        self.closed: list[Lane] = []
        self.refusal: KernelError | None = None
        self.library = MockLibrary(self.open, {"plain": cast(ProtocolSpec, PlainSpec())})
        self.control = MockControl(self.make_lane("main"), self.open_lane, self.library, ["named"])

    def open(self, names: Any) -> list[Recorded]:
        if list(names) != ["bank"]:
            raise SelectionError(f"there is no test set {names[0]}")
        return [cast(Recorded, MemorySet([], [make_mock("GET", answer=[1])]))]

    def make_lane(self, name: str) -> Lane:
        folder = self.folder / name
        folder.mkdir()
        scopes = Scopes(lambda: self.library.make_scope(()), self.totals)
        responder = Responder(NoRedirect(), scopes, Routes())
        return Lane(Group(folder), responder, scopes, RunTls(RunAuthority(), Routes()))

    @contextlib.asynccontextmanager
    async def open_lane(self) -> AsyncIterator[Lane]:
        if self.refusal is not None:
            raise self.refusal
        lane = self.make_lane(f"lane{len(self.lanes)}")
        self.lanes.append(lane)
        yield lane
        self.closed.append(lane)

    async def call(self, path: Path, *messages: Any) -> list[Any]:
        """Sends lines (a message, or bytes as they are); the answers until there are no more."""
        async with connected(path) as (reader, writer):
            for message in messages:
                is_raw = isinstance(message, bytes)
                writer.write(message if is_raw else json.dumps(message).encode() + b"\n")
            writer.write_eof()
            return [json.loads(line) async for line in reader]


@contextlib.asynccontextmanager
async def connected(path: Path) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def hello() -> dict[str, object]:
    return {"op": "hello"}


def begin(*sets: str, cases: tuple[str, ...] = ()) -> dict[str, object]:
    return {"op": "begin", "sets": sets, "cases": cases}


LOOK, END = {"op": "look"}, {"op": "end"}


@contextlib.asynccontextmanager
async def listening(stand: Stand) -> AsyncIterator[Path]:
    async with listen(stand.control, os.getuid(), os.getgid()) as path:
        yield path


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path)


def test_scopes_come_and_go(stand: Stand) -> None:
    async def talk() -> list[Any]:
        async with listening(stand) as path:
            return await stand.call(path, hello(), begin("bank"), LOOK, END, END)

    greeting, opened, looked, ended, refused = asyncio.run(talk())
    assert greeting == {"sets": ["named"], "alone": None}
    assert (opened["mocks"], opened["before"]["mocks"]) == (1, 0)
    counts = {"answered": 0, "used": 0, "mocks": 1, "missed": 0, "misses": []}
    assert (looked, ended) == (counts, {**counts, "unused": ["GET []"]})
    assert refused == {"error": "no scope is open"}
    assert stand.totals.mocks == 1


def test_misses_are_told_with_their_differences(stand: Stand) -> None:
    async def talk() -> tuple[Any, list[Any]]:
        async with listening(stand) as path:
            async with connected(path) as (reader, writer):
                for message in (hello(), begin("bank")):
                    writer.write(json.dumps(message).encode() + b"\n")
                    await reader.readline()
                answers = stand.control._main.scopes.for_destination(DATABASE, "plain")
                answers.answer({"sql": "GET", "args": [1]})
                writer.write(json.dumps(LOOK).encode() + b"\n")
                told = json.loads(await reader.readline())
            return told, await stand.call(path, hello(), LOOK)

    told, of_another = asyncio.run(talk())
    assert told["misses"] == [
        {
            "destination": str(DATABASE),
            "protocol": "plain",
            "reason": told["misses"][0]["reason"],
            "call": "GET [1]",
            "cause": "recorded but different",
            "nearest": "GET []",
            "fields": told["misses"][0]["fields"],
            "count": 1,
        }
    ]
    assert ["/args/0", "extra", "None", "1"] in told["misses"][0]["fields"]
    assert of_another[1]["misses"] == []


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (begin("till"), "there is no test set till"),
        (begin("bank", cases=("x",)), "no case is called x (there are: none)"),
        ({"op": "dance"}, "dance is not known here"),
    ],
)
def test_what_is_refused_leaves_the_rest_as_it_was(
    stand: Stand, message: dict[str, object], sentence: str
) -> None:
    async def talk() -> list[Any]:
        async with listening(stand) as path:
            return await stand.call(path, hello(), message, LOOK)

    _, refused, looked = asyncio.run(talk())
    assert refused == {"error": sentence}
    assert looked["mocks"] == 0


@pytest.mark.parametrize("rubbish", [b"", b"x\n", b"[1]\n", b"{", b"\xff\n", b"a" * (3 << 20)])
def test_rubbish_ends_the_connection_and_nothing_else(stand: Stand, rubbish: bytes) -> None:
    async def talk() -> tuple[list[Any], list[Any]]:
        async with listening(stand) as path:
            with contextlib.suppress(ConnectionError):
                await stand.call(path, rubbish)
            broken: list[Any] = []
            with contextlib.suppress(ConnectionError):
                broken = await stand.call(path, hello(), begin("bank"), rubbish)
            return broken, await stand.call(path, hello(), LOOK)

    _, answers = asyncio.run(talk())
    assert len(answers) == 2
    assert stand.control._main.scopes.depth == 0


async def start_caller(path: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", CALLER, str(path)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


async def greet(caller: asyncio.subprocess.Process) -> Any:
    assert caller.stdout
    return json.loads(await caller.stdout.readline())


def test_the_first_has_the_commands_lane_and_every_other_its_own(stand: Stand) -> None:
    """A lane is there for as long as the process is that was moved into it."""

    async def talk() -> None:
        async with listening(stand) as path:
            first = await start_caller(path)
            assert await greet(first) == {"sets": ["named"], "alone": None}
            second = await start_caller(path)
            assert "sets" in await greet(second)
            third = await start_caller(path)
            assert "sets" in await greet(third)
            pids = [(stand.folder / f"lane{n}/cgroup.procs").read_text() for n in (0, 1)]
            assert pids == [f"{second.pid}\n", f"{third.pid}\n"]
            assert stand.closed == []
            for caller in (first, second, third):
                await caller.communicate(b"")
            while len(stand.closed) < 2:
                await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(talk(), 60))


def test_a_lane_that_cannot_be_had(stand: Stand) -> None:
    async def talk() -> list[Any]:
        async with listening(stand) as path:
            await stand.call(path, hello())
            return await stand.call(path, hello(), LOOK)

    stand.refusal = KernelError("no BTF")
    assert asyncio.run(talk()) == [{"error": "mocks for this process alone cannot be had: no BTF"}]


def test_nobody_else_may_enter(stand: Stand) -> None:
    async def look() -> tuple[int, Path]:
        async with listening(stand) as path:
            return stat.S_IMODE(path.parent.stat().st_mode), path.parent

    mode, folder = asyncio.run(look())
    assert mode == 0o700
    assert not folder.exists()
