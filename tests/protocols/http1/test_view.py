"""Decoded views and one-line descriptions."""

from __future__ import annotations

import pytest

from kebpf.protocols.base import Mark
from kebpf.protocols.http1 import HTTP1
from kebpf.protocols.http1.turns import make_orphan
from kebpf.protocols.http1.view import decode_query, split_target
from tests.protocols.http1.wire import CHUNKED_RESPONSE, make_get, read_request, read_response


def test_request() -> None:
    body = b'{"n": 1}'
    wire = (
        b"POST /a%20b?x=1&x=%C3%A9&y HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
        b"Content-Length: 8\r\n\r\n" + body
    )
    assert HTTP1.view(read_request(wire)) == {
        "method": "POST",
        "path": "/a%20b",
        "query": [["x", "1"], ["x", "é"], ["y", None]],
        "headers": [
            ["host", "h"],
            ["content-type", "application/json"],
            ["content-length", "8"],
        ],
        "body_kind": "json",
        "body": {"n": 1},
    }


def test_response_with_trailers_and_interim() -> None:
    wire = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + CHUNKED_RESPONSE
    view = HTTP1.view(read_response(wire))
    assert view["status"] == 200
    assert view["body"] == "Wikipedia in \r\n\r\nchunks."
    assert view["trailers"] == [["expires", "never"], ["x-sum", "1"]]
    assert view["interim"] == [{"status": 103, "headers": [["link", "x"]]}]


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("GET", "/a?b?c", ("h", "/a", "b?c")),
        ("GET", "/?", ("h", "/", "")),
        ("GET", "/a://b", ("h", "/a://b", None)),
        ("GET", "/a?u=http://x/", ("h", "/a", "u=http://x/")),
        ("GET", "http://other:81/a?b", ("other:81", "/a", "b")),
        ("GET", "http://other?b", ("other", "/", "b")),
        ("GET", "http://other", ("other", "/", None)),
        ("OPTIONS", "*", ("h", "*", None)),
        ("CONNECT", "db:5432", ("db:5432", "", None)),
    ],
)
def test_targets(method: str, target: str, expected: tuple[str, str, str | None]) -> None:
    request = {"method": method, "target": target, "headers": [["Host", "h"]]}
    assert split_target(request) == expected


def test_query_that_is_not_utf8_stays_escaped() -> None:
    assert decode_query("a=%41&b=%ff&c") == [["a", "A"], ["b", "%ff"], ["c", None]]
    assert decode_query(None) == [] and decode_query("") == [["", None]]


def test_descriptions() -> None:
    assert HTTP1.describe(read_request(make_get("/q?x=1"))) == "GET http://h/q?x=1"
    long = HTTP1.describe(read_request(make_get("/" + "a" * 200)))
    assert len(long) == 100 and long.endswith("…")
    orphan = make_orphan("lost", Mark(1))
    assert HTTP1.describe(orphan.request) == "a request that was not seen"
