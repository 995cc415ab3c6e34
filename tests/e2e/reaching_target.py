"""A service that reaches for places it was never recorded with: ``reaching_target.py PORT [try]``.

``/KIND`` makes the attempt of that name, if told to try, and answers with what came of it.
"""

from __future__ import annotations

import http.server
import json
import socket
import struct
import sys
from collections.abc import Callable

WAIT_S = 3.0
NAMESERVER = ("127.0.0.153", 53)
REQUEST = b"GET /x HTTP/1.1\r\nHost: there\r\n\r\n"
PORT = int(sys.argv[1]) if __name__ == "__main__" else 0


def describe(error: OSError) -> str:
    return type(error).__name__ if error.errno is None else f"errno {error.errno}"


def read_status(caller: socket.socket) -> str:
    return caller.recv(4096).partition(b"\r\n")[0].decode()


def call_http(host: str, port: int) -> str:
    """The status line, and whom the kernel says it talks to."""
    with socket.create_connection((host, port), WAIT_S) as caller:
        peer = caller.getpeername()[:2]
        caller.sendall(REQUEST)
        return f"{read_status(caller)} from {peer}"


def listen_to(host: str, port: int) -> str:
    """A client that waits for a greeting."""
    with socket.create_connection((host, port), WAIT_S) as caller:
        return f"greeting {caller.recv(4096)!r}"


def ask_name(name: str, server: tuple[str, int] = NAMESERVER) -> str:
    """The response code (RFC 1035) and where it came from."""
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    question = struct.pack(">6H", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
        caller.settimeout(WAIT_S)
        caller.connect(server)
        caller.send(question)
        answer = caller.recv(512)
        return f"rcode {answer[3] & 15}, {answer[7]} records, from {caller.getpeername()}"


def send_datagram(host: str, port: int) -> str:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as caller:
        caller.settimeout(0.3)
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        caller.sendto(b"anyone?", (host, port))
        return f"answer {caller.recv(512)!r}"


def ping(host: str) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as caller:
        caller.settimeout(0.3)
        caller.sendto(bytes([8, 0, 0, 0, 0, 1, 0, 1]), (host, 0))
        return f"echo of {len(caller.recv(512))}"


def call_itself() -> str:
    with socket.create_connection(("127.0.0.1", PORT), WAIT_S) as caller:
        caller.sendall(b"GET /quiet HTTP/1.0\r\n\r\n")
        return read_status(caller)


def listen_and_call() -> str:
    """A port of its own is reached in the very moment it listens."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname(), WAIT_S) as caller,
    ):
        taken, peer = server.accept()
        taken.close()
        return f"reached {peer == caller.getsockname()}"


KINDS: dict[str, Callable[[], str]] = {
    "quiet": lambda: "nothing tried",
    "http": lambda: call_http("10.0.0.9", 8080),
    "http6": lambda: call_http("2001:db8::9", 8080),
    "mapped": lambda: call_http("::ffff:10.0.0.9", 8080),
    "twin": lambda: call_http("10.0.0.5", PORT),
    "loopback": lambda: call_http("127.0.0.1", 8089),
    "greeting": lambda: listen_to("192.0.2.25", 25),
    "name": lambda: ask_name("never.example"),
    "known": lambda: ask_name("known.example"),
    "far": lambda: ask_name("never.example", ("198.51.100.53", 53)),
    "stub": lambda: ask_name("known.example", ("127.0.0.53", 53)),
    "datagram": lambda: send_datagram("198.51.100.4", 9999),
    "datagram6": lambda: send_datagram("2001:db8::4", 9999),
    "multicast": lambda: send_datagram("239.255.0.1", 1900),
    "broadcast": lambda: send_datagram("255.255.255.255", 67),
    "ping": lambda: ping("198.51.100.4"),
    "itself": call_itself,
    "listen": listen_and_call,
}
RECORDED = ("known",)  # tried while it is recorded, too


class Service(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        kind = self.path.removeprefix("/")
        outcome = "nothing tried"
        if kind in RECORDED or "try" in sys.argv:
            try:
                outcome = KINDS[kind]()
            except OSError as error:
                outcome = describe(error)
        body = json.dumps({"outcome": outcome}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Says nothing."""


def main() -> None:
    server = http.server.ThreadingHTTPServer(("0.0.0.0", PORT), Service)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
