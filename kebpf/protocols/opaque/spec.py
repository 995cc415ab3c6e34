"""What is none of the known protocols, as a protocol of the registry."""

from __future__ import annotations

import re
from collections.abc import Sequence

from kebpf.protocols.base import Answerer, Detection, Document
from kebpf.protocols.opaque.pairer import NAME, OpaquePairer
from kebpf.protocols.opaque.server import OpaqueServer

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_OPERATION_SIZE = 32


class Opaque:
    """See `kebpf.protocols.base.ProtocolSpec`; documents are ``{"data": bytes}`` on both sides.

    A response also has ``"close": True`` when the server closed the connection after it.
    """

    name = NAME

    def detect(self, client: bytes, server: bytes) -> Detection:
        """Takes everything."""
        return Detection.YES

    def make_pairer(self, joined: bool = False) -> OpaquePairer:
        """A pairer; ``joined`` when the connection was open before anything was seen."""
        return OpaquePairer(joined)

    def resynchronise(self, client: bytes, server: bytes) -> Detection:
        """Takes everything: a turn may start anywhere."""
        return Detection.YES

    def make_server(self, answerer: Answerer, facts: Sequence[Document]) -> OpaqueServer:
        """A server session; ``facts`` should be all recorded exchanges of the destination."""
        return OpaqueServer(answerer, facts)

    def identity(self, request: Document) -> Document:
        """All bytes; ``operation`` is the first 32 of them."""
        return {"operation": repr(request["data"][:_OPERATION_SIZE]), "data": request["data"]}

    def describe(self, request: Document) -> str:
        """Size and first bytes."""
        data: bytes = request["data"]
        if not data:
            return "greeting"
        more = "…" if len(data) > 16 else ""
        return f"{len(data):,} bytes {data[:16]!r}{more}"

    def view(self, message: Document) -> Document:
        """The data as text where it is printable UTF-8, else as bytes."""
        try:
            text = message["data"].decode()
        except UnicodeDecodeError:
            return {"data": message["data"]}
        return {"data": message["data"] if _CONTROL.search(text) else text}

    def write_request(self, request: Document) -> bytes:
        """The data."""
        data: bytes = request["data"]
        return data

    def write_response(self, response: Document) -> bytes:
        """The data."""
        data: bytes = response["data"]
        return data
