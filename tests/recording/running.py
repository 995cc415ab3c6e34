"""The small service, running, with a Redis of this test's own behind it."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.capture.peers import stream_peer

SERVICE = Path(__file__).with_name("service.py")


def answer_gets(sock: socket.socket, into: bytearray) -> None:
    """Redis, as far as the service needs it: every key has its own name twice."""
    while data := sock.recv(1000):
        into += data
        name = data.split(b"\r\n")[4]
        sock.sendall(b"$%d\r\n%s\r\n" % (2 * len(name), name + name))


@dataclass(slots=True)
class Service:
    """Where it listens, and its process."""

    process: subprocess.Popen[str]
    port: int

    @property
    def pid(self) -> int:
        return self.process.pid

    def get(self, name: str) -> Any:
        """One request on a connection of its own."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            client.request("GET", f"/{name}")
            return json.loads(client.getresponse().read())
        finally:
            client.close()


@contextmanager
def run_service() -> Iterator[Service]:
    """Ended at the latest here."""
    with stream_peer(answer_gets) as redis:
        process = subprocess.Popen(
            [sys.executable, "-I", str(SERVICE), str(redis.port)], stdout=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout is not None
            yield Service(process, int(process.stdout.readline()))
        finally:
            process.kill()
            process.communicate()
