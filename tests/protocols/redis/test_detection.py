"""RESP is recognised, whole or in part, and nothing else is taken for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebpf.protocols.base import Detection
from kebpf.protocols.redis import REDIS
from kebpf.protocols.redis.writer import write_command

PING = b"*1\r\n$4\r\nPING\r\n"
OTHERS = [
    (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b""),
    (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"),
    (b"get foo\r\n", b"VALUE foo 0 1\r\na\r\nEND\r\n"),
    (b"QUIT\r\n", b"+OK POP3 ready\r\n+OK bye\r\n"),
    (b"EHLO me\r\n", b"220 mail\r\n"),
    (b"a1 LOGIN x y\r\n", b"* OK IMAP\r\n"),
    (b"\x16\x03\x01\x02\x00\x01\x00", b""),
    (b"\x00\x00\x00\x08\x04\xd2\x16\x2f", b"N"),
    (b"*1\r\n$4\r\n\x00\x01\x02\x03\r\n", b""),
    (b"*2\r\n$3\r\nGETX\r\n", b""),
    (PING, b"HTTP/1.1 400\r\n\r\n"),
    (b"", b"+OK ready\r\n"),
]


@pytest.mark.parametrize(("client", "server"), OTHERS)
def test_others(client: bytes, server: bytes) -> None:
    assert REDIS.detect(client, server) is Detection.NO


@pytest.mark.parametrize("size", range(len(PING) + 1))
def test_prefixes(size: int) -> None:
    expected = Detection.YES if size >= 12 else Detection.NEED_MORE
    assert REDIS.detect(PING[:size], b"") is expected
    assert REDIS.resynchronise(PING[:size], b"") is expected


def test_commands_with_replies() -> None:
    wire = write_command(["JSON.SET", "k", ".", "{}"])
    assert REDIS.detect(wire, b"+OK\r\n") is Detection.YES
    assert REDIS.detect(PING, b"+PO") is Detection.YES
    assert REDIS.detect(b"PING\r\n", b"") is Detection.NEED_MORE
    assert REDIS.detect(b"PING\r\n", b"+PONG\r\n") is Detection.YES


@pytest.mark.parametrize("data", [b"lue\r\n", b"$3\r\nGET\r\n", b"\r\n*1\r\n$4\r\nPING\r\n"])
def test_middle_of_a_command_is_no_boundary(data: bytes) -> None:
    assert REDIS.resynchronise(data, b"") is Detection.NO


def test_server_alone_says_nothing_of_the_client() -> None:
    assert REDIS.resynchronise(b"", b"+OK\r\n") is Detection.NEED_MORE


@given(st.binary(max_size=200), st.binary(max_size=100))
def test_any_bytes_get_a_verdict(client: bytes, server: bytes) -> None:
    if not client.startswith(b"*"):
        assert REDIS.resynchronise(client, server) is not Detection.YES
    REDIS.detect(client, server)
