"""Messages against scapy's and dpkt's, and for every mutation of them."""

from __future__ import annotations

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.dns import DNS as SCAPY_DNS

from kebpf.protocols.base import ProtocolError
from kebpf.protocols.dns.messages import read_message, write_message
from tests.protocols.dns import builders
from tests.protocols.dns.builders import make_edns_query, make_query, make_rich_response, names


def test_rich_response_as_scapy_built_it() -> None:
    data = make_rich_response()
    message = read_message(data)
    document = message.document
    assert (message.identifier, message.is_response, message.size) == (9, True, len(data))
    assert document["flags"] == ["aa", "rd"]
    assert document["rcode"] == "NOERROR"
    assert document["questions"] == [{"name": "example.com", "type": "ANY", "class": "IN"}]
    assert [record["data"] for record in document["answers"]] == [
        "192.0.2.1",
        "2001:db8::1",
        "example.com",
        {"preference": 10, "exchange": "mail.example.com"},
        ["v=spf1 -all", b"\xff\x00"],
        {"priority": 1, "weight": 2, "port": 3, "target": "example.com"},
        "example.com",
        b"\x01\x02",
    ]
    assert document["answers"][7]["type"] == "TYPE65280"
    assert [record["ttl"] for record in document["answers"]] == list(range(60, 68))
    assert document["authority"][1]["data"]["serial"] == 2024010101
    assert document["edns"]["udp_size"] == 1232


def test_scapy_reads_what_is_written() -> None:
    document = read_message(make_rich_response()).document
    parsed = SCAPY_DNS(write_message(document, 9, is_response=True))
    original = SCAPY_DNS(make_rich_response())
    for section in ("qd", "an", "ns", "ar"):
        ours, theirs = getattr(parsed, section), getattr(original, section)
        for mine, other in zip(ours, theirs, strict=True):
            mine.rdlen = other.rdlen = None
            assert bytes(mine) == bytes(other)


def test_dpkt_reads_what_is_written() -> None:
    document = read_message(make_rich_response()).document
    del document["answers"][7]  # dpkt raises for types it does not know,
    document["answers"][4]["data"] = ["and for texts that are not UTF-8"]
    data = write_message(document, 9, is_response=True)
    parsed = dpkt.dns.DNS(data)
    assert [(r.name, r.type, r.ttl) for r in parsed.an][:4] == [
        ("example.com", 1, 60),
        ("example.com", 28, 61),
        ("www.example.com", 5, 62),
        ("example.com", 15, 63),
    ]
    assert (parsed.an[0].ip, parsed.an[2].cname) == (b"\xc0\x00\x02\x01", "example.com")
    assert (parsed.an[3].preference, parsed.an[3].mxname) == ((10,), "mail.example.com")
    assert (parsed.ns[1].mname, parsed.ns[1].serial) == ("ns1.example.com", 2024010101)
    assert len(data) < len(make_rich_response())  # scapy compresses nothing


@given(names, st.sampled_from(["A", "AAAA", "MX", "TXT", "HTTPS"]), st.integers(0, 65535))
def test_uncompressed_query_is_written_as_it_came(name: str, type_: str, identifier: int) -> None:
    data = make_query(name, type_, identifier)
    message = read_message(data)
    assert write_message(message.document, identifier, is_response=False) == data


def test_edns_query_is_written_as_it_came() -> None:
    data = make_edns_query()
    document = read_message(data).document
    assert document["edns"]["options"] == [{"code": 10, "data": b"12345678"}]
    assert write_message(document, 7, is_response=False) == data


def test_names_in_undecoded_data_are_decompressed() -> None:
    # NAPTR (RFC 3403) whose replacement points to the question's name.
    question = b"\7example\3com\0\0\x23\0\1"
    data = b"\0\1\0\2\1S\3SIP\0\xc0\x0c"
    record = b"\xc0\x0c\0\x23\0\1\0\0\0\x3c" + len(data).to_bytes(2, "big") + data
    message = b"\0\7\x81\x80\0\1\0\1\0\0\0\0" + question + record
    (answer,) = read_message(message).document["answers"]
    assert answer["data"] == b"\0\1\0\2\1S\3SIP\0\7example\3com\0"


changes = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=6)


@given(changes)
def test_mutations_parse_or_are_refused(changed: list[tuple[int, int]]) -> None:
    message = bytearray(make_rich_response())
    for position, byte in changed:
        message[position % len(message)] = byte
    try:
        parsed = read_message(bytes(message))
    except ProtocolError:
        return
    again = write_message(parsed.document, parsed.identifier, parsed.is_response)
    assert read_message(again).document == parsed.document


@pytest.mark.parametrize("size", range(len(builders.make_response())))
def test_every_cut_is_refused(size: int) -> None:
    with pytest.raises(ProtocolError):
        read_message(builders.make_response()[:size])
