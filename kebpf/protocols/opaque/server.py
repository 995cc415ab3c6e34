"""Answers one client of an unknown protocol with recorded bytes, turn by turn.

Without framing, only the recording can say where a request ends.  So ``facts`` should hold *every*
recorded exchange of the destination, not only the session ones: the bytes gathered so far are
compared with those requests, and the answerer is asked once a turn, when

* they are a recorded request (of several that fit, the longest), or
* they are no recorded request's beginning, so that the call differs and a miss is due, or
* the client closed its direction.

Thus reading a request in pieces never counts as a miss.  If ``facts`` hold no requests, what
arrived in one piece is taken for a whole request, and the answerer is asked about each piece.

The responder calls ``receive_data(b"")`` once when a connection opens, which gives the greeting;
otherwise it goes out with the first answer.  A protocol that is not known has no way to say
"error", so a miss closes the connection.
"""

from __future__ import annotations

from collections.abc import Sequence

from kebpf.protocols.base import Answerer, Document, Miss
from kebpf.protocols.opaque.pairer import MAX_TURN_SIZE


class OpaqueServer:
    """A server session (see `kebpf.protocols.base.ServerSession`)."""

    def __init__(self, answerer: Answerer, facts: Sequence[Document]) -> None:
        self.is_closed = False
        self._answerer = answerer
        self._known = {fact["request"]["data"] for fact in facts} - {b""}
        self._greeting = _find_greeting(facts)
        self._has_greeted = False
        self._gathered = bytearray()

    def receive_data(self, data: bytes) -> bytes:
        """Takes what the client sent and gives what to send back (maybe nothing yet)."""
        if self.is_closed:
            return b""
        answers = self._greet()
        self._gathered += data
        while self._gathered and not self.is_closed:
            size = self._measure_request()
            if size is None:
                break
            answers += self._answer(size)
        return answers

    def receive_eof(self) -> bytes:
        """The client closed its direction: what it said must be a whole request."""
        if self.is_closed:
            return b""
        answers = self._answer(len(self._gathered)) if self._gathered else b""
        self.is_closed = True
        return answers

    def _greet(self) -> bytes:
        if self._has_greeted:
            return b""
        self._has_greeted = True
        recorded = self._answerer.session({"data": b""}) or self._greeting
        return self._send(recorded) if recorded else b""

    def _measure_request(self) -> int | None:
        """How many of the gathered bytes are the next request; ``None``: it is not whole yet."""
        gathered = bytes(self._gathered)
        if gathered in self._known or not self._known or len(gathered) > MAX_TURN_SIZE:
            return len(gathered)
        if any(known.startswith(gathered) for known in self._known):
            return None
        return max(
            (len(known) for known in self._known if gathered.startswith(known)),
            default=len(gathered),
        )

    def _answer(self, size: int) -> bytes:
        request = bytes(self._gathered[:size])
        del self._gathered[:size]
        answer = self._answerer.answer({"data": request})
        if isinstance(answer, Miss):
            self.is_closed = True
            return b""
        return self._send(answer)

    def _send(self, response: Document) -> bytes:
        self.is_closed = bool(response.get("close"))
        data: bytes = response["data"]
        return data


def _find_greeting(facts: Sequence[Document]) -> Document | None:
    greetings = (fact["response"] for fact in facts if fact["request"]["data"] == b"")
    return next((greeting for greeting in greetings if greeting), None)
