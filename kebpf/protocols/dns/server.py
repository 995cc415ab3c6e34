"""Is a DNS server for one socket: recorded answers under the id and spelling that was asked."""

from __future__ import annotations

from typing import Any

from kebpf.protocols.base import Answerer, Document, Mark, Miss, ProtocolError
from kebpf.protocols.dns.detection import is_tcp_start
from kebpf.protocols.dns.framing import StreamFramer, read_whole
from kebpf.protocols.dns.messages import HEADER_SIZE, SECTIONS, Message, write_message

MIN_UDP_SIZE = 512  # what every client takes (RFC 1035, 4.2.1)
_COOKIE = 10  # RFC 7873: holds the asker's own cookie, so a recorded one would be refused


class DnsServer:
    """Each call of `receive_data` takes one datagram, or some bytes of a TCP stream."""

    def __init__(self, answerer: Answerer) -> None:
        self.is_closed = False
        self._answerer = answerer
        self._framer: StreamFramer | None = None
        self._is_tcp: bool | None = None

    def receive_data(self, data: bytes) -> bytes:
        """Gives the response (over TCP: all that are complete, each after its length)."""
        if self._is_tcp is None:
            self._is_tcp = is_tcp_start(data)
        if not self._is_tcp:
            return self._respond(data)
        self._framer = self._framer or StreamFramer(is_whole=True)
        messages = [self._respond(query) for query, _ in self._framer.receive(data, Mark(0))]
        return b"".join(
            len(message).to_bytes(2, "big") + message for message in messages if message
        )

    def receive_eof(self) -> bytes:
        """The client closed its direction."""
        self.is_closed = True
        return b""

    def _respond(self, data: bytes) -> bytes:
        try:
            query = read_whole(data)
        except ProtocolError:
            return _refuse_malformed(data)
        if query.is_response:
            return b""
        query.document["transport"] = "tcp" if self._is_tcp else "udp"
        response = self._answerer.session(query.document) or self._answerer.answer(query.document)
        if isinstance(response, Miss):
            response = _make_empty("NXDOMAIN" if "opcode" not in query.document else "NOTIMP")
        return self._write(_adapt(response, query.document), query)

    def _write(self, response: Document, query: Message) -> bytes:
        data = write_message(response, query.identifier, is_response=True)
        if self._is_tcp or len(data) <= _udp_limit(query.document):
            return data
        cut = {**response, **{section: [] for section in SECTIONS}}
        cut["flags"] = [*(flag for flag in response["flags"] if flag != "tc"), "tc"]
        return write_message(cut, query.identifier, is_response=True)


def _udp_limit(query: Document) -> int:
    edns = query.get("edns")
    return max(MIN_UDP_SIZE, edns["udp_size"]) if edns else MIN_UDP_SIZE


def _make_empty(rcode: str) -> Document:
    return {"flags": ["ra"], "rcode": rcode, "questions": []}


def _refuse_malformed(data: bytes) -> bytes:
    """FORMERR for what has a header at least, nothing for the rest."""
    if len(data) < HEADER_SIZE or data[2] & 0x80:
        return b""
    identifier = int.from_bytes(data[:2], "big")
    return write_message(_make_empty("FORMERR"), identifier, is_response=True)


def _adapt(response: Document, query: Document) -> Document:
    """The recorded response as an answer to this query.

    The question, its spelling, RD and CD are the query's (RFC 1035, 4.1.1); EDNS is spoken only
    to those who speak it (RFC 6891, 7).
    """
    adapted: Document = {**response, "questions": query["questions"]}
    own = [flag for flag in response["flags"] if flag not in ("rd", "cd")]
    adapted["flags"] = own + [flag for flag in query["flags"] if flag in ("rd", "cd")]
    if "opcode" in query:
        adapted["opcode"] = query["opcode"]
    spelling = {question["name"].lower(): question["name"] for question in query["questions"]}
    for section in SECTIONS:
        adapted[section] = [_respell(record, spelling) for record in response.get(section, [])]
    edns = adapted.pop("edns", None)
    if edns and "edns" in query:
        adapted["edns"] = _without_cookie(edns)
    return adapted


def _respell(record: Document, spelling: dict[str, str]) -> Document:
    return {**record, "name": spelling.get(record["name"].lower(), record["name"])}


def _without_cookie(edns: Document) -> Document:
    options: list[Any] = [option for option in edns["options"] if option["code"] != _COOKIE]
    return {**edns, "options": options}
