"""The responder with clients that behave badly: memory stays bounded and the others are served."""

from __future__ import annotations

import asyncio
import hashlib
import socket

import pytest

from kebpf.replay import responder as responder_module
from kebpf.replay import streams
from tests.replay.sets import make_mock
from tests.replay.test_responder import (
    REQUEST,
    buffered_size,
    exchange_bytes,
    get,
    make_http_mock,
    serving,
)

CACHE = ("10.0.0.6", 6379)
SIZE, COUNT = 100_000, 400
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE


def write(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in words)


def test_answers_to_a_pipeline_that_nobody_reads_are_not_made() -> None:
    """All of the requests come at once; the first answers show that the client does not read."""

    async def scenario() -> tuple[int, str, int]:
        async with serving([make_http_mock(response=HEAD + b"x" * SIZE)]) as stand:
            reader, writer = await asyncio.open_connection("127.0.0.1", stand.ports.tcp4)
            writer.write(REQUEST * COUNT)
            answer = await reader.readexactly(len(HEAD) + SIZE)
            await stand.call(get, stand.ports.tcp4)  # another client is served meanwhile
            held = max(map(buffered_size, stand.responder._streams))
            rest = hashlib.sha256(answer)
            for _ in range(COUNT - 1):
                rest.update(await reader.readexactly(len(HEAD) + SIZE))
            writer.write_eof()
            last = await reader.read()
            writer.close()
            await writer.wait_closed()
            return held, rest.hexdigest(), len(last)

    held, digest, after = asyncio.run(scenario())
    assert held <= (streams.FIRST_PIECE // len(REQUEST) + 2) * (SIZE + len(HEAD))
    assert (digest, after) == (hashlib.sha256((HEAD + b"x" * SIZE) * COUNT).hexdigest(), 0)


@pytest.mark.parametrize("size", [1023, 1024, 1025, 5000, 300_000])
def test_a_large_request_comes_to_the_same_call(size: int) -> None:
    request = write(b"SET", b"k", b"v" * size)
    mock = make_mock("redis", "10.0.0.6:6379", request, b"+OK\r\n")

    async def scenario() -> bytes:
        async with serving([mock], destination=CACHE) as stand:
            return await stand.call(exchange_bytes, stand.ports.tcp4, request, True)

    assert asyncio.run(scenario()) == b"+OK\r\n"


def test_a_client_that_dribbles_holds_nobody_up() -> None:
    async def scenario() -> bytes:
        async with serving([make_http_mock()]) as stand:
            reader, writer = await asyncio.open_connection("127.0.0.1", stand.ports.tcp4)
            for place in range(len(REQUEST)):
                writer.write(REQUEST[place : place + 1])
                await writer.drain()
                if place % 16 == 0:
                    assert await stand.call(get, stand.ports.tcp4) == (200, b"hello")
            answer = await reader.readuntil(b"hello")
            writer.close()
            await writer.wait_closed()
            return answer

    assert asyncio.run(scenario()).endswith(b"hello")


def test_a_listener_that_does_not_read_is_dropped_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responder_module, "MOST_NEWS", 1 << 20)
    publish = write(b"PUBLISH", b"news", b"x" * 100_000)
    mocks = [make_mock("redis", "10.0.0.6:6379", publish, b":1\r\n") for _ in range(200)]

    async def scenario() -> tuple[list[str], int]:
        async with serving(mocks, destination=CACHE) as stand:
            deaf = socket.create_connection(("127.0.0.1", stand.ports.tcp4))
            with deaf:
                deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                deaf.sendall(write(b"SUBSCRIBE", b"news"))
                assert await stand.call(deaf.recv, 16)
                highest = 0
                reader, writer = await asyncio.open_connection("127.0.0.1", stand.ports.tcp4)
                for _ in range(200):
                    writer.write(publish)
                    assert await reader.readline() == b":1\r\n"
                    highest = max(highest, *map(buffered_size, stand.responder._streams))
                writer.close()
                await writer.wait_closed()
            problems = [problem.text for problem in stand.responder.take_problems()]
            return problems, highest

    problems, highest = asyncio.run(scenario())
    assert problems == ["BufferError: it does not read what it listens to"]
    assert highest <= 1 << 20
