"""The `ProtocolSpec` of PostgreSQL: detection, and the other modules under one name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kebpf.protocols.base import (
    Answerer,
    Detection,
    Document,
    Pairer,
    ProtocolError,
    ServerSession,
)
from kebpf.protocols.postgres import messages as m
from kebpf.protocols.postgres.framing import (
    BACKEND_KINDS,
    FRONTEND_KINDS,
    MAX_STARTUP_SIZE,
    FrameReader,
)
from kebpf.protocols.postgres.identity import describe, identity
from kebpf.protocols.postgres.pairing import PostgresPairer
from kebpf.protocols.postgres.parser import parse_backend, parse_frontend
from kebpf.protocols.postgres.replies import response_bytes
from kebpf.protocols.postgres.session import PostgresServer
from kebpf.protocols.postgres.view import view
from kebpf.protocols.postgres.writer import write, write_all

_REQUEST_CODES = {
    m.SSL_REQUEST_CODE: 8,
    m.GSSENC_REQUEST_CODE: 8,
    m.CANCEL_REQUEST_CODE: 16,
}
# Messages with nothing in them, which a short stream of noise could be taken for.
_EMPTY_CLIENT_KINDS = b"HSXc"


class PostgresSpec:
    """PostgreSQL's frontend/backend protocol, version 3."""

    name = "postgres"

    def detect(self, client: bytes, server: bytes) -> Detection:
        """By the untyped first packet of the client: its length and its code."""
        if len(client) < 8:
            is_possible = client[:2] in (b"", b"\0", b"\0\0")
            return Detection.NEED_MORE if is_possible else Detection.NO
        size, code = int.from_bytes(client[:4], "big"), int.from_bytes(client[4:8], "big")
        if code in _REQUEST_CODES:
            is_exact = size == _REQUEST_CODES[code]
            is_exact = is_exact or (code == m.CANCEL_REQUEST_CODE and 16 <= size <= 268)
            return Detection.YES if is_exact else Detection.NO
        is_startup = code >> 16 == 3 and code & 0xFFFF < 100 and 9 <= size <= MAX_STARTUP_SIZE
        return Detection.YES if is_startup else Detection.NO

    def make_pairer(self, joined: bool = False) -> Pairer:
        """A pairer; ``joined`` when the connection was open before anything was seen."""
        return PostgresPairer(joined)

    def resynchronise(self, client: bytes, server: bytes) -> Detection:
        """Whether whole messages stand at byte 0 of either direction."""
        verdicts = [
            _judge(client, FRONTEND_KINDS, parse_frontend),
            _judge(server, BACKEND_KINDS, parse_backend),
        ]
        if Detection.NO in verdicts:
            return Detection.NO
        return Detection.YES if Detection.YES in verdicts else Detection.NEED_MORE

    def make_server(self, answerer: Answerer, facts: Sequence[Document]) -> ServerSession:
        """A server session that answers from ``answerer``."""
        return PostgresServer(answerer, facts)

    def identity(self, request: Document) -> Document:
        """The parts in which two calls must agree to be the same call."""
        return identity(request)

    def describe(self, request: Document) -> str:
        """The call in one line for people, at most 100 characters."""
        return describe(request)

    def view(self, message: Document) -> Any:
        """A request or response decoded as far as it goes."""
        return view(message)

    def write_request(self, request: Document) -> bytes:
        """The request as bytes: a simple query without parameters, else the extended form.

        Parameters are written as text, those known as ``bytes`` in binary.
        """
        if request.get("kind") == "startup":
            return write(_startup_message(request))
        if request.get("kind") != "query":
            return b""
        if request.get("parameters"):
            return _extended_bytes(request)
        out = write(m.Query(str(request.get("sql") or "")))
        if request.get("copy_data") is not None:
            out += write_all([m.CopyData(request["copy_data"]), m.CopyDone()])
        return out

    def write_response(self, response: Document) -> bytes:
        """The response as the bytes of the simple form, ReadyForQuery at its end.

        Raises ``SessionError`` for a value that has no text.
        """
        if "results" not in response:
            return b""
        return response_bytes(response) + write(m.ReadyForQuery(response.get("status") or "I"))


def _startup_message(request: Document) -> m.StartupMessage:
    pairs = [("user", request["user"]), ("database", request["database"])]
    return m.StartupMessage(pairs + list(request.get("options", {}).items()))


def _extended_bytes(request: Document) -> bytes:
    parameters = request["parameters"]
    raw = [p.encode() if isinstance(p, str) else p for p in parameters]
    formats = [int(isinstance(p, bytes)) for p in parameters]
    return write_all(
        [
            m.Parse("", str(request.get("sql") or ""), list(request.get("parameter_types") or [])),
            m.Bind("", "", formats, raw, []),
            m.Describe("P", ""),
            m.Execute("", int(request.get("max_rows") or 0)),
            m.Sync(),
        ]
    )


def _judge(data: bytes, kinds: bytes, parse: Any) -> Detection:
    reader = FrameReader(kinds)
    reader.feed(data)
    verdict = Detection.NEED_MORE
    try:
        while frame := reader.next_frame():
            parse(frame.kind, frame.payload)
            if frame.payload or frame.kind not in _EMPTY_CLIENT_KINDS:
                verdict = Detection.YES
    except ProtocolError:
        return Detection.NO
    return verdict


POSTGRES = PostgresSpec()
