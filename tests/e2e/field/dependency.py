"""An HTTP service that others depend on; it keeps what it was asked, as the oracle."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

STATES = ("pending", "pending", "done")


class Dependency(ThreadingHTTPServer):
    """``name`` is what it says of itself; ``asked`` counts method and target."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, name: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.name = name
        self.asked: Counter[str] = Counter()
        self.peers: set[int] = set()
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, target: str, line: str, body: bytes) -> dict[str, object]:
        with self.lock:
            self.asked[line] += 1
            count = self.asked[line]
        if target.startswith("/jobs/"):
            return {"state": STATES[(count - 1) % len(STATES)]}
        digest = hashlib.sha256(body).hexdigest()[:8]
        return {"at": self.name, "target": target, "size": len(body), "sum": digest}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Dependency

    def setup(self) -> None:
        super().setup()
        with self.server.lock:
            self.server.peers.add(self.client_address[1])

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        said = self.server.answer(self.path, f"{self.command} {self.path}", body)
        data = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_PATCH = answer  # noqa: N815  # as the base class has it

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(name: str) -> Iterator[Dependency]:
    """A dependency for as long as the block lasts."""
    with Dependency(name) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
