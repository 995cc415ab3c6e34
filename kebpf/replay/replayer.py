"""Sends one recorded request to the application and reads its whole response."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from kebpf.protocols.base import (
    Document,
    Exchange,
    Mark,
    Pairer,
    ProtocolError,
    ProtocolSpec,
    Sender,
)
from kebpf.protocols.registry import get_protocol
from kebpf.recording.model import TestCase
from kebpf.replay.binding import Bindings
from kebpf.replay.connection import Address, Connection
from kebpf.replay.encryptedconnection import EncryptedConnection, HandshakeError

DEFAULT_TIMEOUT_S = 30.0
_KEPT = "; when it was recorded, another request followed on it"


class ReplayError(Exception):
    """No response, or not a whole one; the text is one sentence about the application."""


class _TimeUpError(Exception):
    pass


class Replayer:
    """Sends one request on a connection of its own, closed as soon as the response is whole.

    A fresh connection a request is on purpose: a kept one can be closed by the application just
    while the next request is on its way, which would be a failure that the recording never had,
    and a server with one worker would be held up by it.

    Where the recording and the response say that the connection goes on, it is left open: for
    `find_sequel`, until `close`.
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
        self._connection: Connection | None = None
        self._is_kept = False

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
        connection = Connection() if case.tls is None else EncryptedConnection(case.tls)
        self._connection = connection
        watch = _Watch(spec.make_pairer())
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._timeout_s, connection.fail, _TimeUpError())
        try:
            await self._connect(connection)
            connection.write(data)
            watch.sent(data)
            exchange = await self._read(connection, watch)
            self._is_kept = case.is_kept_open and _is_persistent(exchange.response or {})
            return exchange
        except _TimeUpError:
            raise ReplayError(self._describe_timeout(watch)) from None
        finally:
            timer.cancel()
            if not self._is_kept:
                connection.close()

    @property
    def is_kept(self) -> bool:
        """Whether the connection is open and is to stay so."""
        return self._is_kept

    def find_sequel(self) -> str | None:
        """What the application did by now to a connection that was to stay open."""
        if not self._is_kept or self._connection is None:
            return None
        try:
            data = self._connection.peek()
        except (OSError, HandshakeError) as error:
            text = error.strerror if isinstance(error, OSError) else error
            reason = f" ({text})" if text else ""
            return f"the application reset the connection behind its response{reason}{_KEPT}"
        if data is None:
            return None
        if data:
            return f"the application sent {len(data)} bytes behind its response"
        return f"the application closed the connection behind its response{_KEPT}"

    def close(self) -> None:
        """Ends what was left open."""
        if self._connection is not None:
            self._connection.close()
        self._is_kept = False

    def give_up(self) -> None:
        """No response will come any more: what is being sent fails with `ReplayError`."""
        if self._connection is not None:
            self._connection.fail(ReplayError("no response can come any more"))

    async def _connect(self, connection: Connection) -> None:
        try:
            await connection.connect(self._address)
        except HandshakeError as error:
            raise ReplayError(
                f"the request was recorded over TLS, and {self._address} speaks none that could "
                f"be agreed on: {error}"
            ) from error
        except ConnectionRefusedError:
            raise ReplayError(
                f"the application no longer accepts connections on {self._address}"
            ) from None
        except OSError as error:
            raise ReplayError(
                f"{self._address} could not be connected to: {error.strerror}"
            ) from error

    async def _read(self, connection: Connection, watch: _Watch) -> Exchange:
        while True:
            try:
                data = await connection.read()
            except (OSError, HandshakeError) as error:
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

    def _describe_break(self, watch: _Watch, how: str, error: Exception | None) -> str:
        after = f"after {watch.received_size} bytes of" if watch.received_size else "without"
        text = error.strerror if isinstance(error, OSError) else error
        reason = f" ({text})" if text else ""
        return f"the application {how} the connection {after} a response{reason}"

    def _describe_timeout(self, watch: _Watch) -> str:
        got = f"only {watch.received_size} bytes of a" if watch.received_size else "no"
        return f"the application gave {got} response within {self._timeout_s:g} s"


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


def _is_persistent(response: Document) -> bool:
    """Whether a response lets its connection go on (RFC 9112, 9.3)."""
    options = [
        word.strip().lower()
        for name, value in response.get("headers", ())
        if str(name).lower() == "connection"
        for word in str(value).split(",")
    ]
    return response.get("version") == "1.1" and "close" not in options


def _mark(offset: int) -> Mark:
    return Mark(time.time_ns(), 0, offset)


def _first(exchanges: list[Exchange]) -> Exchange | None:
    return exchanges[0] if exchanges else None
