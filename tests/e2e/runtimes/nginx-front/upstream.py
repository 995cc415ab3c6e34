"""What nginx stands before: small, chunked and large answers, on connections that are kept."""

from __future__ import annotations

import http.server
import json
import random
import sys
from urllib.parse import parse_qs, urlsplit


class Service(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        number = int(parse_qs(url.query).get("n", ["0"])[0])
        if url.path == "/chunked":
            self._send_chunks(number)
        elif url.path == "/large":
            self._send("application/octet-stream", random.Random(number).randbytes(number))
        else:
            self._send("application/json", json.dumps({"path": self.path}).encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._send(self.headers["Content-Type"], body)

    def _send(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send_chunks(self, number: int) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for row in range(number):
            line = f"row {row}\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_arguments: object) -> None:
        pass


if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Service)
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    server.serve_forever()
