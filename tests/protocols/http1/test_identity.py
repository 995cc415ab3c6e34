"""When two calls are the same call."""

from __future__ import annotations

from kebpf.protocols.base import Document
from kebpf.protocols.http1 import HTTP1
from tests.protocols.http1.wire import make_get, read_request


def identify(target: str, *headers: str) -> Document:
    return HTTP1.identity(read_request(make_get(target, *headers)))


def test_parts() -> None:
    assert identify("/a?b=2&a=1&b=1", "Accept: x", "Content-Length: 0") == {
        "operation": "GET /a",
        "method": "GET",
        "authority": "h",
        "path": "/a",
        "query": [["a", "1"], ["b", "2"], ["b", "1"]],
        "headers": [["accept", "x"]],
        "body_kind": "empty",
        "body": None,
    }


def test_what_never_matters() -> None:
    assert identify("/") == identify(
        "/", "User-Agent: x", "Connection: close", "Date: now", "traceparent: 00-1-2-01",
        "X-Request-ID: 9", "X-B3-TraceId: 1", "x-datadog-parent-id: 3", "Expect: 100-continue",
    )  # fmt: skip
    assert identify("/?a=1&b=2") == identify("/?b=2&a=1")
    assert identify("/", "X-A: 1", "X-B: 2") == identify("/", "x-b: 2", "x-a: 1")


def test_what_always_matters() -> None:
    seen = [
        identify("/"), identify("/?a=1&a=2"), identify("/?a=2&a=1"), identify("/?a"),
        identify("/?a="), identify("/", "Authorization: Bearer 1"), identify("/", "Range: a=0-1"),
        identify("/", "If-None-Match: x"), identify("/", "Accept-Encoding: gzip"),
        identify("/", "X-Tenant: 1"), identify("/", "api-key: 1"), identify("/", "Cookie: a=b"),
        identify("http://other/"), identify("/a"), identify("/?"),
    ]  # fmt: skip
    assert all(one != two for at, one in enumerate(seen) for two in seen[:at])


def test_framing_and_coding_of_the_body_do_not_matter() -> None:
    head = "POST / HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
    by_length = read_request(f'{head}Content-Length: 8\r\n\r\n{{"a": 1}}'.encode())
    chunked = f'{head}Transfer-Encoding: chunked\r\n\r\n7\r\n{{"a":1}}\r\n0\r\n\r\n'
    assert HTTP1.identity(by_length) == HTTP1.identity(read_request(chunked.encode()))
