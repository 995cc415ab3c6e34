"""When two calls are the same call."""

from __future__ import annotations

import re
import socket
import threading
import urllib.request
from collections.abc import Callable
from typing import Any

import httpx

from kebpf.protocols.base import Document
from kebpf.protocols.http1 import HTTP1
from kebpf.replay.call import is_same, leaves_of
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


def capture(send: Callable[[str], object]) -> Document:
    """The identity of the request that a client library sends."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        sent: list[bytes] = []

        def serve() -> None:
            connection, _ = server.accept()
            with connection, connection.makefile("rb") as lines:
                head = b"".join(iter(lines.readline, b"\r\n"))
                size = re.search(rb"(?i)content-length: *(\d+)", head)
                sent.append(head + b"\r\n" + lines.read(int(size[1]) if size else 0))
                connection.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        send(f"http://127.0.0.1:{server.getsockname()[1]}/items")
        thread.join()
    identity = HTTP1.identity(read_request(sent[0]))
    return identity | {"authority": "h"}  # the port is another one each time


def post(**content: Any) -> Document:
    with httpx.Client(trust_env=False) as client:
        return capture(lambda url: client.post(url, **content))


def urllib_post(body: bytes, content_type: str) -> Document:
    def send(url: str) -> None:
        request = urllib.request.Request(url, body, {"Content-Type": content_type})
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request):
            pass

    return capture(send)


def test_a_multipart_body_counts_without_the_boundary_its_client_drew() -> None:
    def upload(data: bytes) -> Document:
        return post(data={"kind": "label"}, files={"file": ("a.bin", data)})

    assert upload(b"\x00\xff") == upload(b"\x00\xff")
    assert upload(b"\x00\xff") != upload(b"\x00\xfe")
    assert upload(b"--text--") == upload(b"--text--") != upload(b"--text-")


def test_json_counts_by_value_with_the_types_of_its_numbers() -> None:
    same = urllib_post(b'{ "b": [true, null],\n "a": 1 }', "application/json")
    compact = urllib_post(b'{"a":1,"b":[true,null]}', "application/json")
    assert same["body"] == post(json={"a": 1, "b": [True, None]})["body"] == compact["body"]
    for other in ({"a": 1.0}, {"a": "1"}, {"a": True}, {"a": 1, "b": None}):
        found = leaves_of(post(json=other)["body"])
        one = leaves_of(post(json={"a": 1})["body"])
        assert found.keys() != one.keys() or not is_same(found["/a"], one["/a"])


def test_a_form_counts_as_ordered_pairs() -> None:
    ordered = post(data={"a": "1 ü", "b": "2"})
    assert ordered["body"] == [["a", "1 ü"], ["b", "2"]]
    form = "application/x-www-form-urlencoded"
    assert urllib_post(b"a=1+%C3%BC&b=2", form)["body"] == ordered["body"]
    assert urllib_post(b"b=2&a=1+%C3%BC", form)["body"] != ordered["body"]


def test_a_query_is_an_ordered_multiset_however_a_library_writes_it() -> None:
    def get(**params: Any) -> Document:
        with httpx.Client(trust_env=False) as client:
            return capture(lambda url: client.get(url, **params))

    one = get(params={"q": "a b", "tag": ["x", "y"]})
    assert one == get(params=[("tag", "x"), ("q", "a b"), ("tag", "y")])
    assert one != get(params=[("tag", "y"), ("q", "a b"), ("tag", "x")])
    for name in ("Accept", "Accept-Language", "Authorization", "Range", "X-Tenant"):
        assert get(headers={name: "a"}) != get(headers={name: "b"}), name
    assert get(headers={"traceparent": "00-1-2-01"}) == get(headers={"traceparent": "00-3-4-01"})
