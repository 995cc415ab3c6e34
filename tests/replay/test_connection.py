from __future__ import annotations

import asyncio
import hashlib
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from kebpf.replay.connection import Address, Connection

LIMIT_S = 20.0
Talk = Callable[[Connection], Awaitable[None]]


async def read_all(connection: Connection) -> bytes:
    data = b""
    while piece := await connection.read():
        data += piece
    return data


def talk(address: Address, what: Talk) -> None:
    async def run() -> None:
        connection = Connection()
        try:
            async with asyncio.timeout(LIMIT_S):
                await connection.connect(address)
                await what(connection)
        finally:
            connection.close()

    asyncio.run(run())


def listen_tcp(host: str = "127.0.0.1") -> tuple[socket.socket, Address]:
    server = socket.create_server(
        (host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET
    )
    return server, Address(host, server.getsockname()[1])


def listen_local(name: str) -> socket.socket:
    server = socket.socket(socket.AF_UNIX)
    server.bind(name)
    server.listen()
    return server


def greet(server: socket.socket) -> Talk:
    """What a server that greets and closes says is read to its end."""

    async def check(connection: Connection) -> None:
        peer, _ = server.accept()
        with peer:
            peer.sendall(b"hello")
        assert await read_all(connection) == b"hello"

    return check


class TestConnect:
    @pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
    def test_hosts(self, host: str) -> None:
        server, address = listen_tcp(host)
        with server:
            talk(address, greet(server))

    def test_a_path_too_long_for_an_address_below_a_root(self, tmp_path: Path) -> None:
        folder = tmp_path / ("d" * 120)
        folder.mkdir()
        kept = Path.cwd()
        os.chdir(folder)
        try:
            server = listen_local("s")
        finally:
            os.chdir(kept)
        with server:
            talk(Address(f"/{folder.name}/s", root=str(tmp_path)), greet(server))

    def test_an_abstract_name(self) -> None:
        name = f"kebpf-connection-{os.getpid()}"
        with listen_local("\0" + name) as server:
            talk(Address("@" + name), greet(server))

    def test_a_full_queue_is_waited_for(self, tmp_path: Path) -> None:
        path = str(tmp_path / "s")
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path)
            server.listen(0)
            with socket.socket(socket.AF_UNIX) as first:
                first.connect(path)

                async def run() -> bytes:
                    connection = Connection()
                    connecting = asyncio.ensure_future(connection.connect(Address(path)))
                    await asyncio.sleep(0)
                    assert not connecting.done()
                    server.accept()[0].close()
                    async with asyncio.timeout(LIMIT_S):
                        await connecting
                    with server.accept()[0] as peer:
                        peer.sendall(b"second")
                    data = await read_all(connection)
                    connection.close()
                    return data

                assert asyncio.run(run()) == b"second"

    def test_nobody_listens(self, tmp_path: Path) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            with pytest.raises(ConnectionRefusedError):
                talk(Address(*taken.getsockname()), read_nothing)
        with pytest.raises(FileNotFoundError):
            talk(Address(str(tmp_path / "none")), read_nothing)


async def read_nothing(connection: Connection) -> None:
    raise AssertionError("it is connected")


class TestExchange:
    def test_what_is_larger_than_every_buffer_arrives(self) -> None:
        data = os.urandom(8 << 20)
        found: list[str] = []

        def take(server: socket.socket) -> None:
            peer, _ = server.accept()
            with peer:
                digest, left = hashlib.sha256(), len(data)
                while left:
                    piece = peer.recv(1 << 16)
                    digest.update(piece)
                    left -= len(piece)
                found.append(digest.hexdigest())
                peer.sendall(data)

        async def check(connection: Connection) -> None:
            taking = asyncio.create_task(asyncio.to_thread(take, server))
            connection.write(data)
            assert await read_all(connection) == data
            await taking

        server, address = listen_tcp()
        with server:
            talk(address, check)
        assert found == [hashlib.sha256(data).hexdigest()]

    def test_an_answer_is_read_although_the_rest_of_the_request_is_not_taken(self) -> None:
        async def check(connection: Connection) -> None:
            peer, _ = server.accept()
            with peer:
                peer.sendall(b"no")
                peer.shutdown(socket.SHUT_RDWR)
            connection.write(b"y" * (16 << 20))
            assert await connection.read() == b"no"

        server, address = listen_tcp()
        with server:
            talk(address, check)

    def test_failing_ends_the_wait(self) -> None:
        async def check(connection: Connection) -> None:
            asyncio.get_running_loop().call_soon(connection.fail, LookupError("enough"))
            await connection.read()

        server, address = listen_tcp()
        with server, pytest.raises(LookupError, match="enough"):
            talk(address, check)

    def test_one_that_never_stops_can_be_given_up(self) -> None:
        async def check(connection: Connection) -> None:
            peer, _ = server.accept()
            with peer:
                peer.sendall(b"x" * 100_000)
                asyncio.get_running_loop().call_soon(connection.fail, LookupError("enough"))
                while True:
                    await connection.read()
                    peer.sendall(b"x" * 100_000)

        server, address = listen_tcp()
        with server, pytest.raises(LookupError, match="enough"):
            talk(address, check)
