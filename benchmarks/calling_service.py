"""A service that makes as many calls to Redis as a request's path says, and does nothing else.

``python -m benchmarks.calling_service PORT REDIS_PORT``
"""

from __future__ import annotations

import socket
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


def make_handler(redis_port: int) -> type[BaseHTTPRequestHandler]:
    """Handles ``/COUNT/NUMBER`` over one connection that is kept."""
    cache = socket.create_connection(("127.0.0.1", redis_port))
    cache.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    replies = cache.makefile("rb")

    class Handler(BaseHTTPRequestHandler):
        """One request a connection."""

        def do_GET(self) -> None:
            """Answers once all calls are made."""
            count, number = self.path.strip("/").split("/")
            for place in range(int(count)):
                key = b"n%b:%d" % (number.encode(), place)
                cache.sendall(b"*2\r\n$4\r\nINCR\r\n$%d\r\n%b\r\n" % (len(key), key))
                replies.readline()
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Nothing."""

    return Handler


def main() -> None:
    """Serves until it is ended."""
    port, redis_port = map(int, sys.argv[1:])
    server = HTTPServer(("127.0.0.1", port), make_handler(redis_port))
    print("serving", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
