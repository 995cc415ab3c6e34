"""A vendor's HTTPS service and a CONNECT proxy, which remember what they were asked."""

from __future__ import annotations

import select
import socket
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from examples.certificates import Certificates

_PIECE = 3000  # bytes of a chunk


@dataclass(frozen=True)
class Asked:
    """A request a peer received and what it answered."""

    method: str
    target: str
    request: bytes
    status: int
    response: bytes


class Peer(ThreadingHTTPServer):
    """A server in threads of this process; `stop` also ends the connections it has."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, handler: type[BaseHTTPRequestHandler], port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), handler)
        self.asked: list[Asked] = []
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._open.discard(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no error here; a wrong answer shows at the client."""

    def stop(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


class Vendor(Peer):
    """Keeps notes: ``POST /notes/N`` takes one, ``GET /notes/N`` gives it back reversed.

    ``POST /mirror/N`` does both at once.
    """

    def __init__(self, certificates: Certificates, is_mutual: bool = False) -> None:
        self.notes: dict[str, bytes] = {}
        self._context = certificates.serve(is_mutual)
        super().__init__(_VendorHandler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """The handshake is made by the connection's own thread."""
        with self._context.wrap_socket(request, server_side=True) as connection:
            self._open.add(connection)
            try:
                super().finish_request(connection, client_address)
            finally:
                self._open.discard(connection)


class _VendorHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer's head and body in one
    server: Vendor

    def do_POST(self) -> None:
        note = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.startswith("/mirror/"):
            number = self.path.rpartition("/")[2].encode()
            self._answer(200, b"%s %s" % (number, note[::-1]), note)
            return
        self.server.notes[self.path] = note
        self._answer(201, f"kept {len(note)} bytes".encode(), note)

    def do_GET(self) -> None:
        note = self.server.notes.get(self.path)
        if note is None:
            self._answer(404, b"no such note")
        else:
            self._answer(200, note[::-1], is_chunked=len(note) % 2 == 0)

    def _answer(
        self, status: int, body: bytes, request: bytes = b"", is_chunked: bool = False
    ) -> None:
        self.server.asked.append(Asked(self.command, self.path, request, status, body))
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        if is_chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(_in_chunks(body) if is_chunked else body)

    def log_message(self, *_words: Any) -> None:
        """Nothing: what was asked is kept."""


def _in_chunks(body: bytes) -> bytes:
    pieces = [body[start : start + _PIECE] for start in range(0, len(body), _PIECE)]
    return b"".join(b"%x\r\n%s\r\n" % (len(one), one) for one in pieces) + b"0\r\n\r\n"


class Proxy(Peer):
    """Passes bytes on to whatever a CONNECT names."""

    def __init__(self) -> None:
        super().__init__(_ProxyHandler)


class _ProxyHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    rbufsize = 0  # what follows the head is not the handler's
    server: Proxy

    def do_CONNECT(self) -> None:
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=10) as upstream:
            self.server.asked.append(Asked("CONNECT", self.path, b"", 200, b""))
            self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            _pass_on(self.connection, upstream)
        self.close_connection = True

    def log_message(self, *_words: Any) -> None:
        """Nothing: what was asked is kept."""


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    """Both ways until either ends."""
    towards = {one: other, other: one}
    while True:
        for source in select.select(list(towards), [], [])[0]:
            data = source.recv(65536)
            if not data:
                return
            towards[source].sendall(data)
