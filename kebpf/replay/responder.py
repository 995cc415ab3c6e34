"""Takes the application's redirected connections and answers them from the recording."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from kebpf.kernel.interception import HOOK_PORT
from kebpf.protocols.base import ProtocolSpec
from kebpf.protocols.postgres.scram import Login
from kebpf.protocols.registry import load_protocols
from kebpf.replay.conversation import Conversation
from kebpf.replay.doors import Doors
from kebpf.replay.limits import raise_open_files
from kebpf.replay.localsockets import LocalSockets
from kebpf.replay.refusals import Refusals
from kebpf.replay.routing import OPAQUE, Route, Routes
from kebpf.replay.stages import Answering, Discerning, Redirect, ResponderPorts
from kebpf.replay.streams import Datagrams, Stream
from kebpf.replay.tlsend import Encryption, TlsEnd, TlsError

SILENCE_S = 1.0  # a client that says nothing for so long to a place never recorded waits for us
SETTLE_S = 5.0
SETTLE_STEP_S = 0.005
SETTLE_ROUNDS = 64  # of the loop, each of which takes one datagram and all new connections
BACKLOG = 4096  # the kernel's own limit is usually the same
MOST_NEWS = 32 << 20  # bytes kept for one that does not read its messages (Redis's own limit)
DATAGRAM_PROTOCOLS = ("dns", OPAQUE)
LOOPBACK4, LOOPBACK6 = "127.0.0.1", "::1"
_NO_IPV6 = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


@dataclass(frozen=True, slots=True)
class ConnectionProblem:
    """A connection that the responder could not serve, and why; never the application's bytes."""

    destination: str
    protocol: str
    text: str


class Responder:
    """Servers on both loopback addresses, for TCP and UDP.

    Nothing that a client sends makes it raise: what goes wrong on a connection ends that
    connection and is kept in `take_problems`, to be reported.
    """

    def __init__(
        self,
        redirect: Redirect,
        matcher: Answering,
        routes: Routes,
        protocols: Mapping[str, ProtocolSpec] | None = None,
        silence_s: float = SILENCE_S,
        encryption: Encryption | None = None,
    ) -> None:
        self.silence_s = silence_s
        self.problem_count = 0
        self.foreign_count = 0  # connections from outside of the application, which were refused
        self.on_problem: Callable[[], None] | None = None
        self._redirect = redirect
        self._matcher = matcher
        self._routes = routes
        self._protocols = load_protocols() if protocols is None else protocols
        self._problems: list[ConnectionProblem] = []
        self._servers: list[asyncio.Server] = []
        self._datagrams: list[asyncio.DatagramTransport] = []
        self.refusals = Refusals()
        self.login = Login()
        self._encryption = encryption
        self._streams: dict[asyncio.Transport, Stream] = {}
        self.waiting: dict[Stream, None] = {}  # whose clients wait for an answer
        self._local = LocalSockets(partial(Stream, self), partial(Datagrams, self))

    @property
    def files(self) -> dict[Path, Path]:
        """The recorded paths of Unix sockets, and the sockets to be found there instead."""
        return self._local.files

    async def start(self) -> ResponderPorts:
        """Starts listening, on ports of the kernel's choice.  Raises ``OSError``."""
        raise_open_files()
        await self._local.open(self._routes.local)
        if isinstance(self._redirect, Doors):
            return await self._listen_at(self._redirect)
        tcp4, udp4 = await self._listen(LOOPBACK4)
        try:
            tcp6, udp6 = await self._listen(LOOPBACK6)
        except OSError as error:
            if error.errno not in _NO_IPV6:
                raise
            return ResponderPorts(tcp4, udp4)
        return ResponderPorts(tcp4, udp4, tcp6, udp6)

    async def _listen(self, host: str) -> tuple[int, int]:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Stream(self), host, 0, backlog=BACKLOG)
        self._servers.append(server)
        datagrams, _ = await loop.create_datagram_endpoint(
            lambda: Datagrams(self), local_addr=(host, 0)
        )
        self._datagrams.append(datagrams)
        return server.sockets[0].getsockname()[1], datagrams.get_extra_info("sockname")[1]

    async def _listen_at(self, doors: Doors) -> ResponderPorts:
        """The same where the sockets are made for us."""
        loop = asyncio.get_running_loop()
        destinations = self._routes.list_destinations()
        for door in doors.listen(destinations):
            self._servers.append(await loop.create_server(lambda: Stream(self), sock=door))
        self._datagrams += doors.open_datagrams(lambda: Datagrams(self), destinations)
        return ResponderPorts(HOOK_PORT, HOOK_PORT)

    async def close(self) -> None:
        """Stops listening and drops every connection."""
        for server in self._servers:
            server.close()
        await self._local.close()
        for stream in list(self._streams):
            stream.abort()
        for datagrams in self._datagrams:
            datagrams.close()
        for server in self._servers:
            await server.wait_closed()
        self._servers.clear()
        self._streams.clear()
        self._datagrams.clear()
        await asyncio.sleep(0)  # the transports' sockets close in the loop's next round

    async def settle(self, timeout_s: float = SETTLE_S) -> None:
        """Waits until all that clients which are gone by now had sent is answered.

        What came in is read in the loop's next rounds, a connection's last bytes before its end.
        """
        deadline = asyncio.get_running_loop().time() + timeout_s
        for _ in range(SETTLE_ROUNDS):
            await asyncio.sleep(0)
        while self._streams and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(SETTLE_STEP_S)

    def take_problems(self) -> list[ConnectionProblem]:
        """The problems since the last call."""
        problems, self._problems = self._problems, []
        return problems

    def open_conversation(
        self, transport: str, peer: tuple[str, int], own: tuple[str, int] | None = None
    ) -> Conversation | None:
        """The conversation for a socket whose own end is ``peer``; ``None`` if it has none.

        ``own`` is this end of it, which at a door is the destination.
        """
        protocols = self._protocols
        if transport == "udp":
            protocols = {name: protocols[name] for name in DATAGRAM_PROTOCOLS if name in protocols}
        with self.boundary(None, peer):
            is_at_door = own is not None and isinstance(self._redirect, Doors)
            meant = own if is_at_door else self._redirect.original_destination(transport, *peer)
            if meant is None and self._is_foreign(transport, peer, own):
                self.foreign_count += 1
                return None
            if meant is None:
                raise LookupError("it was not redirected here, so its destination is not known")
            route = self._routes.find(transport, *meant)
            return self._converse(route, protocols)
        return None

    def _converse(self, route: Route, protocols: Mapping[str, ProtocolSpec]) -> Conversation:
        has_tls = self._encryption is not None
        return Conversation(route, self._matcher, protocols, has_tls=has_tls, login=self.login)

    def open_tls(
        self, conversation: Conversation, peer: tuple[str, int] | None, own: tuple[str, int]
    ) -> TlsEnd | None:
        """This end of TLS for a client that begins it, if it can be had here."""
        if self._encryption is None:
            return None
        route = conversation.route
        end = self._encryption.open(route.destination.host, route.tls)
        if peer is not None:
            self.refusals.begin(str(route.destination), end, peer, own)
        return end

    def end_tls(self, conversation: Conversation, end: TlsEnd) -> None:
        """An encrypted connection is over."""
        self.refusals.end(str(conversation.route.destination), end)

    def enter_tls(self, conversation: Conversation, end: TlsEnd) -> Conversation:
        """The conversation within, once the handshake is done."""
        login = replace(self.login, certificate=end.certificate_hash)
        return Conversation(
            conversation.route, self._matcher, self._protocols, tls=end.facts, login=login
        )

    def note_refusal(self, conversation: Conversation, end: TlsEnd, error: TlsError) -> None:
        """A client and this end could not agree."""
        self._keep(self.refusals.explain(end, error), conversation, None)

    def _is_foreign(
        self, transport: str, peer: tuple[str, int], own: tuple[str, int] | None
    ) -> bool:
        """Whether somebody else on the host took one of our ports for a server's."""
        redirect = self._redirect
        if transport != "tcp" or own is None or not isinstance(redirect, Discerning):
            return False
        return redirect.is_foreign(peer, own)

    def open_local(self, route: Route) -> Conversation | None:
        """The conversation for a client of a Unix socket, which leads to one place only."""
        with self.boundary(None):
            return self._converse(route, self._protocols)
        return None

    def serve(
        self, conversation: Conversation, call: Callable[..., bytes], *arguments: object
    ) -> bytes | None:
        """What ``call`` answers; ``None`` after a failure, which is kept as by `boundary`."""
        try:
            answer = call(*arguments)
            for problem in conversation.take_problems():
                self._keep(problem, conversation, None)
            return answer
        except Exception as error:  # noqa: BLE001 - any failure of one connection stops here
            self._note(error, conversation, None)
            return None

    @contextlib.contextmanager
    def boundary(
        self, conversation: Conversation | None, peer: tuple[str, int] | None = None
    ) -> Iterator[None]:
        """The one place where whatever goes wrong on a connection is caught, counted and kept."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - any failure of one connection stops here
            self._note(error, conversation, peer)

    def _note(
        self, error: Exception, conversation: Conversation | None, peer: tuple[str, int] | None
    ) -> None:
        text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        self._keep(text, conversation, peer)

    def _keep(
        self, text: str, conversation: Conversation | None, peer: tuple[str, int] | None
    ) -> None:
        self.problem_count += 1
        route: Route | None = conversation.route if conversation else None
        protocol = (conversation.protocol if conversation else None) or "unknown"
        where = str(route.destination) if route else f"from {peer[0]}:{peer[1]}" if peer else ""
        self._problems.append(ConnectionProblem(where, protocol, text))
        if self.on_problem is not None:
            self.on_problem()

    def track(self, transport: asyncio.Transport, stream: Stream) -> None:
        """A connection was opened."""
        self._streams[transport] = stream

    def forget(self, transport: asyncio.Transport) -> None:
        """A connection was closed."""
        self._streams.pop(transport, None)

    def spread_news(self, teller: Conversation) -> None:
        """Sends what one client published to those that wait for it at the same destination."""
        for news in teller.take_news():
            for transport, stream in list(self._streams.items()):
                conversation = stream.conversation
                if conversation is None or conversation is teller or transport.is_closing():
                    continue
                heard = self.serve(conversation, conversation.hear, teller, news)
                if heard:
                    self._send_news(transport, stream, heard)

    def resume_waiting(self, but: Stream) -> None:
        """Something was answered: others may have waited for that."""
        for stream in [one for one in self.waiting if one is not but]:
            stream.resume()

    def _send_news(self, transport: asyncio.Transport, stream: Stream, data: bytes) -> None:
        if transport.get_write_buffer_size() + len(data) > MOST_NEWS:
            error = BufferError("it does not read what it listens to")
            self._note(error, stream.conversation, None)
            transport.abort()
            return
        stream.write(data)
