"""The replayer over TLS, against servers of Python's own."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from kebpf.protocols.base import Exchange
from kebpf.recording.model import Tls
from kebpf.replay.binding import Bindings
from kebpf.replay.certificates import Authority
from kebpf.replay.connection import Address
from kebpf.replay.replayer import Replayer, ReplayError
from tests.replay.sets import PROTOCOLS, make_case
from tests.replay.test_replayer import GET, OK

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
NAME = "shop.example"
LIMIT_S = 20.0


def make_server_context(*protocols: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    Authority().load(context, ["nobody.trusts.me"])
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


async def send(
    handler: Handler,
    context: ssl.SSLContext | None,
    tls: Tls | None,
    request: bytes = GET,
    is_kept: bool = False,
) -> tuple[Exchange, str | None]:
    """The exchange, and what came behind it."""
    ended = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await handler(reader, writer)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        ended.set()

    options: dict[str, Any] = {} if context is None else {"ssl_shutdown_timeout": 1.0}
    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context, **options)
    case = make_case("a", request, OK, tls=tls, is_kept_open=is_kept)
    async with server:
        address = Address("127.0.0.1", server.sockets[0].getsockname()[1])
        replayer = Replayer(address, LIMIT_S, PROTOCOLS.__getitem__)
        try:
            exchange = await replayer.send(case, Bindings())
            if is_kept:
                await ended.wait()
            return exchange, replayer.find_sequel()
        finally:
            replayer.close()


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(OK)
    await writer.drain()
    await reader.read()


def test_the_request_is_sent_as_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str | None, str | None]] = []
    asked: list[str | None] = []
    context = make_server_context("http/1.1")
    context.sni_callback = lambda _, name, __: asked.append(name)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tls = writer.get_extra_info("ssl_object")
        seen.append((tls.selected_alpn_protocol(), tls.version()))
        await answer(reader, writer)

    exchange, _ = asyncio.run(send(handle, context, Tls(NAME, "http/1.1")))
    assert exchange.response is not None
    assert exchange.response["body"] == b"ok"
    assert (seen, asked) == ([("http/1.1", "TLSv1.3")], [NAME])


@pytest.mark.parametrize("sni", ["", NAME])
def test_without_alpn_and_with_an_old_server(sni: str) -> None:
    context = make_server_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    exchange, _ = asyncio.run(send(answer, context, Tls(sni)))
    assert exchange.response is not None


def test_large_bodies_cross_both_ways() -> None:
    body = bytes(range(256)) * 20_000
    head = b"Content-Length: %d\r\n\r\n" % len(body)

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n" + head + await reader.readexactly(len(body)))
        await writer.drain()
        await reader.read()

    request = b"POST /a HTTP/1.1\r\nHost: x\r\n" + head + body
    exchange, _ = asyncio.run(send(echo, make_server_context(), Tls(NAME), request))
    assert exchange.response is not None
    assert exchange.response["body"] == body


@pytest.mark.parametrize(
    ("tail", "told"), [(b"", "closed the connection behind"), (b"more", "sent 4 bytes behind")]
)
def test_what_comes_behind_is_told(tail: bytes, told: str) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await writer.drain()
        writer.write(tail)

    _, sequel = asyncio.run(send(handle, make_server_context(), Tls(NAME), is_kept=True))
    assert sequel is not None
    assert told in sequel


async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)


async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    await writer.drain()


def test_a_server_that_speaks_none_any_more_is_an_error() -> None:
    with pytest.raises(ReplayError, match=r"recorded over TLS.*: wrong version number"):
        asyncio.run(send(refuse, None, Tls(NAME), GET))


def test_a_server_that_hangs_up_is_an_error() -> None:
    with pytest.raises(ReplayError, match="closed the connection in the handshake"):
        asyncio.run(send(say_nothing, None, Tls(NAME)))


def test_a_server_that_speaks_tls_now_is_an_error() -> None:
    with pytest.raises(ReplayError, match="the response is not whole"):
        asyncio.run(send(answer, make_server_context(), None))
