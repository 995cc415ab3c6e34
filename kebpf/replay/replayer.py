"""Sends one recorded request to the application and reads its whole response."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from kebpf.protocols.base import Exchange, Mark, Pairer, ProtocolError, ProtocolSpec, Sender
from kebpf.protocols.registry import get_protocol
from kebpf.recording.model import TestCase
from kebpf.replay.binding import Bindings

DEFAULT_TIMEOUT_S = 30.0
READ_SIZE = 256 * 1024


class ReplayError(Exception):
    """No response, or not a whole one; the text is one sentence about the application."""


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


class Replayer:
    """Sends requests, each on a connection of its own, closed as soon as the response is whole.

    A fresh connection a request is on purpose: a kept one can be closed by the application just
    while the next request is on its way, which would be a failure that the recording never had,
    and a server with one worker would be held up by it.
    """

    def __init__(
        self,
        address: Address,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        find_protocol: Callable[[str], ProtocolSpec] = get_protocol,
    ) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._find_protocol = find_protocol

    async def send(self, case: TestCase, bindings: Bindings) -> Exchange:
        """The exchange that ``case``'s request leads to, this run's values put into it.

        Raises `ReplayError` if no whole response came within the time-out, or the case holds no
        request that can be sent.
        """
        spec = self._find_protocol(case.protocol)
        try:
            data = spec.write_request(bindings.hand_over(case.request))
        except ProtocolError as error:
            raise ReplayError(f"the recorded request cannot be written: {error}") from error
        watch = _Watch(spec.make_pairer())
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._exchange(data, watch)
        except TimeoutError:
            raise ReplayError(self._describe_timeout(watch)) from None

    async def _exchange(self, data: bytes, watch: _Watch) -> Exchange:
        reader, writer = await self._connect()
        try:
            writer.write(data)
            watch.sent(data)
            return await self._read(reader, watch)
        finally:
            writer.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            return await _open_connection(self._address)
        except ConnectionRefusedError:
            raise ReplayError(
                f"the application no longer accepts connections on {self._address}"
            ) from None
        except OSError as error:
            raise ReplayError(
                f"{self._address} could not be connected to: {error.strerror}"
            ) from error

    async def _read(self, reader: asyncio.StreamReader, watch: _Watch) -> Exchange:
        while True:
            try:
                data = await reader.read(READ_SIZE)
            except OSError as error:
                raise ReplayError(self._describe_break(watch, "reset", error)) from error
            exchange = watch.received(data) if data else watch.ended()
            if exchange is not None:
                return self._check(exchange)
            if not data:
                raise ReplayError(self._describe_break(watch, "closed", None))

    def _check(self, exchange: Exchange) -> Exchange:
        if exchange.problem is not None:
            raise ReplayError(f"the response is not whole: {exchange.problem}")
        if exchange.response is None:
            raise ReplayError("the application closed the connection without a response")
        return exchange

    def _describe_break(self, watch: _Watch, how: str, error: OSError | None) -> str:
        after = f"after {watch.received_size} bytes of" if watch.received_size else "without"
        reason = f" ({error.strerror})" if error is not None and error.strerror else ""
        return f"the application {how} the connection {after} a response{reason}"

    def _describe_timeout(self, watch: _Watch) -> str:
        got = f"only {watch.received_size} bytes of a" if watch.received_size else "no"
        return f"the application gave {got} response within {self._timeout_s:g} s"


async def _open_connection(
    address: Address,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if address.is_local:
        return await _open_local(address)
    if not address.mark:
        return await asyncio.open_connection(address.host, address.port)
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    connection = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, address.mark)
        target = (address.host, address.port)
        await asyncio.get_running_loop().sock_connect(connection, target)
        return await asyncio.open_connection(sock=connection)
    except BaseException:
        connection.close()
        raise


async def _open_local(address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if address.host.startswith("@"):
        return await asyncio.open_unix_connection("\0" + address.host[1:])
    # by a descriptor: with the root before it the path may be too long for a socket's address
    pinned = os.open(address.root + address.host, os.O_PATH | os.O_CLOEXEC)
    try:
        return await asyncio.open_unix_connection(f"/proc/self/fd/{pinned}")
    finally:
        os.close(pinned)


class _Watch:
    """Feeds the pairer with what goes over one connection."""

    def __init__(self, pairer: Pairer) -> None:
        self._pairer = pairer
        self._sent_size = 0
        self.received_size = 0

    def sent(self, data: bytes) -> None:
        self._pairer.receive_data(Sender.CLIENT, data, _mark(self._sent_size))
        self._sent_size += len(data)

    def received(self, data: bytes) -> Exchange | None:
        mark = _mark(self.received_size)
        self.received_size += len(data)
        return _first(self._pairer.receive_data(Sender.SERVER, data, mark))

    def ended(self) -> Exchange | None:
        """The application closed its end; that may be what completes a response."""
        found = self._pairer.receive_eof(Sender.SERVER, _mark(self.received_size))
        return _first(found or self._pairer.finish(_mark(self.received_size)))


def _mark(offset: int) -> Mark:
    return Mark(time.time_ns(), 0, offset)


def _first(exchanges: list[Exchange]) -> Exchange | None:
    return exchanges[0] if exchanges else None
