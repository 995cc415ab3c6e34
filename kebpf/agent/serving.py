"""Answers who asks the agent: its status at a Unix socket, its metrics over HTTP."""

from __future__ import annotations

import os
import selectors
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

_BACKLOG = 64
_MOST_CLIENTS = 32
_MOST_REQUEST = 8192
_SECRET_MODE = 0o177  # umask: 0600
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(slots=True)
class _Client:
    socket: socket.socket
    request: bytearray = field(default_factory=bytearray)
    answer: bytes = b""


def bind_unix(path: Path) -> socket.socket:
    """A listening socket, 0600, in place of one that nobody answers at.  Raises ``OSError``."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    before = os.umask(_SECRET_MODE)
    try:
        _remove_stale(path)
        listener.bind(os.fspath(path))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(before)
    listener.setblocking(False)
    return listener


def _remove_stale(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        try:
            client.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink()
        except FileNotFoundError:
            return


def bind_address(address: Path | tuple[str, int]) -> socket.socket:
    """Raises ``OSError``."""
    if isinstance(address, Path):
        return bind_unix(address)
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


class Server:
    """One listening socket in somebody's selector; no client is ever waited for.

    With ``is_http`` a request is read first and the answer has a head.
    """

    def __init__(
        self,
        listener: socket.socket,
        selector: selectors.BaseSelector,
        answer: Callable[[], str],
        is_http: bool = False,
    ) -> None:
        self._listener = listener
        self._selector = selector
        self._answer = answer
        self._is_http = is_http
        self._clients: dict[int, _Client] = {}
        selector.register(listener, selectors.EVENT_READ, self._accept)

    def close(self) -> None:
        """Takes everything out of the selector, and a Unix socket's file away."""
        for client in list(self._clients.values()):
            self._drop(client)
        self._selector.unregister(self._listener)
        name = self._listener.getsockname()
        self._listener.close()
        if isinstance(name, str) and name:
            Path(name).unlink(missing_ok=True)

    def release(self) -> None:
        """In another process: closes the copies there, and nothing else."""
        self._listener.close()
        for client in self._clients.values():
            client.socket.close()

    def _accept(self, _: int) -> None:
        try:
            connection, _address = self._listener.accept()
        except OSError:
            return
        while len(self._clients) >= _MOST_CLIENTS:
            self._drop(next(iter(self._clients.values())))
        connection.setblocking(False)
        client = _Client(connection)
        self._clients[connection.fileno()] = client
        if self._is_http:
            self._selector.register(connection, selectors.EVENT_READ, lambda _: self._read(client))
        else:
            client.answer = self._answer().encode()
            self._selector.register(
                connection, selectors.EVENT_WRITE, lambda _: self._write(client)
            )

    def _read(self, client: _Client) -> None:
        try:
            data = client.socket.recv(_MOST_REQUEST)
        except BlockingIOError:
            return
        except OSError:  # also where it was dropped for another that came at the same moment
            data = b""
        client.request += data
        if not data or len(client.request) > _MOST_REQUEST:
            self._drop(client)
        elif b"\r\n\r\n" in client.request:
            client.answer = self._answer_http(bytes(client.request))
            self._selector.modify(
                client.socket, selectors.EVENT_WRITE, lambda _: self._write(client)
            )

    def _answer_http(self, request: bytes) -> bytes:
        words = request.split(b"\r\n", 1)[0].split(b" ")
        if len(words) != 3 or words[0] not in (b"GET", b"HEAD"):
            return _pack("405 Method Not Allowed", b"")
        if words[1].partition(b"?")[0] not in (b"/metrics", b"/"):
            return _pack("404 Not Found", b"")
        body = self._answer().encode()
        whole = _pack("200 OK", body)
        return whole if words[0] == b"GET" else whole[: len(whole) - len(body)]

    def _write(self, client: _Client) -> None:
        try:
            sent = client.socket.send(client.answer)
        except BlockingIOError:
            return
        except OSError:
            self._drop(client)
            return
        client.answer = client.answer[sent:]
        if not client.answer:
            self._drop(client)

    def _drop(self, client: _Client) -> None:
        if client.socket.fileno() < 0:
            return
        self._clients.pop(client.socket.fileno(), None)
        self._selector.unregister(client.socket)
        with suppress(OSError):
            client.socket.shutdown(socket.SHUT_WR)
        client.socket.close()


def _pack(status: str, body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {METRICS_TYPE}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
