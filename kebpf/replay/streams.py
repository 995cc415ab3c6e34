"""One of the application's connections, as the responder's event loop has it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Protocol, cast

from kebpf.protocols.tls.hello import begins_client_hello
from kebpf.replay.conversation import Conversation
from kebpf.replay.routing import Route
from kebpf.replay.tlsend import TlsEnd, TlsError

FIRST_PIECE = 1024  # bytes of what came at once are answered before more of it is looked at
LARGE_ANSWER = 64 * 1024  # bytes, by default what is kept for a client that does not read
_HANDSHAKE = 22  # the first byte of TLS


class Host(Protocol):
    """What the connections ask of the responder that they are of."""

    silence_s: float
    waiting: dict[Stream, None]

    def open_conversation(
        self, transport: str, peer: tuple[str, int], own: tuple[str, int] | None = None, /
    ) -> Conversation | None: ...
    def open_local(self, route: Route, /) -> Conversation | None: ...
    def open_tls(
        self, conversation: Conversation, peer: tuple[str, int] | None, own: tuple[str, int], /
    ) -> TlsEnd | None: ...
    def end_tls(self, conversation: Conversation, end: TlsEnd, /) -> None: ...
    def enter_tls(self, conversation: Conversation, end: TlsEnd, /) -> Conversation: ...
    def note_refusal(self, conversation: Conversation, end: TlsEnd, error: TlsError, /) -> None: ...
    def serve(
        self, conversation: Conversation, call: Callable[..., bytes], /, *arguments: object
    ) -> bytes | None: ...
    def track(self, transport: asyncio.Transport, stream: Stream, /) -> None: ...
    def forget(self, transport: asyncio.Transport, /) -> None: ...
    def spread_news(self, teller: Conversation, /) -> None: ...
    def resume_waiting(self, but: Stream, /) -> None: ...


class Stream(asyncio.Protocol):
    """One connection; while its answers back up, nothing more is read from it.

    With ``route`` it came to a Unix socket, else it was redirected.
    """

    def __init__(self, responder: Host, route: Route | None = None) -> None:
        self._responder = responder
        self._route = route
        self._transport: asyncio.Transport | None = None
        self.conversation: Conversation | None = None
        self._tls: TlsEnd | None = None
        self._head = b""  # what may be the beginning of TLS
        self._silence: asyncio.TimerHandle | None = None
        self._unread = b""  # of what came: the client does not read its answers
        self._patience: asyncio.TimerHandle | None = None  # of a client that waits
        self._is_waiting = False
        self._is_full = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.conversation = self._open(transport)
        self._responder.track(transport, self)
        if self.conversation is None:
            transport.abort()
            return
        self._greet(self.conversation)

    def _greet(self, conversation: Conversation) -> None:
        self._answer(conversation, conversation.open)
        if not conversation.is_expected:
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
        conversation = self.conversation
        if conversation is None:
            return
        if self._tls is not None:
            self._decrypt(self._tls, conversation, data)
        elif (data[0] == _HANDSHAKE or self._head) and conversation.may_encrypt:
            self._look_for_tls(conversation, self._head + data)
        else:
            self._receive(conversation, data)

    def _look_for_tls(self, conversation: Conversation, data: bytes) -> None:
        verdict = begins_client_hello(data)
        self._head = data if verdict is None else b""
        if verdict is None:
            return
        self._tls = self._open_tls(conversation) if verdict else None
        if self._tls is None:
            self._receive(conversation, data)
        else:
            self._cancel_silence()
            self._decrypt(self._tls, conversation, data)

    def _open_tls(self, conversation: Conversation) -> TlsEnd | None:
        transport = self._transport
        if transport is None:
            return None
        ends = [transport.get_extra_info(name) for name in ("peername", "sockname")]
        is_local = self._route is not None
        return self._responder.open_tls(
            conversation, None if is_local else ends[0][:2], ends[1][:2]
        )

    def _decrypt(self, tls: TlsEnd, conversation: Conversation, data: bytes) -> None:
        """Takes what came encrypted; behind the handshake the connection begins anew."""
        was_open = tls.is_open
        try:
            plaintext = tls.receive(data)
        except TlsError as error:
            self._responder.note_refusal(conversation, tls, error)
            self._end_refused(tls)
            return
        self._send(tls.take_unsent())
        if tls.is_open and not was_open:
            conversation = self.conversation = self._responder.enter_tls(conversation, tls)
            self._greet(conversation)
        if plaintext:
            self._receive(conversation, plaintext)
        if tls.is_ended:
            self._answer(conversation, conversation.receive_eof)

    def _end_refused(self, tls: TlsEnd) -> None:
        self._send(tls.take_unsent())  # an alert, if it is us who refuse
        if self._transport is not None:
            self._transport.close()

    def _send(self, data: bytes) -> None:
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def write(self, data: bytes) -> None:
        """Sends something, encrypted if the connection is."""
        self._send(data if self._tls is None else self._tls.send(data))

    def _receive(self, conversation: Conversation, data: bytes) -> None:
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
        conversation = self.conversation
        if conversation is None:
            return False
        if self._head:
            self._receive(conversation, self._head)
        self._answer(conversation, conversation.receive_eof)
        return False

    def _give_up(self) -> None:
        conversation = self.conversation
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
            transport.write(answer if self._tls is None else self._tls.send(answer))
        if conversation.is_closed:
            self._close(transport)
        self._responder.spread_news(conversation)
        self._keep_waiting(conversation, has_answered=bool(answer))
        if answer:
            self._responder.resume_waiting(self)
        return len(answer)

    def _close(self, transport: asyncio.Transport) -> None:
        if self._tls is not None and self._tls.is_open:
            self._send(self._tls.close())
        transport.close()

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
        if self.conversation is not None:
            self._answer(self.conversation, self.conversation.resume)

    def _expire(self) -> None:
        if self.conversation is not None:
            self._answer(self.conversation, self.conversation.expire)

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
        if self.conversation is not None and self._unread:
            self._take(self.conversation, self._unread)
        if self._is_full or self._transport is None or self._transport.is_closing():
            return
        self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        conversation = self.conversation
        if exc is not None and conversation is not None and not conversation.is_closed:
            self._responder.serve(conversation, conversation.receive_eof)  # a reset is an end too
        if self._tls is not None and conversation is not None:
            self._responder.end_tls(conversation, self._tls)
        self._cancel_silence()
        self._cancel_waiting()
        if self._transport is not None:
            self._responder.forget(self._transport)
        self._transport = None


class Datagrams(asyncio.DatagramProtocol):
    """A datagram socket: each datagram is a conversation of its own."""

    def __init__(self, responder: Host, route: Route | None = None) -> None:
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
