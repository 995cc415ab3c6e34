"""DNS messages built by scapy, and marks to see them by."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from scapy.layers.dns import DNS, DNSQR, DNSRR, DNSRRMX, DNSRROPT, DNSRRSOA, DNSRRSRV, EDNS0TLV

from kebpf.protocols.base import Document, Mark

MARK = Mark(1)
names = st.lists(st.text("abcXYZ019-_", min_size=1, max_size=12), min_size=1, max_size=5).map(
    ".".join
)


def make_query(name: str = "example.com", type_: str = "A", identifier: int = 7) -> bytes:
    return bytes(DNS(id=identifier, rd=1, qd=DNSQR(qname=name, qtype=type_)))


def make_edns_query(name: str = "example.com", size: int = 4096) -> bytes:
    option = DNSRROPT(rclass=size, z=0x8000, rdata=[EDNS0TLV(optcode=10, optdata=b"12345678")])
    return bytes(DNS(id=7, rd=1, qd=DNSQR(qname=name), ar=option))


def make_response(
    name: str = "example.com",
    addresses: tuple[str, ...] = ("192.0.2.1",),
    identifier: int = 7,
    rcode: int = 0,
) -> bytes:
    answers = [DNSRR(rrname=name, type="A", ttl=60, rdata=address) for address in addresses]
    question = DNSQR(qname=name, qtype="A")
    return bytes(DNS(id=identifier, qr=1, rd=1, ra=1, rcode=rcode, qd=question, an=answers))


def make_rich_response(name: str = "example.com") -> bytes:
    """One record of every type that is decoded, in all sections, with EDNS."""
    answers: list[Any] = [
        DNSRR(rrname=name, type="A", ttl=60, rdata="192.0.2.1"),
        DNSRR(rrname=name, type="AAAA", ttl=61, rdata="2001:db8::1"),
        DNSRR(rrname="www." + name, type="CNAME", ttl=62, rdata=name),
        DNSRRMX(rrname=name, ttl=63, preference=10, exchange="mail." + name),
        DNSRR(rrname=name, type="TXT", ttl=64, rdata=[b"v=spf1 -all", b"\xff\x00"]),
        DNSRRSRV(rrname="_x._tcp." + name, ttl=65, priority=1, weight=2, port=3, target=name),
        DNSRR(rrname="1.2.0.192.in-addr.arpa", type="PTR", ttl=66, rdata=name),
        DNSRR(rrname=name, type=65280, ttl=67, rdata=b"\x01\x02"),
    ]
    soa = DNSRRSOA(
        rrname=name, ttl=68, mname="ns1." + name, rname="root." + name,
        serial=2024010101, refresh=1, retry=2, expire=3, minimum=4,
    )  # fmt: skip
    authority = [DNSRR(rrname=name, type="NS", ttl=69, rdata="ns1." + name), soa]
    question = DNSQR(qname=name, qtype="ALL")
    message = DNS(id=9, qr=1, aa=1, rd=1, qd=question, an=answers, ns=authority)
    message.ar = [DNSRROPT(rclass=1232)]
    return bytes(message)


def frame(message: bytes) -> bytes:
    return len(message).to_bytes(2, "big") + message


def make_document(name: str = "example.com", type_: str = "A") -> Document:
    question = {"name": name, "type": type_, "class": "IN"}
    return {"questions": [question], "flags": ["rd"], "transport": "udp"}
