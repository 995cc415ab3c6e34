"""Pairs queries and responses by id and question, whatever their order.

Lost bytes or datagrams can therefore leave a query unanswered, but never answered wrongly.

Looking up a name is a session matter: whether it happens at all depends on caches and on
connections that are open already, so it is answered whenever asked and never asserted.
"""

from __future__ import annotations

from dataclasses import dataclass

from kebpf.protocols.base import Document, Exchange, Mark, ProtocolError, Sender
from kebpf.protocols.dns.detection import Key, is_tcp_start, question_key
from kebpf.protocols.dns.framing import StreamFramer, read_whole
from kebpf.protocols.dns.messages import Message

MAX_OUTSTANDING = 4096  # queries without a response
MAX_ANSWERED = 4096  # keys remembered, to tell a response's copy from a stray one


@dataclass(slots=True)
class _Query:
    document: Document
    start: Mark
    end: Mark


class DnsPairer:
    """Watches one UDP socket pair or TCP connection."""

    def __init__(self, joined: bool = False) -> None:
        self.broken: str | None = None
        self._joined = joined
        self._is_tcp: bool | None = None
        self._framers: dict[Sender, StreamFramer] = {}
        self._outstanding: dict[Key, _Query] = {}
        self._answered: dict[Key, None] = {}

    def receive_data(self, sender: Sender, data: bytes, mark: Mark) -> list[Exchange]:
        """Takes one datagram, or the next bytes of a TCP direction."""
        if not data:
            return []
        if self._is_tcp is None:
            self._is_tcp = is_tcp_start(data)
            self._framers = {side: StreamFramer(not self._joined) for side in Sender}
        pieces = [(data, mark)]
        if self._is_tcp:
            pieces = self._framers[sender].receive(data, mark)
        exchanges: list[Exchange] = []
        for piece, start in pieces:
            exchanges += self._receive_message(sender, piece, start, mark)
        return exchanges

    def receive_gap(self, sender: Sender, size: int, mark: Mark) -> list[Exchange]:
        """Lost datagrams leave queries open; lost bytes of a stream end its framing."""
        if not self._is_tcp:
            self._joined = True
            return []
        was_idle = self._framers[sender].is_idle
        self._framers[sender].lose()
        if sender is Sender.SERVER or was_idle:
            return []
        return [self._make_problem({"questions": []}, mark, mark, "part of the query was lost")]

    def receive_eof(self, sender: Sender, mark: Mark) -> list[Exchange]:
        """A server that closed answers nothing more."""
        if sender is Sender.CLIENT:
            return []
        return self._flush("the server closed the connection before it answered")

    def finish(self, mark: Mark) -> list[Exchange]:
        """Gives the unanswered queries."""
        return self._flush("there was no response before the recording of it ended")

    def _receive_message(
        self, sender: Sender, data: bytes, start: Mark, end: Mark
    ) -> list[Exchange]:
        try:
            message = read_whole(data)
        except ProtocolError as error:
            problem = f"not a DNS message from the {sender.value}: {error}"
            return [self._make_problem({"questions": []}, start, end, problem)]
        message.document["transport"] = "tcp" if self._is_tcp else "udp"
        if message.is_response != (sender is Sender.SERVER):
            problem = f"the {sender.value} sent a {'response' if message.is_response else 'query'}"
            return [self._make_problem(message.document, start, end, problem)]
        if message.is_response:
            return self._receive_response(message, start, end)
        return self._receive_query(message, _Query(message.document, start, end))

    def _receive_query(self, message: Message, query: _Query) -> list[Exchange]:
        """A query sent again while it is open is the same call."""
        key = question_key(message)
        if key in self._outstanding:
            return []
        exchanges: list[Exchange] = []
        if len(self._outstanding) >= MAX_OUTSTANDING:
            oldest = self._outstanding.pop(next(iter(self._outstanding)))
            problem = "more queries wait for a response than the cap"
            exchanges = [self._make_problem(oldest.document, oldest.start, oldest.end, problem)]
        self._outstanding[key] = query
        return exchanges

    def _receive_response(self, message: Message, start: Mark, end: Mark) -> list[Exchange]:
        key = self._find_key(message)
        if key is None:
            return self._receive_stray(message, start, end)
        query = self._outstanding.pop(key)
        self._answered[key] = None
        if len(self._answered) > MAX_ANSWERED:
            del self._answered[next(iter(self._answered))]
        return [
            Exchange(
                protocol="dns",
                request=query.document,
                response=message.document,
                request_start=query.start,
                request_end=query.end,
                response_start=start,
                response_end=end,
                is_session=True,
            )
        ]

    def _find_key(self, message: Message) -> Key | None:
        """The open query it answers; an error may leave the question out if its id is unique."""
        key = question_key(message)
        if key in self._outstanding:
            return key
        if message.document["questions"]:
            return None
        same = [other for other in self._outstanding if other[0] == message.identifier]
        return same[0] if len(same) == 1 else None

    def _receive_stray(self, message: Message, start: Mark, end: Mark) -> list[Exchange]:
        """A copy of an answered response, or one to a query from before the recording, is none."""
        if question_key(message) in self._answered or self._joined:
            return []
        request = {"questions": message.document["questions"]}
        return [self._make_problem(request, start, end, "a response to a query that was not seen")]

    def _flush(self, problem: str) -> list[Exchange]:
        queries = list(self._outstanding.values())
        self._outstanding.clear()
        return [self._make_problem(q.document, q.start, q.end, problem) for q in queries]

    def _make_problem(self, request: Document, start: Mark, end: Mark, problem: str) -> Exchange:
        request.setdefault("transport", "tcp" if self._is_tcp else "udp")
        request.setdefault("flags", [])
        return Exchange("dns", request, None, start, end, is_session=True, problem=problem)
