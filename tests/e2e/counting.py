"""Counts in Redis, tells a new id and the time: ``recorded_by_earlier/shop`` was made of it."""

from __future__ import annotations

import json
import os
import socket
import sys
import uuid
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer


def ask(*words: str) -> str:
    """Sends Redis a command on a connection of its own and gives the reply's one line."""
    parts = [f"${len(word)}\r\n{word}\r\n" for word in words]
    with socket.create_connection(("127.0.0.1", int(os.environ["REDIS_PORT"]))) as redis:
        redis.sendall(f"*{len(words)}\r\n{''.join(parts)}".encode())
        return redis.recv(4096).decode().strip()


class Handler(BaseHTTPRequestHandler):
    """Two calls a request; one of them with the new id."""

    def do_GET(self) -> None:
        made = {"id": str(uuid.uuid4()), "at": datetime.now(UTC).isoformat()}
        told = {"count": ask("INCR", "count"), "kept": ask("SET", "last", made["id"])}
        body = json.dumps(made | told).encode()
        self.send_response_only(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        """Keeps its output to itself."""


if __name__ == "__main__":
    HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
