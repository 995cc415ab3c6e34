"""Sockets for the tests: a tee that records a real server, and a server of recorded answers."""

from __future__ import annotations

import socket
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from kebpf.protocols.base import Document, Exchange, Mark, Miss, Sender
from kebpf.protocols.postgres import POSTGRES

Piece = tuple[Sender, bytes, int]


@dataclass
class Tape:
    """The pieces of one connection in the order they were moved."""

    pieces: list[Piece] = field(default_factory=list)

    def exchanges(self, joined: bool = False) -> list[Exchange]:
        return pair(self.pieces, joined)


def pair(pieces: list[Piece], joined: bool = False) -> list[Exchange]:
    """The exchanges a pairer finds in whole streams."""
    pairer = POSTGRES.make_pairer(joined)
    found: list[Exchange] = []
    for sender, data, time_ns in pieces:
        found += pairer.receive_data(sender, data, Mark(time_ns))
    found += pairer.finish(Mark(2**62))
    return found


def _serve(listener: socket.socket, handle: Callable[[socket.socket], None]) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=handle, args=(connection,), daemon=True).start()


@contextmanager
def _listening(handle: Callable[[socket.socket], None]) -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=_serve, args=(listener, handle), daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


@contextmanager
def tee(server_port: int) -> Iterator[tuple[int, list[Tape]]]:
    """A port that leads to the server, and what passes through it, a tape a connection."""
    tapes: list[Tape] = []
    open_pumps: list[threading.Thread] = []

    def handle(client: socket.socket) -> None:
        server = socket.create_connection(("127.0.0.1", server_port))
        tape = Tape()
        tapes.append(tape)
        lock = threading.Lock()
        back = threading.Thread(
            target=_pump, args=(server, client, Sender.SERVER, tape, lock), daemon=True
        )
        open_pumps.append(back)
        back.start()
        _pump(client, server, Sender.CLIENT, tape, lock)
        back.join()
        client.close()
        server.close()

    with _listening(handle) as port:
        yield port, tapes
        for pump in open_pumps:
            pump.join(10)


def _pump(
    source: socket.socket, sink: socket.socket, sender: Sender, tape: Tape, lock: threading.Lock
) -> None:
    try:
        while data := source.recv(65536):
            with lock:
                tape.pieces.append((sender, data, time.time_ns()))
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        return


def key_of(request: Document) -> str:
    return repr(POSTGRES.identity(request))


class RecordedAnswerer:
    """Answers from recorded exchanges: calls in their order, session matters without end."""

    def __init__(self, exchanges: list[Exchange]) -> None:
        self._calls: defaultdict[str, deque[Document]] = defaultdict(deque)
        self._sessions: dict[str, Document] = {}
        self._by_sql: dict[str, Document] = {}
        self.misses: list[Document] = []
        self.told: list[Document] = []
        for exchange in exchanges:
            if exchange.response is not None and exchange.problem is None:
                self._add(exchange, exchange.response)

    def _add(self, exchange: Exchange, response: Document) -> None:
        if exchange.is_session:
            self._sessions.setdefault(key_of(exchange.request), response)
        else:
            self._calls[key_of(exchange.request)].append(response)
        sql = exchange.request.get("sql")
        if sql is not None and exchange.request["kind"] == "query":
            self._by_sql.setdefault(sql, response)

    def answer(self, request: Document) -> Document | Miss:
        recorded = self._calls[key_of(request)]
        if recorded:
            return recorded.popleft()
        self.misses.append(request)
        return Miss(f"never recorded: {POSTGRES.describe(request)}")

    def peek(self, request: Document) -> bool:
        return bool(self._calls[key_of(request)])

    def session(self, request: Document) -> Document | None:
        self.told.append(request)
        found = self._sessions.get(key_of(request))
        if found is None and request["kind"] == "describe":
            found = self._by_sql.get(request["sql"])
        return found

    @property
    def unused(self) -> list[str]:
        return [key for key, responses in self._calls.items() if responses]


@contextmanager
def responder(answerer: RecordedAnswerer, facts: list[Document] | None = None) -> Iterator[int]:
    """A port where every connection is served from ``answerer``."""
    lock = threading.Lock()

    def handle(client: socket.socket) -> None:
        session = POSTGRES.make_server(answerer, facts or [])
        with client:
            while not session.is_closed and (data := client.recv(65536)):
                with lock:
                    out = session.receive_data(data)
                client.sendall(out)

    with _listening(handle) as port:
        yield port


def facts_of(exchanges: list[Exchange]) -> list[Document]:
    """What the recording hands to `make_server`."""
    return [{"request": e.request, "response": e.response} for e in exchanges if e.is_session]


def replay(
    program: Callable[[int], Any], exchanges: list[Exchange]
) -> tuple[Any, RecordedAnswerer]:
    """What ``program`` gets from recorded answers."""
    answerer = RecordedAnswerer(exchanges)
    with responder(answerer, facts_of(exchanges)) as port:
        return program(port), answerer
