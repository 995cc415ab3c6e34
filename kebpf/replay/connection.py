"""One connection to the application, opened, written to and read with as little ado as can be."""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import dataclass

READ_SIZE = 64 * 1024
RETRY_S = 0.005  # until a Unix socket's queue is looked at again


@dataclass(frozen=True, slots=True)
class Address:
    """Where the application listens: host and port, or else the path of a Unix socket.

    ``mark`` is that of connections which are to get there; ``root`` the folder below which the
    path is the application's own.
    """

    host: str
    port: int = 0
    mark: int = 0
    root: str = ""

    @property
    def is_local(self) -> bool:
        """Whether it is a Unix socket."""
        return self.host.startswith(("/", "@"))

    def __str__(self) -> str:
        if self.is_local:
            return f"unix:{self.host}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Connection:
    """A connection of its own for one request: asyncio's streams take longer than the exchange.

    Not connected when it is made; to be closed by who made it.  One thing is waited for at a time.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._failure: Exception | None = None
        self._unsent = memoryview(b"")
        self._broken: OSError | None = None  # met while writing: what came can still be read

    async def connect(self, address: Address) -> None:
        """Raises ``OSError``, or what `fail` was called with."""
        self._socket = opened = _open_socket(address)
        error = _try_connect(opened, address)
        while isinstance(error, BlockingIOError) and address.is_local:
            self._loop.call_later(RETRY_S, self._wake)  # its queue is full
            await self._wait()
            error = _try_connect(opened, address)
        if isinstance(error, BlockingIOError):
            self._loop.add_writer(opened.fileno(), self._wake)
            await self._wait()
            self._loop.remove_writer(opened.fileno())
            number = opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            error = OSError(number, os.strerror(number)) if number else None
        if error is not None:
            raise error

    def write(self, data: bytes) -> None:
        """Sends it all, behind what is not sent yet, as the application takes it."""
        self._unsent = memoryview(bytes(self._unsent) + data if self._unsent else data)
        self._send()
        if self._unsent and self._socket is not None:
            self._loop.add_writer(self._socket.fileno(), self._send)

    def _send(self) -> None:
        opened = self._socket
        assert opened is not None
        try:
            self._unsent = self._unsent[opened.send(self._unsent) :]
        except BlockingIOError:
            return
        except OSError as error:
            self._broken, self._unsent = error, memoryview(b"")
        if not self._unsent:
            self._loop.remove_writer(opened.fileno())

    async def read(self) -> bytes:
        """What came next; nothing at its end.  Raises ``OSError``, or what `fail` was given."""
        opened = self._socket
        assert opened is not None
        self._loop.add_reader(opened.fileno(), self._wake)
        while True:
            await self._wait()  # also where more is there already: others have their turn
            try:
                data = opened.recv(READ_SIZE)
            except BlockingIOError:
                continue
            if not data and self._broken is not None:
                raise self._broken
            return data

    def peek(self) -> bytes | None:
        """What came and was not read, nothing at its end; ``None`` where nothing happened.

        Raises ``OSError``.
        """
        opened = self._socket
        assert opened is not None
        try:
            return opened.recv(READ_SIZE, socket.MSG_PEEK)
        except BlockingIOError:
            return None

    def fail(self, error: Exception) -> None:
        """Whatever is waited for ends with ``error``, now or as soon as it is."""
        self._failure = self._failure or error
        self._wake()

    def close(self) -> None:
        """At once, whatever is still to come."""
        opened, self._socket = self._socket, None
        if opened is not None:
            self._loop.remove_reader(opened.fileno())
            self._loop.remove_writer(opened.fileno())
            opened.close()

    async def _wait(self) -> None:
        if self._failure is None:
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self._failure is not None:
            raise self._failure

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


def _open_socket(address: Address) -> socket.socket:
    kind = socket.SOCK_STREAM | socket.SOCK_NONBLOCK
    if address.is_local:
        return socket.socket(socket.AF_UNIX, kind)
    opened = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET, kind)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if address.mark:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, address.mark)
    return opened


def _try_connect(opened: socket.socket, address: Address) -> OSError | None:
    """What it failed with; on the loopback interface it is as a rule done at once."""
    try:
        if not address.is_local:
            opened.connect((address.host, address.port))
        elif address.host.startswith("@"):
            opened.connect("\0" + address.host[1:])
        else:
            _connect_path(opened, address.root + address.host)
    except OSError as error:
        return error
    return None


def _connect_path(opened: socket.socket, path: str) -> None:
    """By a descriptor: with the root before it the path may be too long for an address."""
    pinned = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        opened.connect(f"/proc/self/fd/{pinned}")
    finally:
        os.close(pinned)
