"""A service with Unix sockets only: ``local_target.py PATH REDIS DATABASE USER``.

DATABASE is the folder of PostgreSQL's socket, whose port is in ``PGPORT``.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import socketserver
import sys
from pathlib import Path

import psycopg
import redis

PATH, REDIS, DATABASE, USER = sys.argv[1:5]
STEP = 1 if "BUG" not in os.environ else 2


class Service(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def address_string(self) -> str:
        return "a neighbour"

    def do_GET(self) -> None:
        name = self.path.strip("/")
        with psycopg.connect(host=DATABASE, user=USER, dbname="postgres") as connection:
            row = connection.execute("SELECT length(%s), upper(%s)", (name, name)).fetchone()
        count = cache.incrby("seen", STEP)
        body = json.dumps({"row": row, "count": count}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


if __name__ == "__main__":
    cache = redis.Redis(unix_socket_path=REDIS)
    with contextlib.suppress(FileNotFoundError):
        Path(PATH).unlink()
    with Server(PATH, Service) as server:
        print("ready", flush=True)  # noqa: T201
        server.serve_forever()
