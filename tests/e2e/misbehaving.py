"""A server that answers ``ok``, and how it misbehaves: ``MODE PORT [PORT]``."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer


class Handler(BaseHTTPRequestHandler):
    """Answers with nothing that changes."""

    def do_GET(self) -> None:
        self.send_response_only(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *words: object) -> None:
        """Keeps its output to itself."""


def main() -> None:
    mode, ports = sys.argv[1], [int(port) for port in sys.argv[2:]]
    if mode == "daemon":
        if os.fork():
            sys.exit(0)
        os.setsid()
    if mode == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    others = [socket.create_server(("127.0.0.1", port)) for port in ports[1:]]
    server = HTTPServer(("127.0.0.1", ports[0]), Handler)
    while mode == "silent":
        time.sleep(60)
    server.serve_forever()
    for other in others:
        other.close()


if __name__ == "__main__":
    main()
