"""A service that keeps sessions, notes and what it read in its own memory; a program, no test.

``python remembering_target.py PORT REDIS_PORT``: POST /login gives a token, GET /me wants one,
POST /notes makes a note, GET /notes/ID gives it back, GET /items/N reads Redis the first time.
"""

from __future__ import annotations

import json
import socket
import sys
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar


class Redis:
    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._file = self._socket.makefile("rb")

    def get(self, key: bytes) -> str | None:
        self._socket.sendall(b"*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n" % (len(key), key))
        size = int(self._file.readline()[1:])
        return None if size < 0 else self._file.read(size + 2)[:-2].decode()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer is one piece: no waiting for an ACK between two
    tokens: ClassVar[dict[str, int]] = {}
    notes: ClassVar[dict[str, str]] = {}
    items: ClassVar[dict[str, str | None]] = {}
    redis: ClassVar[Redis]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        made = str(uuid.uuid4())
        if self.path == "/login":
            self.tokens[made] = body["user"]
            self._answer(201, {"token": made})
        else:
            self.notes[made] = body["text"]
            self._answer(201, {"id": made})

    def do_GET(self) -> None:
        _, kind, *rest = self.path.split("/")
        if kind == "me":
            user = self.tokens.get(self.headers.get("Authorization", ""))
            self._answer(401 if user is None else 200, {"user": user})
        elif kind == "notes":
            note = self.notes.get(rest[0])
            self._answer(404 if note is None else 200, {"id": rest[0], "text": note})
        else:
            if rest[0] not in self.items:
                self.items[rest[0]] = self.redis.get(f"item:{rest[0]}".encode())
            self._answer(200, {"item": int(rest[0]), "name": self.items[rest[0]]})

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


def main() -> None:
    port, redis_port = map(int, sys.argv[1:3])
    Handler.redis = Redis(redis_port)
    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        sys.stdout.write("listening\n")
        sys.stdout.flush()
        server.serve_forever()


if __name__ == "__main__":
    main()
