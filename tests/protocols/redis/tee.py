"""A recording tee before a Redis server, and a replaying server: real clients, real sockets.

`record` passes bytes both ways and feeds each piece to a pairer; `replay` serves one
`RedisServer` a connection.  Both speak TCP on a port of their own.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from kebpf.protocols.base import Document, Exchange, Mark, Miss, Sender
from kebpf.protocols.redis import REDIS
from kebpf.protocols.redis.server import RedisServer

Handler = Callable[[socket.socket], None]


class Recording:
    """The exchanges of all connections that went through a tee."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.broken: list[str] = []
        self._lock = threading.Lock()

    def pump(self, client: socket.socket, server_port: int) -> None:
        """Carries one connection to its end."""
        server = socket.create_connection(("127.0.0.1", server_port))
        pairer = REDIS.make_pairer()
        back = threading.Thread(target=self._carry, args=(server, client, pairer, Sender.SERVER))
        back.start()
        self._carry(client, server, pairer, Sender.CLIENT)
        back.join()
        server.close()
        with self._lock:
            self.exchanges += pairer.finish(make_mark())
            if pairer.broken:
                self.broken.append(pairer.broken)

    def _carry(self, source: socket.socket, sink: socket.socket, pairer: Any, who: Sender) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                with self._lock:
                    self.exchanges += pairer.receive_data(who, data, make_mark())
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    @property
    def calls(self) -> list[Exchange]:
        return [exchange for exchange in self.exchanges if not exchange.is_session]

    def facts(self) -> list[Document]:
        return [
            {"request": exchange.request, "response": exchange.response}
            for exchange in self.exchanges
            if exchange.is_session
        ]


class RecordedAnswerer:
    """Answers by identity, repeated identities in recorded order: the matcher in small."""

    def __init__(self, exchanges: Sequence[Exchange]) -> None:
        self._answers: dict[str, deque[Document]] = defaultdict(deque)
        self._sessions: dict[str, Document] = {}
        self.misses: list[Document] = []
        self.told: list[Document] = []
        for exchange in exchanges:
            key = repr(REDIS.identity(exchange.request))
            if exchange.response is None:
                continue
            if exchange.is_session:
                self._sessions.setdefault(key, exchange.response)
            else:
                self._answers[key].append(exchange.response)

    @property
    def unused(self) -> int:
        return sum(map(len, self._answers.values()))

    def answer(self, request: Document) -> Document | Miss:
        answers = self._answers.get(repr(REDIS.identity(request)))
        if not answers:
            self.misses.append(request)
            return Miss(f"never recorded:\r\n{REDIS.describe(request)}")
        return answers.popleft()

    def peek(self, request: Document) -> bool:
        return bool(self._answers.get(repr(REDIS.identity(request))))

    def session(self, request: Document) -> Document | None:
        self.told.append(request)
        return self._sessions.get(repr(REDIS.identity(request)))


def make_mark() -> Mark:
    return Mark(time.time_ns(), threading.get_native_id())


@contextlib.contextmanager
def _listen(handler: Handler) -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []
    clients: list[socket.socket] = []

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                clients.append(client)
                threads.append(threading.Thread(target=handler, args=(client,)))
                threads[-1].start()

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield listener.getsockname()[1]
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        acceptor.join()
        listener.close()
        for client in clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()
        for client in clients:
            client.close()


@contextlib.contextmanager
def record(server_port: int) -> Iterator[tuple[int, Recording]]:
    """A tee before a server; the recording is whole when the context has ended."""
    recording = Recording()
    with _listen(lambda client: recording.pump(client, server_port)) as port:
        yield port, recording


@contextlib.contextmanager
def replay(recording: Recording) -> Iterator[tuple[int, RecordedAnswerer]]:
    """A server that has nothing but the recording."""
    answerer = RecordedAnswerer(recording.exchanges)
    facts = recording.facts()
    clients: dict[socket.socket, RedisServer] = {}

    def serve(client: socket.socket) -> None:
        clients[client] = REDIS.make_server(answerer, facts)
        _serve(client, clients)

    with _listen(serve) as port:
        yield port, answerer


def _serve(client: socket.socket, clients: dict[socket.socket, RedisServer]) -> None:
    session = clients[client]
    with contextlib.suppress(OSError):
        while not session.is_closed and (data := client.recv(65536)):
            client.sendall(session.receive_data(data))
            for news in session.take_news():
                for other, listener in clients.items():
                    if listener is not session and (heard := listener.hear(news)):
                        other.sendall(heard)
        client.shutdown(socket.SHUT_RDWR)
