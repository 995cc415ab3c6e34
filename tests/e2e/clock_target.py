"""A service that lets in who carries a token that has not ended: ``clock_target.py PORT``.

``/timed`` waits in the ways that threads wait, and answers with the hour.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import http.server
import json
import queue
import sys
import threading
import time

KEY = b"between the two of us"


def sign(text: str) -> str:
    digest = hmac.digest(KEY, text.encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def encode(document: dict[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


def make_token(expiry: float) -> str:
    """As a log-in service somewhere else would (RFC 7519)."""
    text = f"{encode({'alg': 'HS256', 'typ': 'JWT'})}.{encode({'sub': 'ann', 'exp': expiry})}"
    return f"{text}.{sign(text)}"


def is_valid(token: str) -> bool:
    text, _, signature = token.rpartition(".")
    claims = text.partition(".")[2]
    padded = claims + "=" * (-len(claims) % 4)
    expiry = json.loads(base64.urlsafe_b64decode(padded))["exp"]
    return hmac.compare_digest(signature, sign(text)) and bool(expiry > time.time())


def wait_all_ways() -> None:
    time.sleep(0.01)
    threading.Event().wait(0.01)
    with contextlib.suppress(queue.Empty):
        queue.Queue[int]().get(timeout=0.01)


class Service(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/timed":
            wait_all_ways()
            self.answer(200, {"at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())})
        elif is_valid(self.headers["Authorization"].removeprefix("Bearer ")):
            self.answer(200, {"welcome": "ann"})
        else:
            self.answer(401, {"error": "token has expired"})

    def answer(self, status: int, document: dict[str, str]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Service)
    print("ready", flush=True)  # noqa: T201
    server.serve_forever()
