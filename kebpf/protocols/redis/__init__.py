"""Redis: RESP2 and RESP3 as watched, served and spoken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kebpf.protocols.base import Answerer, Detection, Document
from kebpf.protocols.redis.detection import detect, resynchronise
from kebpf.protocols.redis.documents import describe_request, identify, view_message
from kebpf.protocols.redis.pairing import RedisPairer
from kebpf.protocols.redis.server import RedisServer
from kebpf.protocols.redis.writer import write_request, write_response


class RedisSpec:
    """The protocol, as the registry hands it out."""

    name = "redis"

    def detect(self, client: bytes, server: bytes) -> Detection:
        """Judges the heads of both directions."""
        return detect(client, server)

    def make_pairer(self, joined: bool = False) -> RedisPairer:
        """A pairer of one connection."""
        return RedisPairer(joined)

    def resynchronise(self, client: bytes, server: bytes) -> Detection:
        """Whether a command begins at the client's byte 0."""
        return resynchronise(client, server)

    def make_server(self, answerer: Answerer, facts: Sequence[Document]) -> RedisServer:
        """The server's side of one connection."""
        return RedisServer(answerer, facts)

    def identity(self, request: Document) -> Document:
        """Operation, database, arguments."""
        return identify(request)

    def describe(self, request: Document) -> str:
        """The command as one would type it."""
        return describe_request(request)

    def view(self, message: Document) -> Any:
        """A request or response as a plain tree."""
        return view_message(message)

    def write_request(self, request: Document) -> bytes:
        """The command, or the whole transaction, on the wire."""
        return write_request(request)

    def write_response(self, response: Document) -> bytes:
        """The reply or replies on the wire."""
        return write_response(response)


REDIS = RedisSpec()
