"""The other end of a watched program's sockets: says what it really received."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class Peer:
    """A server of this test: where it is, and what came on each connection."""

    address: tuple[str, int] | str
    received: list[bytearray] = field(default_factory=list)

    @property
    def port(self) -> int:
        assert isinstance(self.address, tuple)
        return self.address[1]

    @property
    def only(self) -> bytes:
        (one,) = self.received
        return bytes(one)


def read_all(sock: socket.socket, into: bytearray) -> None:
    """To the end of the stream."""
    while data := sock.recv(65_536):
        into += data


Serve = Callable[[socket.socket, bytearray], None]


def reply_with(data: bytes) -> Serve:
    """Reads to the end, then answers."""

    def serve(sock: socket.socket, into: bytearray) -> None:
        read_all(sock, into)
        sock.sendall(data)

    return serve


def _listen(host: str, path: str | None) -> socket.socket:
    if path is None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, 0), family=family)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path.replace("@", "\0"))
    listener.listen()
    return listener


@contextmanager
def stream_peer(
    serve: Serve = read_all, count: int = 1, path: str | None = None, host: str = "127.0.0.1"
) -> Iterator[Peer]:
    """Accepts ``count`` connections and serves each; done with all of them at the end."""
    with _listen(host, path) as listener:
        peer = Peer(listener.getsockname() if path else listener.getsockname()[:2])
        failures: list[BaseException] = []

        def work(sock: socket.socket, into: bytearray) -> None:
            try:
                with sock:
                    serve(sock, into)
            except OSError as error:
                failures.append(error)

        def accept() -> None:
            workers = []
            for _ in range(count):
                sock = listener.accept()[0]
                peer.received.append(bytearray())
                worker = threading.Thread(target=work, args=(sock, peer.received[-1]))
                worker.start()
                workers.append(worker)
            for worker in workers:
                worker.join()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield peer
        thread.join(10)
        assert not thread.is_alive(), "the peer still waits"
        assert failures == []


@contextmanager
def datagram_peer(host: str, count: int, answer: bytes = b"answer") -> Iterator[Peer]:
    """Answers ``count`` datagrams, on a port whose number no TCP socket here has."""
    with socket.socket() as guard, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        guard.bind((host, 0))
        sock.bind(guard.getsockname())
        peer = Peer(sock.getsockname())

        def serve() -> None:
            for _ in range(count):
                data, source = sock.recvfrom(65_536)
                peer.received.append(bytearray(data))
                sock.sendto(answer, source)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield peer
        thread.join(10)
        assert not thread.is_alive()
