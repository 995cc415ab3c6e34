"""Runs mover.c against a peer, which is what both streams are compared with."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kebpf.capture.probes import Probes
from tests.capture.peers import Peer, Serve, read_all, stream_peer
from tests.capture.programs import make_bytes
from tests.capture.tap import Capture, Tap, tap_command

REQUEST = make_bytes(500_003)
REPLY = make_bytes(400_001, 2)


@dataclass(slots=True)
class Mover:
    """Runs mover.c against a peer that reads to the end and then answers."""

    probes: Probes
    programs: Path
    folder: Path

    @contextmanager
    def hold(self, address: str, sender: str, receiver: str, request: bytes) -> Iterator[Tap]:
        """The program, not begun yet."""
        file = self.folder / "request"
        file.write_bytes(request)
        command = [str(self.programs / "mover"), address, str(file), sender, receiver]
        with tap_command(self.probes, command) as held:
            yield held

    def run(
        self, sender: str, receiver: str, request: bytes = REQUEST, reply: bytes = REPLY
    ) -> tuple[Capture, Peer]:
        """To its end, over IPv4; the peer has all of the request then."""
        with (
            stream_peer(answer_slowly(reply)) as peer,
            self.hold(f"4:{peer.port}", sender, receiver, request) as held,
        ):
            held.start()
            capture = held.finish()
        assert peer.only == request
        assert capture.report == {"sent": len(request), "received": len(reply)}
        return capture, peer


def answer_slowly(reply: bytes) -> Serve:
    """Reads to the end, then answers in parts of uneven size."""

    def serve(sock: socket.socket, into: bytearray) -> None:
        read_all(sock, into)
        at, size = 0, 1
        while at < len(reply):
            sock.sendall(reply[at : at + size])
            at, size = at + size, (size * 7 + 3) % 90_001 + 1

    return serve
