from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from kebpf.protocols.base import Exchange
from kebpf.recording.model import TestCase
from kebpf.replay.binding import Bindings
from kebpf.replay.connection import Address
from kebpf.replay.replayer import Replayer, ReplayError
from tests.replay.sets import PROTOCOLS, make_case

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
GET = b"GET /a HTTP/1.1\r\nHost: shop.example\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def make_get_case() -> TestCase:
    return make_case("get-a", GET, OK)


async def replay(
    handler: Handler, case: TestCase, bindings: Bindings | None = None, timeout_s: float = 20.0
) -> Exchange:
    handled = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            handled.set()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        replayer = Replayer(Address("127.0.0.1", port), timeout_s, PROTOCOLS.__getitem__)
        try:
            return await replayer.send(case, bindings or Bindings())
        finally:
            await handled.wait()


def answer_with(data: bytes, ends: bool = False, piece_size: int = 100_000) -> Handler:
    """Reads a request's head, writes ``data`` in pieces and closes only if ``ends``."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for start in range(0, len(data), piece_size):
            writer.write(data[start : start + piece_size])
            await writer.drain()
        if not ends:
            await reader.read()

    return handle


def response_of(exchange: Exchange) -> dict[str, Any]:
    assert exchange.response is not None
    return exchange.response


class TestSend:
    @pytest.mark.parametrize("piece_size", [1, 7, 1000])
    def test_a_whole_response_ends_the_exchange_while_the_connection_is_open(
        self, piece_size: int
    ) -> None:
        handler = answer_with(OK, piece_size=piece_size)
        response = response_of(asyncio.run(replay(handler, make_get_case())))
        assert (response["status"], response["body"]) == (200, b"ok")

    def test_the_request_is_sent_as_recorded(self) -> None:
        heard: list[bytes] = []

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heard.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(OK)
            await reader.read()

        asyncio.run(replay(handle, make_get_case()))
        assert heard == [GET]

    def test_bound_values_are_put_in_and_the_length_follows(self) -> None:
        old, new = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
        body = f'{{"id": "{old}"}}'.encode()
        head = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
        bindings = Bindings()
        assert bindings.bind(old, new, "uuid4")
        heard: list[bytes] = []

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heard.append(await reader.readuntil(b"\r\n\r\n"))
            heard.append(await reader.readexactly(len(body)))
            writer.write(OK)
            await reader.read()

        asyncio.run(replay(handle, make_case("post-a", head + body, OK), bindings))
        assert heard == [head, body.replace(old.encode(), new.encode())]

    def test_interim_responses_are_not_the_response(self) -> None:
        data = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK
        assert response_of(asyncio.run(replay(answer_with(data), make_get_case())))["status"] == 200

    def test_the_response_to_head_has_no_body(self) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n"
        case = make_case("head-a", GET.replace(b"GET", b"HEAD"), head)
        response = response_of(asyncio.run(replay(answer_with(head), case)))
        assert (response["status"], response["body"]) == (200, b"")

    def test_a_response_that_only_the_close_ends_is_whole(self) -> None:
        data = b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 300_000
        response = response_of(asyncio.run(replay(answer_with(data, ends=True), make_get_case())))
        assert response["body"] == b"x" * 300_000

    def test_a_response_that_comes_before_the_request_is_read_counts(self) -> None:
        body = b"y" * 3_000_000
        head = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
        early = b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(early)
            await reader.read()

        case = make_case("post-a", head + body, early)
        assert response_of(asyncio.run(replay(handle, case)))["status"] == 413


class TestFailure:
    def test_no_listener(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            replayer = Replayer(Address(*taken.getsockname()), find_protocol=PROTOCOLS.__getitem__)
            with pytest.raises(
                ReplayError, match=r"no longer accepts connections on 127\.0\.0\.1:"
            ):
                asyncio.run(replayer.send(make_get_case(), Bindings()))

    def test_an_early_close(self) -> None:
        with pytest.raises(ReplayError):
            asyncio.run(replay(answer_with(b"", ends=True), make_get_case()))

    def test_a_cut_response(self) -> None:
        cut = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok"
        with pytest.raises(ReplayError, match="not whole"):
            asyncio.run(replay(answer_with(cut, ends=True), make_get_case()))

    def test_a_reset(self) -> None:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()

        with pytest.raises(ReplayError, match="reset the connection without a response"):
            asyncio.run(replay(handle, make_get_case()))

    def test_a_time_out_says_how_far_it_came(self) -> None:
        with pytest.raises(ReplayError, match=r"gave no response within 0\.05 s"):
            asyncio.run(replay(answer_with(b""), make_get_case(), timeout_s=0.05))
        with pytest.raises(ReplayError, match=r"gave only 12 bytes of a response within 0\.2 s"):
            asyncio.run(replay(answer_with(b"HTTP/1.1 200"), make_get_case(), timeout_s=0.2))

    def test_a_request_that_cannot_be_written(self) -> None:
        case = make_get_case()
        case.request["method"] = "GE T"
        replayer = Replayer(Address("127.0.0.1", 1), find_protocol=PROTOCOLS.__getitem__)
        with pytest.raises(ReplayError, match="the recorded request cannot be written"):
            asyncio.run(replayer.send(case, Bindings()))

    def test_what_is_not_the_protocol(self) -> None:
        with pytest.raises(ReplayError):
            asyncio.run(replay(answer_with(b"\0\0\0\0" * 100, ends=True), make_get_case()))


class TestSequel:
    """What follows a response on a connection that went on when it was recorded."""

    @staticmethod
    def find(*pieces: bytes, is_kept_open: bool = True, ends: bool = True) -> str | None:
        """What is seen once all of ``pieces`` were sent, the first of them the response."""

        async def run() -> str | None:
            is_over = asyncio.Event()

            async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(pieces[0])
                await is_whole.wait()
                writer.writelines(pieces[1:])
                if ends:
                    writer.write_eof()
                is_over.set()
                with contextlib.suppress(ConnectionResetError):  # what was sent was not read
                    await reader.read()
                writer.close()
                is_closed.set()

            is_whole, is_closed = asyncio.Event(), asyncio.Event()
            server = await asyncio.start_server(handle, "127.0.0.1", 0)
            async with server:
                port = server.sockets[0].getsockname()[1]
                replayer = Replayer(Address("127.0.0.1", port), 20.0, PROTOCOLS.__getitem__)
                case = make_case("get-a", GET, OK)
                case.is_kept_open = is_kept_open
                await replayer.send(case, Bindings())
                is_whole.set()
                await is_over.wait()
                found = replayer.find_sequel()
                replayer.close()
                await is_closed.wait()
                return found

        return asyncio.run(run())

    def test_a_connection_that_goes_on(self) -> None:
        assert self.find(OK, ends=False) is None

    def test_its_end_is_told(self) -> None:
        assert str(self.find(OK)).startswith("the application closed the connection behind its")

    def test_bytes_that_nobody_asked_for_are_told(self) -> None:
        found = self.find(OK, OK, ends=False)
        assert found == f"the application sent {len(OK)} bytes behind its response"

    def test_an_end_that_was_announced_or_recorded_is_none(self) -> None:
        said = OK.replace(b"\r\n\r\n", b"\r\nConnection: x, Close\r\n\r\n")
        assert self.find(said) is None
        assert self.find(OK.replace(b"1.1", b"1.0")) is None
        assert self.find(OK, is_kept_open=False) is None
