"""DNS is recognised over both transports, and nothing else is taken for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebpf.protocols.base import Detection
from kebpf.protocols.dns import DNS
from tests.protocols.dns.builders import (
    frame,
    make_edns_query,
    make_query,
    make_response,
    make_rich_response,
)

OTHERS = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"*1\r\n$4\r\nPING\r\n",
    b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
    b"\x00\x00\x00\x21\x00\x03\x00\x00user\x00postgres\x00database\x00x\x00\x00",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40),
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
    bytes(64),
    b"\xff" * 64,
    b"\x1b" + bytes(47),  # NTP
]


@pytest.mark.parametrize("query", [make_query(), make_edns_query(), make_query("_x._tcp.a", "SRV")])
def test_queries(query: bytes) -> None:
    assert DNS.detect(query, b"") is Detection.YES
    assert DNS.detect(query + make_query("b.test", identifier=8), b"") is Detection.YES
    for framed in (frame(query), frame(query) + frame(query)[:10]):
        assert DNS.detect(framed, b"") is Detection.YES


def test_pairs() -> None:
    query, response = make_query(), make_response()
    assert DNS.detect(query, response) is Detection.YES
    assert DNS.detect(frame(query), frame(response)) is Detection.YES
    assert DNS.detect(query, make_response(identifier=8)) is Detection.NO
    assert DNS.detect(query, make_response("other.test")) is Detection.NO
    assert DNS.detect(query, frame(response)) is Detection.NO
    assert DNS.detect(response, query) is Detection.NO


@pytest.mark.parametrize("size", range(len(frame(make_query()))))
def test_tcp_prefixes_need_more(size: int) -> None:
    assert DNS.detect(frame(make_query())[:size], b"") is Detection.NEED_MORE


@pytest.mark.parametrize("other", OTHERS)
def test_others(other: bytes) -> None:
    assert DNS.detect(other, b"") is Detection.NO
    assert DNS.resynchronise(other, b"") is Detection.NO
    assert DNS.resynchronise(b"", other) is Detection.NO


@given(st.binary(min_size=14, max_size=200))
def test_random_bytes(data: bytes) -> None:
    assert DNS.detect(data, b"") is not Detection.YES


def test_resynchronise_takes_a_response_alone() -> None:
    assert DNS.resynchronise(b"", make_rich_response()) is Detection.YES
    assert DNS.resynchronise(b"", frame(make_response())) is Detection.YES
