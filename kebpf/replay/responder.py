"""Takes the application's redirected connections and answers them from the recording."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

from kebpf.kernel.interception import HOOK_PORT
from kebpf.protocols.base import ProtocolSpec
from kebpf.protocols.registry import load_protocols
from kebpf.replay.conversation import Conversation
from kebpf.replay.doors import Doors
from kebpf.replay.limits import raise_open_files
from kebpf.replay.localsockets import LocalSockets
from kebpf.replay.routing import OPAQUE, Route, Routes
from kebpf.replay.stages import Answering, Discerning, Redirect, ResponderPorts

SILENCE_S = 1.0  # a client that says nothing for so long to a place never recorded waits for us
SETTLE_S = 5.0
SETTLE_STEP_S = 0.005
SETTLE_ROUNDS = 64  # of the loop, each of which takes one datagram and all new connections
BACKLOG = 4096  # the kernel's own limit is usually the same
FIRST_PIECE = 1024  # bytes of what came at once are answered before more of it is looked at
LARGE_ANSWER = 64 * 1024  # bytes, by default what is kept for a client that does not read
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
        self._streams: dict[asyncio.Transport, Conversation | None] = {}
        self.waiting: dict[_Stream, None] = {}  # whose clients wait for an answer
        self._local = LocalSockets(partial(_Stream, self), partial(_Datagrams, self))

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
        server = await loop.create_server(lambda: _Stream(self), host, 0, backlog=BACKLOG)
        self._servers.append(server)
        datagrams, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(self), local_addr=(host, 0)
        )
        self._datagrams.append(datagrams)
        return server.sockets[0].getsockname()[1], datagrams.get_extra_info("sockname")[1]

    async def _listen_at(self, doors: Doors) -> ResponderPorts:
        """The same where the sockets are made for us."""
        loop = asyncio.get_running_loop()
        destinations = self._routes.list_destinations()
        for door in doors.listen(destinations):
            self._servers.append(await loop.create_server(lambda: _Stream(self), sock=door))
        self._datagrams += doors.open_datagrams(lambda: _Datagrams(self), destinations)
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
            return Conversation(route, self._matcher, protocols)
        return None

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
            return Conversation(route, self._matcher, self._protocols)
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

    def track(self, transport: asyncio.Transport, conversation: Conversation | None) -> None:
        """A connection was opened."""
        self._streams[transport] = conversation

    def forget(self, transport: asyncio.Transport) -> None:
        """A connection was closed."""
        self._streams.pop(transport, None)

    def spread_news(self, teller: Conversation) -> None:
        """Sends what one client published to those that wait for it at the same destination."""
        for news in teller.take_news():
            for transport, conversation in list(self._streams.items()):
                if conversation is None or conversation is teller or transport.is_closing():
                    continue
                heard = self.serve(conversation, conversation.hear, teller, news)
                if heard:
                    self._send_news(transport, conversation, heard)

    def resume_waiting(self, but: _Stream) -> None:
        """Something was answered: others may have waited for that."""
        for stream in [one for one in self.waiting if one is not but]:
            stream.resume()

    def _send_news(
        self, transport: asyncio.Transport, conversation: Conversation, data: bytes
    ) -> None:
        if transport.get_write_buffer_size() + len(data) > MOST_NEWS:
            self._note(BufferError("it does not read what it listens to"), conversation, None)
            transport.abort()
            return
        transport.write(data)


class _Stream(asyncio.Protocol):
    """One connection; while its answers back up, nothing more is read from it.

    With ``route`` it came to a Unix socket, else it was redirected.
    """

    def __init__(self, responder: Responder, route: Route | None = None) -> None:
        self._responder = responder
        self._route = route
        self._transport: asyncio.Transport | None = None
        self._conversation: Conversation | None = None
        self._silence: asyncio.TimerHandle | None = None
        self._unread = b""  # of what came: the client does not read its answers
        self._patience: asyncio.TimerHandle | None = None  # of a client that waits
        self._is_waiting = False
        self._is_full = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._conversation = self._open(transport)
        self._responder.track(transport, self._conversation)
        if self._conversation is None:
            transport.abort()
            return
        self._answer(self._conversation, self._conversation.open)
        if not self._conversation.is_expected:
            loop = asyncio.get_running_loop()
            self._silence = loop.call_later(self._responder.silence_s, self._give_up)

    def _open(self, transport: asyncio.Transport) -> Conversation | None:
        if self._route is not None:
            return self._responder.open_local(self._route)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = transport.get_extra_info("peername")[:2]
        own = transport.get_extra_info("sockname")[:2]
        return self._responder.open_conversation("tcp", peer, own)

    def data_received(self, data: bytes) -> None:
        conversation = self._conversation
        if conversation is None:
            return
        if len(data) <= FIRST_PIECE or conversation.is_opaque:
            self._answer(conversation, conversation.receive_data, data)
        else:
            self._take(conversation, data)
        if self._silence is not None and conversation.protocol is not None:
            self._cancel_silence()

    def _take(self, conversation: Conversation, data: bytes) -> None:
        """Answers what came piece by piece, as far as the client reads the answers."""
        size, at = FIRST_PIECE, 0
        while at < len(data) and not self._is_full:
            piece = data[at : at + size]
            at += size
            answer = self._answer(conversation, conversation.receive_data, piece)
            size = FIRST_PIECE if answer > LARGE_ANSWER else 2 * size
        self._unread = data[at:]

    def eof_received(self) -> bool:
        conversation = self._conversation
        if conversation is not None:
            self._answer(conversation, conversation.receive_eof)
        return False

    def _give_up(self) -> None:
        conversation = self._conversation
        if conversation is not None:
            self._answer(conversation, conversation.give_up)

    def _answer(
        self, conversation: Conversation, call: Callable[..., bytes], *arguments: object
    ) -> int:
        """Sends what ``call`` answers; how many bytes that were."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return 0
        answer = self._responder.serve(conversation, call, *arguments)
        if answer is None:
            transport.abort()
            return 0
        if answer:
            transport.write(answer)
        if conversation.is_closed:
            transport.close()
        self._responder.spread_news(conversation)
        self._keep_waiting(conversation, has_answered=bool(answer))
        if answer:
            self._responder.resume_waiting(self)
        return len(answer)

    def _keep_waiting(self, conversation: Conversation, has_answered: bool) -> None:
        """Its client waits for an answer, for so long at most (0: for ever), or no longer."""
        seconds = conversation.waits_s
        if has_answered or seconds is None:
            self._cancel_waiting()
        if seconds is None or self._is_waiting:
            return
        self._is_waiting = True
        self._responder.waiting[self] = None
        if seconds:
            self._patience = asyncio.get_running_loop().call_later(seconds, self._expire)

    def resume(self) -> None:
        """Gives the client the answer it waits for, if that is due by now."""
        if self._conversation is not None:
            self._answer(self._conversation, self._conversation.resume)

    def _expire(self) -> None:
        if self._conversation is not None:
            self._answer(self._conversation, self._conversation.expire)

    def _cancel_waiting(self) -> None:
        self._is_waiting = False
        self._responder.waiting.pop(self, None)
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _cancel_silence(self) -> None:
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None

    def pause_writing(self) -> None:
        self._is_full = True
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._is_full = False
        if self._conversation is not None and self._unread:
            self._take(self._conversation, self._unread)
        if self._is_full or self._transport is None or self._transport.is_closing():
            return
        self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_silence()
        self._cancel_waiting()
        if self._transport is not None:
            self._responder.forget(self._transport)
        self._transport = None


class _Datagrams(asyncio.DatagramProtocol):
    """A datagram socket: each datagram is a conversation of its own."""

    def __init__(self, responder: Responder, route: Route | None = None) -> None:
        self._responder = responder
        self._route = route
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # asyncio's own one is not a subclass of DatagramTransport, so it cannot be asked
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int] | str | None) -> None:
        if self._route is not None:
            conversation = self._responder.open_local(self._route)
        else:
            assert isinstance(addr, tuple)
            conversation = self._responder.open_conversation("udp", addr[:2])
        if conversation is None or self._transport is None:
            return
        for call in (lambda: conversation.receive_data(data), conversation.receive_eof):
            answer = self._responder.serve(conversation, call)
            if answer is None:
                return
            if answer and addr:  # a Unix socket without a name is not to be answered
                self._transport.sendto(answer, addr)
            if conversation.is_closed:
                return
