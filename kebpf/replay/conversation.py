"""Answers one connection of the application, whatever protocol it turns out to speak (sans-IO)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kebpf.protocols.base import (
    Answerer,
    AuthenticatingSession,
    CandidSession,
    Detection,
    Document,
    EncryptableSession,
    GivingWaySession,
    ProtocolSpec,
    ServerSession,
    TellingSession,
    WaitingSession,
)
from kebpf.recording.model import Tls
from kebpf.replay.routing import OPAQUE, Route
from kebpf.replay.stages import Answering

HEAD_SIZE_LIMIT = 16 * 1024  # who has not shown a protocol by then speaks none we know


class Conversation:
    """One connection: detects the protocol if the recording leaves it open, then serves it.

    What no protocol takes is answered as opaque bytes, so that even a call to a place that was
    never recorded is known to the matcher as a miss.  ``tls`` says that it is within TLS, and
    ``has_tls`` that it may come to be.  ``login`` is what clients log in with, if that is known.
    """

    def __init__(
        self,
        route: Route,
        matcher: Answering,
        protocols: Mapping[str, ProtocolSpec],
        tls: Tls | None = None,
        has_tls: bool = False,
        login: Any = None,
    ) -> None:
        self.route = route
        self.tls = tls
        self._has_tls = has_tls
        self._login = login
        self._has_begun = False
        self.protocol: str | None = None
        self.is_closed = False
        self._matcher = matcher
        self._protocols = protocols
        self._session: ServerSession | None = None
        self._giving_way: GivingWaySession | None = None
        self._telling: TellingSession | None = None
        self._candid: CandidSession | None = None
        self._waiting: WaitingSession | None = None
        self._head = b""
        if len(route.protocols) == 1:
            self._choose(route.protocols[0])

    @property
    def is_expected(self) -> bool:
        """Whether the recording knows the destination."""
        return bool(self.route.protocols)

    @property
    def is_opaque(self) -> bool:
        """Whether it matters how the bytes come cut: they show no protocol, or not yet."""
        return self.protocol in (None, OPAQUE)

    def open(self) -> bytes:
        """The connection is there; gives the greeting of a server that speaks first.

        Only bytes of an unknown protocol are greeted with: the others speak when spoken to.
        """
        is_greeted = self.protocol == OPAQUE and self.route.greets(self.tls is not None)
        return self._serve(b"") if is_greeted else b""

    @property
    def may_encrypt(self) -> bool:
        """Whether the client may begin TLS with what it sends next."""
        return self._has_tls and (not self._has_begun or self.protocol == OPAQUE)

    def receive_data(self, data: bytes) -> bytes:
        """Takes what the application sent; gives what to send back."""
        self._has_begun = True
        if self._session is None:
            self._head += data
            if not self._detect():
                return b""
            data, self._head = self._head, b""
        return self._serve(data)

    def receive_eof(self) -> bytes:
        """The application sends no more."""
        if self._session is None:
            return self.give_up()
        answer = self._session.receive_eof()
        self.is_closed = True
        return answer

    def give_up(self) -> bytes:
        """No more will come that could show a protocol: what came is answered as opaque bytes.

        A client that waits for the server to speak first is a miss too.
        """
        if self._session is not None:
            return b""
        self._choose(OPAQUE)
        if not self._head and not self.is_expected:
            self._report_silence()
            return b""
        head, self._head = self._head, b""
        answer = self._serve(head) if head else b""
        return answer + self.receive_eof()

    def take_news(self) -> Sequence[Document]:
        """What its client published since the last call."""
        return self._telling.take_news() if self._telling is not None else ()

    def take_problems(self) -> Sequence[str]:
        """What its session could not answer, though the recording was not asked for it."""
        return self._candid.take_problems() if self._candid is not None else ()

    def hear(self, teller: Conversation, news: Document) -> bytes:
        """What ``teller``'s client published: gives what to send for it, if it is for this one."""
        telling = self._telling
        is_near = self.protocol == teller.protocol
        if telling is None or not is_near or self.route.destination != teller.route.destination:
            return b""
        return telling.hear(news)

    @property
    def waits_s(self) -> float | None:
        """How long its client waits for an answer at most (0: for ever), if it is kept waiting."""
        return None if self._waiting is None else self._waiting.waits_s

    def resume(self) -> bytes:
        """Something was answered on another connection: what can be answered here by now."""
        return b"" if self._waiting is None else self._waiting.resume()

    def expire(self) -> bytes:
        """The time is over that its client would wait."""
        return b"" if self._waiting is None else self._waiting.expire()

    def _report_silence(self) -> None:
        self.is_closed = True
        self._matcher.for_destination(self.route.destination, OPAQUE).answer({"data": b""})

    def _serve(self, data: bytes) -> bytes:
        session = self._session
        assert session is not None
        answer = session.receive_data(data)
        self.is_closed = session.is_closed
        if self._giving_way is not None and self._giving_way.gives_way:
            self._begin_anew()
        return answer

    def _begin_anew(self) -> None:
        """What comes next is not the session's any more."""
        self._session = self._giving_way = self._telling = self._candid = self._waiting = None
        self.protocol, self._has_begun = None, False

    def _detect(self) -> bool:
        waiting = False
        for name in self._candidates():
            verdict = self._protocols[name].detect(self._head, b"")
            if verdict is Detection.YES:
                self._choose(name)
                return True
            waiting = waiting or verdict is Detection.NEED_MORE
        if waiting and len(self._head) < HEAD_SIZE_LIMIT:
            return False
        self._choose(OPAQUE)
        return True

    def _candidates(self) -> Iterable[str]:
        """What was recorded there comes first, then everything: a new version may have changed."""
        names = dict.fromkeys((*self.route.protocols, *self._protocols))
        return [name for name in names if name != OPAQUE]

    def _choose(self, name: str) -> None:
        destination, is_opaque = self.route.destination, name == OPAQUE
        facts: Sequence[Document]
        if is_opaque:
            facts = self.route.list_opaque(self.tls is not None)
        else:
            facts = self._matcher.facts_for(destination)
        answerer = self._matcher.for_destination(destination, name, self.tls)
        if is_opaque and not self.route.greets(self.tls is not None):
            answerer = _Unprompted(answerer)
        self.protocol = name
        self._session = self._protocols[name].make_server(answerer, facts)
        if isinstance(self._session, EncryptableSession):
            self._session.offers_tls = self._has_tls and self.route.offers_tls
        if self._login is not None and isinstance(self._session, AuthenticatingSession):
            self._session.login = self._login
        if isinstance(self._session, GivingWaySession):
            self._giving_way = self._session
        if isinstance(self._session, TellingSession):
            self._telling = self._session
        if isinstance(self._session, WaitingSession):
            self._waiting = self._session
        if isinstance(self._session, CandidSession):
            self._candid = self._session


class _Unprompted:
    """An `Answerer` that has no greeting: the one recorded is for connections of another kind."""

    def __init__(self, answerer: Answerer) -> None:
        self._answerer = answerer
        self.answer = answerer.answer
        self.peek = answerer.peek

    def session(self, request: Document) -> Document | None:
        """The recorded response to a session call but that to none."""
        return None if request.get("data") == b"" else self._answerer.session(request)
