"""The server, its answers read by scapy."""

from __future__ import annotations

from scapy.layers.dns import DNS as SCAPY_DNS

from kebpf.protocols.base import Document, Exchange, Miss, Sender
from kebpf.protocols.dns import DNS
from kebpf.protocols.dns.server import DnsServer
from tests.protocols.dns.builders import (
    MARK,
    frame,
    make_edns_query,
    make_query,
    make_response,
    make_rich_response,
)


class Answers:
    """Answers by identity from exchanges."""

    def __init__(self, *exchanges: Exchange) -> None:
        self._answers = {repr(DNS.identity(e.request)): e.response for e in exchanges}
        self.misses: list[str] = []

    def answer(self, request: Document) -> Document | Miss:
        response = self._answers.get(repr(DNS.identity(request)))
        if response is None:
            self.misses.append(DNS.describe(request))
            return Miss("never recorded")
        return response

    def peek(self, request: Document) -> bool:
        return repr(DNS.identity(request)) in self._answers

    def session(self, request: Document) -> Document | None:
        return None


def record(query: bytes, response: bytes) -> Exchange:
    pairer = DNS.make_pairer()
    pairer.receive_data(Sender.CLIENT, query, MARK)
    (exchange,) = pairer.receive_data(Sender.SERVER, response, MARK)
    return exchange


def serve(*exchanges: Exchange) -> tuple[DnsServer, Answers]:
    answers = Answers(*exchanges)
    return DNS.make_server(answers, []), answers


def test_answers_under_the_asked_id_and_spelling() -> None:
    server, _ = serve(record(make_query(), make_response()))
    reply = SCAPY_DNS(server.receive_data(make_query("ExAmPlE.cOm", identifier=999)))
    assert (reply.id, reply.qr, reply.rcode) == (999, 1, 0)
    assert reply.qd[0].qname == b"ExAmPlE.cOm."
    assert (reply.an[0].rrname, reply.an[0].rdata) == (b"ExAmPlE.cOm.", "192.0.2.1")


def test_unknown_name_is_nxdomain_and_reported() -> None:
    server, answers = serve(record(make_query(), make_response()))
    reply = SCAPY_DNS(server.receive_data(make_query("nowhere.test")))
    assert (reply.rcode, reply.ancount, reply.qd[0].qname) == (3, 0, b"nowhere.test.")
    assert answers.misses == ["A nowhere.test"]


def test_type_is_part_of_the_identity() -> None:
    server, answers = serve(record(make_query(), make_response()))
    assert SCAPY_DNS(server.receive_data(make_query(type_="AAAA"))).rcode == 3
    assert answers.misses == ["AAAA example.com"]


def test_edns_only_for_those_who_speak_it() -> None:
    query = bytes(make_query(type_="ALL", identifier=9))
    server, _ = serve(record(query, make_rich_response()))
    assert SCAPY_DNS(server.receive_data(query)).arcount == 0
    edns_query = bytearray(make_edns_query())
    edns_query[25:27] = b"\0\xff"  # type ANY
    assert SCAPY_DNS(server.receive_data(bytes(edns_query))).ar[0].rclass == 1232


def test_tcp_in_pieces() -> None:
    exchange = record(frame(make_query()), frame(make_response()))
    server, _ = serve(exchange)
    wire = frame(make_query(identifier=1)) + frame(make_query(identifier=2))
    out = b"".join(server.receive_data(wire[i : i + 1]) for i in range(len(wire)))
    size = int.from_bytes(out[:2], "big")
    assert SCAPY_DNS(out[2 : 2 + size]).id == 1
    assert SCAPY_DNS(out[4 + size :]).id == 2


def test_too_large_for_the_asker_is_truncated() -> None:
    addresses = tuple(f"192.0.2.{number}" for number in range(60))
    server, _ = serve(record(make_query(), make_response(addresses=addresses)))
    reply = SCAPY_DNS(server.receive_data(make_query()))
    assert (reply.tc, reply.ancount) == (1, 0)
    assert SCAPY_DNS(server.receive_data(make_edns_query())).ancount == 60


def test_malformed_is_formerr() -> None:
    server, _ = serve()
    reply = SCAPY_DNS(server.receive_data(make_query() + b"x"))
    assert (reply.id, reply.rcode) == (7, 1)


def test_response_as_query_is_not_answered() -> None:
    server, _ = serve()
    assert server.receive_data(make_response()) == b""


def test_identity_and_documents_on_the_wire() -> None:
    exchange = record(make_query("Example.COM"), make_response("Example.COM"))
    assert DNS.identity(exchange.request) == {
        "operation": "A example.com",
        "name": "example.com",
        "type": "A",
        "class": "IN",
    }
    assert DNS.describe(exchange.request) == "A Example.COM"
    assert exchange.response is not None
    assert SCAPY_DNS(DNS.write_request(exchange.request)).qd[0].qname == b"Example.COM."
    assert SCAPY_DNS(DNS.write_response(exchange.response)).an[0].rdata == "192.0.2.1"
    tcp = {**exchange.request, "transport": "tcp"}
    assert DNS.write_request(tcp) == frame(DNS.write_request(exchange.request))
