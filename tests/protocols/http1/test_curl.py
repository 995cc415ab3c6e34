"""The curl line, run by a shell against a real listener that keeps the bytes it gets."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
from collections import Counter

import pytest

from kebpf.protocols.base import Document
from kebpf.protocols.http1 import curl_line
from tests.protocols.http1.wire import C, Feed, read_request

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def catch_request(line: str, listener: socket.socket) -> bytes:
    """Runs a shell line and gives what its curl sent."""
    caught = bytearray()

    def serve() -> None:
        connection, _ = listener.accept()
        connection.settimeout(20)
        with connection:
            while Feed().send((C, bytes(caught))).finish().problems()[-1:] != [WHOLE]:
                data = connection.recv(65536)
                if not data:
                    return
                caught.extend(data)
                if b"Expect" in caught:
                    connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            connection.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")

    listener.settimeout(20)
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    done = subprocess.run(["sh"], input=line.encode(), capture_output=True, timeout=30, check=False)
    thread.join(30)
    assert done.returncode == 0, done.stderr
    return bytes(caught)


WHOLE = "the recording ended before the response was complete"


def make_request(start: str, *headers: str, body: bytes = b"", chunked: bool = False) -> Document:
    lines = [start, *headers]
    tail = body
    if chunked:
        lines.append("Transfer-Encoding: chunked")
        tail = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    elif body:
        lines.append(f"Content-Length: {len(body)}")
    return read_request("\r\n".join([*lines, "", ""]).encode("latin-1") + tail)


REQUESTS = {
    "plain": make_request("GET /a?b=c&d=%20'$x HTTP/1.1", "Host: h"),
    "own headers": make_request(
        "GET / HTTP/1.1", "Host: example.com", "User-Agent: me/1", "accept: x", "X-Empty:",
        "Cookie: a=\"b\"; c='d'", "X-R: 1", "X-R: 2", "Authorization: Basic eA==",
    ),
    "json": make_request(
        "POST /q HTTP/1.1", "Host: h", "Content-Type: application/json", body=b'{"a": "it\'s"}\n'
    ),
    "no type": make_request("POST / HTTP/1.1", "Host: h", body=b"@not-a-file"),
    "put": make_request("PUT / HTTP/1.1", "Host: h", "Content-Type: a/b", body=b"caf\xc3\xa9"),
    "binary": make_request("POST / HTTP/1.1", "Host: h", body=bytes(range(256))),
    "unseen characters": make_request(
        "POST / HTTP/1.1", "Host: h", body="a\tb\u202ec\u00a0d\u2028\n".encode()
    ),
    "percent": make_request("POST / HTTP/1.1", "Host: h", body=b"%s %% \\n \xff"),
    "large binary": make_request("POST / HTTP/1.1", "Host: h", body=bytes(range(256)) * 3000),
    "large text": make_request("POST / HTTP/1.1", "Host: h", body=b"text " * 40_000),
    "chunked": make_request("POST / HTTP/1.1", "Host: h", body=b"pieces", chunked=True),
    "post of nothing": make_request("POST / HTTP/1.1", "Host: h"),
    "post of length 0": make_request("POST / HTTP/1.1", "Host: h", "Content-Length: 0"),
    "head": make_request("HEAD /x HTTP/1.1", "Host: h"),
    "delete": make_request("DELETE /x HTTP/1.1", "Host: h"),
    "get with body": make_request("GET /x HTTP/1.1", "Host: h", body=b"{}"),
    "old": make_request("GET / HTTP/1.0"),
    "dots": make_request("GET /a/../b/./c HTTP/1.1", "Host: h"),
    "brackets": make_request("GET /a[1-3]{x,y}?b[]=1 HTTP/1.1", "Host: h"),
    "fragment": make_request("GET /a#b\"c|d HTTP/1.1", "Host: h"),
    "odd bytes": make_request("GET /\xe9\xff HTTP/1.1", "Host: h", "X-L: \xe9\xff x"),
    "utf-8 header": make_request("GET / HTTP/1.1", "Host: h", "X-U: \xc3\xa9"),
    "asterisk": make_request("OPTIONS * HTTP/1.1", "Host: h"),
    "absolute": make_request("GET http://other/x HTTP/1.1", "Host: other"),
}  # fmt: skip


@needs_curl
@pytest.mark.parametrize("name", REQUESTS)
def test_the_same_request_arrives(name: str) -> None:
    request = REQUESTS[name]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        line = curl_line(request, f"http://127.0.0.1:{listener.getsockname()[1]}")
        got = read_request(catch_request(line, listener))
    for part in ("method", "target", "version", "body", "framing"):
        assert got[part] == request[part], line
    assert Counter(map(tuple, got["headers"])) == Counter(map(tuple, request["headers"])), line


def test_short_where_it_can_be() -> None:
    request = make_request("GET /x HTTP/1.1", "Host: 127.0.0.1:80", "User-Agent: a", "Accept: b")
    assert curl_line(request, "http://127.0.0.1:80/") == (
        "curl -i http://127.0.0.1:80/x -H 'User-Agent: a' -H 'Accept: b'"
    )


@pytest.mark.parametrize("name", REQUESTS)
def test_every_character_of_the_line_can_be_seen(name: str) -> None:
    assert curl_line(REQUESTS[name], "http://127.0.0.1:1").replace("\n", "").isprintable()


def test_trailers_are_confessed() -> None:
    request = REQUESTS["chunked"] | {"trailers": [["A", "b"]]}
    assert curl_line(request, "http://h").endswith("  # without its trailers")
