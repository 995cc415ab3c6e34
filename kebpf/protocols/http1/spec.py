"""HTTP/1.0 and 1.1 as a protocol of the registry."""

from __future__ import annotations

from collections.abc import Sequence

from kebpf.protocols.base import Answerer, Detection, Document
from kebpf.protocols.http1 import detection, turns, writer
from kebpf.protocols.http1.identity import identify
from kebpf.protocols.http1.pairer import HttpPairer
from kebpf.protocols.http1.server import HttpServer
from kebpf.protocols.http1.view import describe_request, view_request, view_response


class Http1:
    """See `kebpf.protocols.base.ProtocolSpec`."""

    name = turns.NAME

    def detect(self, client: bytes, server: bytes) -> Detection:
        """Judges the first bytes of both directions of a connection seen from its start."""
        return detection.detect(client, server)

    def make_pairer(self, joined: bool = False) -> HttpPairer:
        """A pairer; ``joined`` when the connection was open before anything was seen."""
        return HttpPairer(joined)

    def resynchronise(self, client: bytes, server: bytes) -> Detection:
        """Whether a request line or a status line starts at byte 0."""
        return detection.resynchronise(client, server)

    def make_server(self, answerer: Answerer, facts: Sequence[Document]) -> HttpServer:
        """A server session; HTTP/1 has no session state, so ``facts`` are not needed."""
        return HttpServer(answerer)

    def identity(self, request: Document) -> Document:
        """The parts in which two calls must agree to be the same call."""
        return identify(request)

    def describe(self, request: Document) -> str:
        """``POST http://rates:8001/quote?x=1``, at most 100 characters."""
        return describe_request(request)

    def view(self, message: Document) -> Document:
        """A request or response with its body decoded as far as it goes."""
        return view_response(message) if "status" in message else view_request(message)

    def write_request(self, request: Document) -> bytes:
        """The request as bytes on the wire.  Raises ``ProtocolError``."""
        return writer.write_request(request)

    def write_response(self, response: Document) -> bytes:
        """The response, with its interim ones, as bytes on the wire.  Raises ``ProtocolError``."""
        return writer.write_response(response)
