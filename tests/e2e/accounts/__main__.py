"""The service: ``GET /DRIVER/OWNER``; with ``SWAP`` it takes Alice for Charlie, and back."""

from __future__ import annotations

import json
import os
import socketserver
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.e2e.accounts.drivers import OPENERS, Ask
from tests.e2e.accounts.forms import DRIVERS, SWAPPED, Form


class Handler(BaseHTTPRequestHandler):
    """Answers with what the driver said, or its error."""

    protocol_version = "HTTP/1.1"
    form: Form
    drivers: dict[str, Ask]

    def date_time_string(self, timestamp: float | None = None) -> str:
        return "Thu, 01 Jan 1970 00:00:00 GMT"

    def do_GET(self) -> None:
        driver, owner = self.path[1:].split("/")
        asked = SWAPPED.get(owner, owner) if self.form.is_swapped else owner
        status, said = 200, {"owner": owner}
        try:
            said["balance"] = self.drivers[driver](asked)
        except Exception as error:  # noqa: BLE001  # the boundary of the service
            status, said = 500, {"error": type(error).__name__}
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    socketserver.TCPServer.request_queue_size = 64
    form = Handler.form = Form.from_environment()
    names = DRIVERS[::-1] if form.is_backwards else DRIVERS
    Handler.drivers = {name: OPENERS[name](form) for name in names}
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ["ACCOUNTS_PORT"])), Handler)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
