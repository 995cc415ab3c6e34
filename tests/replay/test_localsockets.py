"""The responder at Unix sockets, asked by plain sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kebpf.recording.model import Endpoint
from kebpf.replay import localsockets
from kebpf.replay.responder import Responder
from kebpf.replay.routing import Routes
from tests.replay.sets import PROTOCOLS, SetInMemory, make_matcher, make_mock

REQUEST = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n"
ANSWER = b"$5\r\nvalue\r\n"
PATH, OTHER, ABSTRACT = "/run/x/redis.sock", "/run/x/other.sock", "@kebpf-test-abstract"
LIMIT_S = 20.0


class NoRedirect:
    def original_destination(self, transport: str, host: str, port: int) -> None:
        return None


@contextlib.asynccontextmanager
async def serving(*places: str) -> AsyncIterator[Responder]:
    mocks = [
        make_mock("redis", place, REQUEST, ANSWER.replace(b"value", b"val%02d" % number))
        for number, place in enumerate(places)
    ]
    matcher = make_matcher(SetInMemory(mocks=mocks))
    matcher.begin_case(None, 1)
    responder = Responder(NoRedirect(), matcher, Routes(mocks), PROTOCOLS)
    try:
        await responder.start()
        yield responder
    finally:
        await responder.close()


def ask(path: str) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(LIMIT_S)
        client.connect(path)
        client.sendall(REQUEST)
        return client.recv(100)


def test_each_path_has_a_socket_that_stands_for_it() -> None:
    async def scenario() -> None:
        async with serving(f"unix:{PATH}", f"unix:{OTHER}") as responder:
            files = responder.files
            assert set(files) == {Path(PATH), Path(OTHER)}
            assert await asyncio.to_thread(ask, str(files[Path(PATH)])) == b"$5\r\nval00\r\n"
            assert await asyncio.to_thread(ask, str(files[Path(OTHER)])) == b"$5\r\nval01\r\n"
            assert files[Path(PATH)].stat().st_mode & 0o777 == 0o666
            assert responder.take_problems() == []
        assert not any(file.exists() for file in files.values())

    asyncio.run(scenario())


def test_an_abstract_name_is_opened_itself() -> None:
    async def scenario() -> None:
        async with serving(f"unix:{ABSTRACT}") as responder:
            assert responder.files == {}
            answer = await asyncio.to_thread(ask, "\0" + ABSTRACT[1:])
            assert answer == b"$5\r\nval00\r\n"

    asyncio.run(scenario())


def test_one_that_is_taken_is_named() -> None:
    async def scenario() -> None:
        async with serving(f"unix:{ABSTRACT}"):
            raise AssertionError("not reached")

    with socket.socket(socket.AF_UNIX) as taken:
        taken.bind("\0" + ABSTRACT[1:])
        with pytest.raises(OSError) as caught:
            asyncio.run(scenario())
    assert caught.value.filename == f"unix:{ABSTRACT}"


def test_services_that_look_names_up_refuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, recorded, missing = (tmp_path / name for name in ("running", "recorded", "missing"))
    monkeypatch.setattr(localsockets, "NAME_SERVICES", (running, recorded, missing))

    async def scenario() -> None:
        async with serving(f"unix:{recorded}") as responder:
            assert set(responder.files) == {running, recorded}
            assert ask(str(running)) == b"at home"
            with pytest.raises(ConnectionRefusedError):
                ask(str(responder.files[running]))
            answer = await asyncio.to_thread(ask, str(responder.files[recorded]))
            assert answer == b"$5\r\nval00\r\n"

    def answer_once() -> None:
        client, _ = server.accept()
        with client:
            client.recv(len(REQUEST))
            client.sendall(b"at home")

    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as other:
        server.bind(str(running))
        other.bind(str(recorded))
        server.listen()
        answering = threading.Thread(target=answer_once)
        answering.start()
        asyncio.run(scenario())
        answering.join()


def test_datagrams_are_answered_where_the_sender_has_a_name(tmp_path: Path) -> None:
    endpoint = "unix-datagram:/dev/log"
    assert str(Endpoint.parse(endpoint)) == endpoint
    mock = make_mock("opaque", endpoint, b"ping", b"pong")

    def ask_named(path: str) -> bytes:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.settimeout(LIMIT_S)
            client.bind(str(tmp_path / "client"))
            client.sendto(b"ping", path)
            return client.recv(100)

    async def scenario() -> bytes:
        matcher = make_matcher(SetInMemory(mocks=[mock]))
        matcher.begin_case(None, 1)
        responder = Responder(NoRedirect(), matcher, Routes([mock]), PROTOCOLS)
        try:
            await responder.start()
            return await asyncio.to_thread(ask_named, str(responder.files[Path("/dev/log")]))
        finally:
            await responder.close()

    assert asyncio.run(scenario()) == b"pong"
