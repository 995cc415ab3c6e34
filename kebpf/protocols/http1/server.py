"""Answers one client connection from a recording as an HTTP/1 server would (RFC 9112)."""

from __future__ import annotations

from kebpf.protocols.base import Answerer, Document, Mark, Miss, ProtocolError, Sender
from kebpf.protocols.http1 import framing
from kebpf.protocols.http1.grammar import get_tokens
from kebpf.protocols.http1.parser import HeadRead, Message, MessageParser
from kebpf.protocols.http1.writer import (
    correct_length,
    read_layout,
    write_chunked,
    write_cut,
    write_head,
    write_interim,
    write_status_line,
)

MISS_HEADER = "kebpf-miss"

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_START = Mark(0)


class HttpServer:
    """A server session: requests in (pipelined or not), recorded responses out.

    A call without a recorded answer gets ``502 Bad Gateway`` with the header ``kebpf-miss: 1``
    and the reason as its text; a malformed request gets 400 and the end of the connection.  Behind
    a CONNECT that succeeded whatever it is begins that the tunnel is for.
    """

    def __init__(self, answerer: Answerer) -> None:
        self.is_closed = False
        self.gives_way = False
        self._answerer = answerer
        self._parser = MessageParser(Sender.CLIENT)

    def receive_data(self, data: bytes) -> bytes:
        """Takes what the client sent and gives what to send back (maybe nothing yet)."""
        if self.is_closed:
            return b""
        self._parser.receive_data(data, _START)
        return self._answer_all()

    def receive_eof(self) -> bytes:
        """The client closed its direction; a request cut off in the middle gets no answer."""
        self.is_closed = True
        return b""

    def _answer_all(self) -> bytes:
        answers = bytearray()
        while not (self.is_closed or self.gives_way):
            try:
                event = self._parser.next_event()
            except ProtocolError as error:
                self.is_closed = True
                answers += _write_plain("400", "Bad Request", f"malformed request: {error}", True)
                break
            if event is None:
                break
            if isinstance(event, HeadRead):
                answers += self._invite(event.message)
            else:
                answers += self._answer(event.message)
        return bytes(answers)

    def _invite(self, request: Message) -> bytes:
        """100 Continue for a client that waits for it with its body (RFC 9110 section 10.1.1)."""
        is_asked = "100-continue" in get_tokens(request.head["headers"], "expect")
        is_waiting = request.framing != framing.NONE and not self._parser.buffer.data
        return _CONTINUE if is_asked and is_waiting and request.head["version"] != "1.0" else b""

    def _answer(self, message: Message) -> bytes:
        request = message.make_document()
        response = self._find_response(request)
        is_last = not framing.is_persistent(request["version"], request["headers"])
        try:
            if isinstance(response, Miss):
                written = _write_miss(request, response.reason, is_last)
            else:
                written, ends = _Answer(request, response).write()
                self.gives_way = framing.is_tunnel(request["method"], response["status"])
                is_last = (is_last or ends) and not self.gives_way
        except ProtocolError as error:
            written = _write_miss(request, f"the recorded response is unusable: {error}", is_last)
        self.is_closed = is_last
        return written

    def _find_response(self, request: Document) -> Document | Miss:
        opened = self._answerer.session(request) if request["method"] == "CONNECT" else None
        return opened or self._answerer.answer(request)


class _Answer:
    """One recorded response, written for the client that asks now."""

    def __init__(self, request: Document, response: Document) -> None:
        self._method: str = request["method"]
        self._is_old = request["version"] == "1.0"
        self._response = response
        self._is_cut: bool = response.get("is_cut", False)

    def write(self) -> tuple[bytes, bool]:
        """``(bytes, whether the connection ends after them)``.  Raises ``ProtocolError``."""
        response = self._response
        kind = self._choose_framing()
        headers = self._fit_headers(kind)
        layout = read_layout(response) if len(headers) == len(response["headers"]) else {}
        start = write_status_line(response, response["version"], layout)
        head = self._write_interims() + write_head(start, headers, layout)
        is_last = (
            kind == framing.CLOSE
            or self._is_cut
            or framing.is_switch(self._method, response["status"])
            or not framing.is_persistent(response["version"], headers)
        )
        return head + self._write_body(kind), is_last

    def _choose_framing(self) -> str:
        """As recorded, where this client can read it (HTTP/1.0 does not know chunked)."""
        kind: str = self._response["framing"]
        if not framing.has_body(self._response["status"], self._method):
            return framing.NONE
        if kind == framing.CHUNKED and self._is_old:
            return framing.CLOSE
        return framing.LENGTH if kind == framing.NONE else kind

    def _fit_headers(self, kind: str) -> list[list[str]]:
        headers: list[list[str]] = self._response["headers"]
        if kind == framing.LENGTH and not self._is_cut:
            return correct_length(headers, len(self._response["body"]))
        if kind == framing.CLOSE and self._is_old:
            return [pair for pair in headers if pair[0].lower() != "transfer-encoding"]
        return headers

    def _write_interims(self) -> bytes:
        """Recorded 1xx but 100, which is sent (or not) as this client asks."""
        if self._is_old:
            return b""
        return b"".join(
            write_interim(interim, self._response["version"])
            for interim in self._response.get("interim", ())
            if interim["status"] != 100
        )

    def _write_body(self, kind: str) -> bytes:
        body: bytes = self._response["body"]
        if kind == framing.NONE:
            return b""
        if self._is_cut:
            return write_cut(body, kind)
        if kind == framing.CHUNKED:
            return write_chunked(body, self._response["trailers"])
        return body


def _write_miss(request: Document, reason: str, is_last: bool) -> bytes:
    answer = _write_plain("502", "Bad Gateway", reason, is_last, f"{MISS_HEADER}: 1\r\n")
    if request["method"] == "HEAD":
        return answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    return answer


def _write_plain(status: str, reason: str, text: str, is_last: bool, more: str = "") -> bytes:
    body = text.encode("utf-8", "replace")
    head = (
        f"HTTP/1.1 {status} {reason}\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\n"
        f"{more}{'Connection: close' + chr(13) + chr(10) if is_last else ''}\r\n"
    )
    return head.encode("latin-1") + body
