"""DNS messages between wire and document (RFC 1035, 4; RFC 6891 for EDNS).

Own code and not dpkt's: dpkt joins labels without escaping the dots in them, raises
``UnicodeDecodeError`` for a TXT record that is not UTF-8, and has no EDNS.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from kebpf.protocols.base import Document, ProtocolError
from kebpf.protocols.dns import numbers
from kebpf.protocols.dns.names import NameWriter, read_name
from kebpf.protocols.dns.numbers import name_of, number_of
from kebpf.protocols.dns.rdata import read_rdata, write_rdata

HEADER_SIZE = 12
MAX_RECORDS = 4096  # questions and records of one message
SECTIONS = ("answers", "authority", "additional")
_QR = 0x8000
_OPT = 41


@dataclass(frozen=True, slots=True)
class Message:
    """A parsed message; ``size`` is how many bytes it took, ``identifier`` its id."""

    identifier: int
    is_response: bool
    document: Document
    size: int


def read_message(data: bytes) -> Message:
    """The message at the beginning of ``data``.  Raises `ProtocolError`."""
    if len(data) < HEADER_SIZE:
        raise ProtocolError("a message is shorter than its header")
    identifier, word, *counts = struct.unpack_from("!6H", data)
    if sum(counts) > MAX_RECORDS:
        raise ProtocolError("a message has more records than the cap")
    questions, offset = _read_questions(data, counts[0])
    sections: Document = {}
    edns: Document | None = None
    for section, count in zip(SECTIONS, counts[1:], strict=True):
        records, offset, found = _read_section(data, offset, count)
        sections[section] = records
        edns = edns or found
    is_response = bool(word & _QR)
    document = _make_document(word, questions, sections, edns, is_response)
    return Message(identifier, is_response, document, offset)


def _make_document(
    word: int, questions: list[Document], sections: Document, edns: Any, is_response: bool
) -> Document:
    document: Document = {"questions": questions, "flags": numbers.flag_names(word)}
    if opcode := word >> 11 & 15:
        document["opcode"] = name_of(opcode, numbers.OPCODES, "OPCODE")
    extended = edns.pop("extended_rcode") if edns else 0
    rcode = extended << 4 | word & 15
    if is_response or rcode:
        document["rcode"] = name_of(rcode, numbers.RCODES, "RCODE")
    document |= {name: rows for name, rows in sections.items() if rows or is_response}
    if edns:
        document["edns"] = edns
    return document


def _read_questions(data: bytes, count: int) -> tuple[list[Document], int]:
    questions, offset = [], HEADER_SIZE
    for _ in range(count):
        name, offset = read_name(data, offset)
        type_, class_ = _unpack("!HH", data, offset)
        offset += 4
        questions.append({"name": name, **_type_and_class(type_, class_)})
    return questions, offset


def _type_and_class(type_: int, class_: int) -> Document:
    return {
        "type": name_of(type_, numbers.TYPES, "TYPE"),
        "class": name_of(class_, numbers.CLASSES, "CLASS"),
    }


def _read_section(
    data: bytes, offset: int, count: int
) -> tuple[list[Document], int, Document | None]:
    records: list[Document] = []
    edns = None
    for _ in range(count):
        name, offset = read_name(data, offset)
        type_, class_, ttl, size = _unpack("!HHIH", data, offset)
        start, end = offset + 10, offset + 10 + size
        if end > len(data):
            raise ProtocolError("a record runs past the message's end")
        if type_ == _OPT and name == "." and edns is None:
            edns = _read_edns(class_, ttl, data[start:end])
        else:
            head = {"name": name, **_type_and_class(type_, class_), "ttl": ttl}
            records.append({**head, "data": read_rdata(head["type"], data, start, end)})
        offset = end
    return records, offset, edns


def _read_edns(udp_size: int, ttl: int, data: bytes) -> Document:
    options, offset = [], 0
    while offset < len(data):
        code, size = _unpack("!HH", data, offset)
        options.append({"code": code, "data": data[offset + 4 : offset + 4 + size]})
        offset += 4 + size
    if offset != len(data):
        raise ProtocolError("an EDNS option runs past its record's end")
    return {
        "udp_size": udp_size,
        "version": ttl >> 16 & 0xFF,
        "flags": ttl & 0xFFFF,
        "options": options,
        "extended_rcode": ttl >> 24,
    }


def _unpack(format_: str, data: bytes, offset: int) -> tuple[Any, ...]:
    try:
        return struct.unpack_from(format_, data, offset)
    except struct.error:
        raise ProtocolError("a message ends inside a record") from None


def write_message(document: Document, identifier: int, is_response: bool) -> bytes:
    """The document as a message, names compressed.  Raises `ValueError` for unknown names."""
    rcode = number_of(document.get("rcode", "NOERROR"), numbers.RCODES, "RCODE")
    opcode = number_of(document.get("opcode", "QUERY"), numbers.OPCODES, "OPCODE")
    word = (_QR if is_response else 0) | opcode << 11 | rcode & 15
    word |= numbers.flag_bits(document["flags"])
    sections = [document.get(section, []) for section in SECTIONS]
    edns = document.get("edns")
    counts = [len(document["questions"]), *map(len, sections)]
    counts[3] += 1 if edns else 0
    out = bytearray(struct.pack("!6H", identifier, word, *counts))
    names = NameWriter()
    for question in document["questions"]:
        out += names.write(question["name"], len(out)) + _write_type_and_class(question)
    for record in (record for section in sections for record in section):
        _write_record(record, names, out)
    if edns:
        out += _write_edns(edns, rcode >> 4)
    return bytes(out)


def _write_type_and_class(row: Document) -> bytes:
    type_ = number_of(row["type"], numbers.TYPES, "TYPE")
    return struct.pack("!HH", type_, number_of(row["class"], numbers.CLASSES, "CLASS"))


def _write_record(record: Document, names: NameWriter, out: bytearray) -> None:
    out += names.write(record["name"], len(out)) + _write_type_and_class(record)
    out += struct.pack("!I", record["ttl"])
    data = write_rdata(record["type"], record["data"], names, len(out) + 2)
    out += struct.pack("!H", len(data)) + data


def _write_edns(edns: Document, extended_rcode: int) -> bytes:
    data = b"".join(
        struct.pack("!HH", option["code"], len(option["data"])) + option["data"]
        for option in edns["options"]
    )
    ttl = extended_rcode << 24 | edns["version"] << 16 | edns["flags"]
    return b"\0" + struct.pack("!HHIH", _OPT, edns["udp_size"], ttl, len(data)) + data
