"""The service itself: ``python -m tests.e2e.field``, told by ``FIELD_…`` and ``BUG`` what to do."""

from __future__ import annotations

import os
import socketserver
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import redis
from psycopg_pool import ConnectionPool

from tests.e2e.field import bodies, extras, http_calls, late_calls, redis_calls, sql_calls, values
from tests.e2e.field.lines import LINES, Answer, Backends, Pool

MODULES = (bodies, extras, http_calls, late_calls, redis_calls, sql_calls, values)
POOL_SIZE = int(os.environ.get("FIELD_POOL", "4"))
BUGS = frozenset(os.environ.get("BUG", "").split(","))


def open_pool(name: str) -> Pool:
    options = {"min_size": POOL_SIZE, "max_size": POOL_SIZE}
    return ConnectionPool(os.environ[name], open=True, **options)  # type: ignore[arg-type]


def open_backends() -> Backends:
    """Connects to everything; the pools are full when it returns."""
    get = os.environ
    use = Backends(
        open_pool("FIELD_DATABASE"),
        open_pool("FIELD_OTHER_DATABASE"),
        get["FIELD_DATABASE"],
        redis.Redis.from_url(get["FIELD_REDIS"]),
        redis.Redis.from_url(get["FIELD_OTHER_REDIS"]),
        redis.Redis.from_url(get["FIELD_REDIS"] + "/1"),
        httpx.Client(base_url=get["FIELD_HTTP"], trust_env=False),
        httpx.Client(base_url=get["FIELD_OTHER_HTTP"], trust_env=False),
    )
    use.database.wait()
    use.other_database.wait()
    if "FIELD_VERSION" in os.environ:
        extras.read_version(use, "startup_call" in BUGS)
    return use


class Handler(BaseHTTPRequestHandler):
    """Serves the lines by name; what goes wrong in one is a 500."""

    protocol_version = "HTTP/1.1"
    use: Backends

    def version_string(self) -> str:
        return "field"

    def date_time_string(self, timestamp: float | None = None) -> str:
        return "Thu, 01 Jan 1970 00:00:00 GMT"

    def do_GET(self) -> None:
        name = self.path.partition("?")[0].strip("/")
        line = LINES.get(name)
        try:
            answer = line.serve(name in BUGS, self.use) if line else Answer(status=404)
        except Exception as error:  # noqa: BLE001  # the boundary of the service
            answer = Answer(type(error).__name__.encode(), "text/plain", 500)
        self.send(answer)
        if answer.after is not None:
            answer.after()

    def send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        if answer.kind:
            self.send_header("Content-Type", answer.kind)
        for name, value in answer.headers:
            self.send_header(name, value)
        if answer.chunks is not None:
            self.send_chunks(answer)
            return
        if answer.status != 204:
            size = len(answer.body) if answer.declared is None else answer.declared
            self.send_header("Content-Length", str(size))
        self.end_headers()
        self.wfile.write(answer.body)
        if answer.declared is not None:
            self.close_connection = True

    def send_chunks(self, answer: Answer) -> None:
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for chunk in answer.chunks or ():
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            self.wfile.flush()
            time.sleep(extras.PAUSE_SECONDS)  # what the slow sender is about
        if answer.is_whole:
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    socketserver.TCPServer.request_queue_size = 64
    Handler.use = open_backends()
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ["FIELD_PORT"])), Handler)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
