"""A small web site for HTTP clients, the same answers to the same requests."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import parse_qsl, urlsplit

BIG = bytes((7 * n + n // 251) % 256 for n in range(1_500_001))
ETAG = '"big-1"'
DATE = "Thu, 01 Feb 2024 10:20:30 GMT"


class Site(http.server.BaseHTTPRequestHandler):
    """Keeps connections alive; a path's first word chooses the answer.

    ``/json`` ``/text`` (UTF-8) ``/empty`` (204) ``/chunked`` (with a trailer) ``/gzip`` ``/big``
    (with an ETag and ranges) ``/cookies`` (two) ``/status/N`` ``/redirect/N`` (N times, then
    ``/json``) ``/close`` ``/echo``, which tells method, path, query, some headers, and of the body
    its size, digest and text if it is short.
    """

    protocol_version = "HTTP/1.1"
    server_version = "site"
    sys_version = ""
    disable_nagle_algorithm = True

    def answer(self) -> None:
        """The answer to the request just read."""
        body = self._read()
        path, _, rest = urlsplit(self.path).path[1:].partition("/")
        answers: dict[str, Callable[[], None]] = {
            "json": lambda: self._json({"name": "Zoë", "list": [1, 2.5, None, True]}),
            "text": lambda: self._send(200, "naïve ☃\n".encode(), "text/plain; charset=utf-8"),
            "empty": lambda: self._send(204, b"", ""),
            "chunked": self._chunked,
            "gzip": self._gzip,
            "big": self._big,
            "cookies": self._cookies,
            "status": lambda: self._send(int(rest), f"status {rest}\n".encode(), "text/plain"),
            "redirect": lambda: self._redirect(int(rest)),
            "close": self._close,
        }
        answers.get(path, lambda: self._echo(body))()

    def __getattr__(self, name: str) -> Callable[[], None]:
        """Every method is answered alike."""
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    def date_time_string(self, timestamp: float | None = None) -> str:
        return DATE

    def _read(self) -> bytes:
        """The request's body, whichever way it is framed."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return body

    def _send(self, status: int, body: bytes, kind: str, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        if kind:
            self.send_header("Content-Type", kind)
        for name, value in headers:
            self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _json(self, value: object, *headers: tuple[str, str]) -> None:
        text = json.dumps(value, ensure_ascii=False, sort_keys=True)
        self._send(200, text.encode(), "application/json", *headers)

    def _chunked(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Trailer", "X-Digest")
        self.end_headers()
        if self.command == "HEAD":
            return
        for size in (1, 10, 1000, 70_000):
            self.wfile.write(b"%x\r\n%s\r\n" % (size, BIG[:size].hex()[:size].encode()))
        self.wfile.write(b"0\r\nX-Digest: none\r\n\r\n")

    def _gzip(self) -> None:
        body = gzip.compress(b"the same again, " * 5_000, mtime=0)
        self._send(200, body, "text/plain", ("Content-Encoding", "gzip"))

    def _big(self) -> None:
        if self.headers.get("If-None-Match") == ETAG:
            self._send(304, b"", "", ("ETag", ETAG))
            return
        wanted = self.headers.get("Range", "")
        if not wanted.startswith("bytes="):
            tags = (("ETag", ETAG), ("Accept-Ranges", "bytes"))
            self._send(200, BIG, "application/octet-stream", *tags)
            return
        first, last = wanted.removeprefix("bytes=").split("-")
        begin = int(first) if first else len(BIG) - int(last)
        end = min(int(last), len(BIG) - 1) if first and last else len(BIG) - 1
        place = ("Content-Range", f"bytes {begin}-{end}/{len(BIG)}")
        self._send(206, BIG[begin : end + 1], "application/octet-stream", ("ETag", ETAG), place)

    def _cookies(self) -> None:
        cookies = ("first=1; Path=/", "second=two; Path=/; HttpOnly")
        self._json({"sent": self.headers.get("Cookie")}, *(("Set-Cookie", one) for one in cookies))

    def _redirect(self, left: int) -> None:
        place = f"/redirect/{left - 1}" if left > 1 else "/json"
        self._send(302, b"", "text/plain", ("Location", place))

    def _close(self) -> None:
        """A body that only the connection's end ends."""
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(b"until the end\n" * 3)

    def _echo(self, body: bytes) -> None:
        parts = urlsplit(self.path)
        told = ("Content-Type", "Authorization", "X-Custom", "Expect", "Cookie")
        self._json(
            {
                "method": self.command,
                "path": parts.path,
                "query": parse_qsl(parts.query, keep_blank_values=True),
                "headers": [[n.lower(), v] for n, v in self.headers.items() if n.title() in told],
                "size": len(body),
                "sha256": hashlib.sha256(body).hexdigest(),
                "body": body.decode(errors="replace") if len(body) < 1000 else None,
            }
        )

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's name
        """Not to the tests' output."""


@contextmanager
def run_site(host: str) -> Iterator[int]:
    """The site for as long as the block lasts; gives its port."""
    with http.server.ThreadingHTTPServer((host, 0), Site) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
