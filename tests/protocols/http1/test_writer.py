"""Messages written again are the bytes that were read."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given, settings

from kebpf.protocols.base import ProtocolError
from kebpf.protocols.http1 import HTTP1
from kebpf.protocols.http1.writer import correct_length
from tests.protocols.http1.test_parser import requests
from tests.protocols.http1.wire import (
    CHUNKED_RESPONSE,
    RFC_REQUEST,
    RFC_RESPONSE,
    make_get,
    read_request,
    read_response,
)

REQUESTS = [
    RFC_REQUEST,
    b"GET http://h/a?b HTTP/1.0\nA:1\nB: \tx \t\n\n",
    b"POST / HTTP/1.1\r\nA: one\r\n two\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    b"OPTIONS * HTTP/1.1\r\nX: \xff\xfe\r\nContent-Length:0\r\n\r\n",
]
RESPONSES = [
    RFC_RESPONSE,
    b"HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx",
    b"HTTP/1.1 200 \r\nContent-Length: 1\n\r\nx",
    b"HTTP/1.0 200 OK\r\nSet-Cookie: a\r\nset-cookie: b\r\n\r\nuntil close",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink:x\r\n\r\nHTTP/1.1 204 No\r\n\r\n",
]


@pytest.mark.parametrize("wire", REQUESTS)
def test_requests_are_byte_exact(wire: bytes) -> None:
    assert HTTP1.write_request(read_request(wire)) == wire


@pytest.mark.parametrize("wire", RESPONSES)
def test_responses_are_byte_exact(wire: bytes) -> None:
    assert HTTP1.write_response(read_response(wire)) == wire


def test_head_response_keeps_its_length() -> None:
    wire = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"
    response = read_response(wire, b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n")
    assert HTTP1.write_response(response) == wire


@given(requests())
@settings(max_examples=200)
def test_parse_of_write_is_the_message(wire: bytes) -> None:
    request = read_request(wire)
    written = HTTP1.write_request(request)
    assert read_request(written) == request
    if request["framing"] != "chunked":
        assert written == wire


def test_chunked_with_trailers_is_read_by_h11() -> None:
    response = read_response(CHUNKED_RESPONSE)
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "h")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(HTTP1.write_response(response))
    assert isinstance(connection.next_event(), h11.Response)
    data = connection.next_event()
    assert isinstance(data, h11.Data) and bytes(data.data) == response["body"]
    end = connection.next_event()
    assert isinstance(end, h11.EndOfMessage)
    assert list(end.headers) == [(b"expires", b"never"), (b"x-sum", b"1")]


def test_length_follows_a_changed_body() -> None:
    request = read_request(b"POST / HTTP/1.1\r\ncontent-length: 3\r\nA: b\r\n\r\nabc")
    request["body"] = b"longer"
    assert HTTP1.write_request(request) == (
        b"POST / HTTP/1.1\r\ncontent-length: 6\r\nA: b\r\n\r\nlonger"
    )
    assert correct_length([["A", "b"]], 2) == [["A", "b"], ["Content-Length", "2"]]
    assert correct_length([["Content-Length", "2, 2"]], 2) == [["Content-Length", "2, 2"]]
    assert correct_length([["Content-Length", "x"]], 2) == [["Content-Length", "2"]]


@pytest.mark.parametrize(
    "change",
    [
        {"method": "GET /x"},
        {"target": "/ HTTP/1.1\r\nA: b"},
        {"headers": [["A", "b\r\nInjected: c"]]},
        {"headers": [["A\r\n", "b"]]},
        {"headers": [["A", "\u20ac"]]},
        {"layout": [[0, " ", "\r\nInjected: c\r\n"]]},
    ],
)
def test_nothing_is_injected(change: dict[str, object]) -> None:
    request = read_request(make_get("/"))
    with pytest.raises(ProtocolError):
        HTTP1.write_request(request | change)


def test_reason_cannot_end_the_line() -> None:
    with pytest.raises(ProtocolError):
        HTTP1.write_response(read_response(RFC_RESPONSE) | {"reason": "a\r\nb"})
