"""DNS over UDP and TCP, as watched and served."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kebpf.protocols.base import Answerer, Detection, Document
from kebpf.protocols.dns.detection import detect, resynchronise
from kebpf.protocols.dns.messages import SECTIONS, write_message
from kebpf.protocols.dns.pairing import DnsPairer
from kebpf.protocols.dns.server import DnsServer

MAX_DESCRIPTION = 100


class DnsSpec:
    """The protocol, as the registry hands it out.

    Documents hold no message ids, which are an affair of one socket; they are written as 0.
    """

    name = "dns"

    def detect(self, client: bytes, server: bytes) -> Detection:
        """Judges the heads of both directions."""
        return detect(client, server)

    def make_pairer(self, joined: bool = False) -> DnsPairer:
        """A pairer; whether it is UDP or TCP is seen from what comes first."""
        return DnsPairer(joined)

    def resynchronise(self, client: bytes, server: bytes) -> Detection:
        """Whether messages begin at byte 0."""
        return resynchronise(client, server)

    def make_server(self, answerer: Answerer, facts: Sequence[Document]) -> DnsServer:
        """A server; DNS has no session, so no facts are needed."""
        return DnsServer(answerer)

    def identity(self, request: Document) -> Document:
        """Name (lower case), type and class; all that is sent for other than queries."""
        questions = [{**q, "name": q["name"].lower()} for q in request.get("questions", [])]
        identity: Document = {"operation": " ".join(_titles(questions)) or "none"}
        if len(questions) == 1:
            identity |= questions[0]
        else:
            identity["questions"] = questions
        if "opcode" in request:
            identity["opcode"] = request["opcode"]
            identity |= {name: request[name] for name in SECTIONS if name in request}
        return identity

    def describe(self, request: Document) -> str:
        """Type and name, as ``A example.com``."""
        titles = ", ".join(_titles(request.get("questions", []))) or "no question"
        opcode = f"{request['opcode']} " if "opcode" in request else ""
        text = opcode + titles
        return text if len(text) <= MAX_DESCRIPTION else text[: MAX_DESCRIPTION - 1] + "…"

    def view(self, message: Document) -> Any:
        """Documents are plain as they are."""
        return message

    def write_request(self, request: Document) -> bytes:
        """The query, after its length if it went over TCP."""
        return _frame(write_message(request, 0, is_response=False), request)

    def write_response(self, response: Document) -> bytes:
        """The response, after its length if it came over TCP."""
        return _frame(write_message(response, 0, is_response=True), response)


def _titles(questions: Sequence[Document]) -> list[str]:
    return [f"{question['type']} {question['name']}" for question in questions]


def _frame(message: bytes, document: Document) -> bytes:
    if document.get("transport") != "tcp":
        return message
    return len(message).to_bytes(2, "big") + message


DNS = DnsSpec()
