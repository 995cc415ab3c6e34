"""A service each of whose paths calls one dependency over TLS, verifying fully, in its own way."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HERE = Path(__file__).parent


def read(context: ssl.SSLContext) -> str:
    asked = urllib.request.Request(sys.argv[2], headers={"Accept": "*/*"})
    with urllib.request.urlopen(asked, timeout=20, context=context) as response:
        return str(response.read().decode())


def run(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, timeout=30, check=True).stdout


def call_openssl() -> str:
    """Python's own default: the folder of hashed names, or the system's bundle."""
    return read(ssl.create_default_context())


def call_certifi() -> str:
    import certifi

    return read(ssl.create_default_context(cafile=certifi.where()))


def call_strictly() -> str:
    context = ssl.create_default_context()
    context.verify_flags |= ssl.VERIFY_X509_STRICT  # the default from Python 3.13 on
    return read(context)


def call_file() -> str:
    """A file that only this code names."""
    return read(ssl.create_default_context(cafile=str(HERE / "company-ca.crt")))


def call_hidden() -> str:
    """A file that nothing but an address made up here names."""
    return read(ssl.create_default_context(cafile=os.environ["HIDDEN"][::-1]))


def call_curl() -> str:
    return run("curl", "-sS", "-H", "Accept-Encoding: identity", sys.argv[2])


def call_node() -> str:
    headers = "{accept: '*/*', 'accept-encoding': 'identity', connection: 'close'}"
    program = (
        f"require('https').get('{sys.argv[2]}', {{headers: {headers}}},"
        " answer => answer.on('data', data => process.stdout.write(data)))"
    )
    return run("node", "-e", program)


class Handler(BaseHTTPRequestHandler):
    """Answers with what the dependency said, or with why it did not."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        try:
            body = globals()[f"call_{self.path[1:]}"]().encode()
        except (OSError, subprocess.CalledProcessError) as error:
            body = f"{type(error).__name__}: {error}".encode()
        self.send_response_only(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
