"""A small HTTP service that asks a Redis for each answer: something to record.

``service.py REDIS-PORT [HTTP-PORT]`` prints its own port and serves until ended.
"""

from __future__ import annotations

import json
import socket
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class Handler(BaseHTTPRequestHandler):
    """``/NAME`` is answered with what Redis has under that name."""

    protocol_version = "HTTP/1.1"
    redis: socket.socket

    def do_GET(self) -> None:
        name = self.path.strip("/").encode()
        self.redis.sendall(b"*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n" % (len(name), name))
        answer = self.redis.recv(1000)
        value = answer.split(b"\r\n")[1].decode()
        body = json.dumps({"name": name.decode(), "value": value}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def main(redis_port: str, port: str = "0") -> None:
    with socket.create_connection(("127.0.0.1", int(redis_port))) as redis:
        Handler.redis = redis
        with HTTPServer(("127.0.0.1", int(port)), Handler) as server:
            sys.stdout.write(f"{server.server_port}\n")
            sys.stdout.flush()
            server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
