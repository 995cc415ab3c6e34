"""The data of resource records: decoded for the types applications ask for, else raw bytes.

=====  ==========================================================
type   data
=====  ==========================================================
A      ``"192.0.2.1"``
AAAA   ``"2001:db8::1"``
CNAME  ``"name"`` (also NS, PTR)
MX     ``{"preference", "exchange"}``
TXT    list of texts (``bytes`` where not UTF-8)
SRV    ``{"priority", "weight", "port", "target"}``
SOA    ``{"mname", "rname", "serial", "refresh", "retry", "expire", "minimum"}``
others ``bytes``; names in them are decompressed where the type's RFC has some (RFC 3597, 4)
=====  ==========================================================

Data that does not have the form of its type is kept as ``bytes``.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Callable
from typing import Any

from kebpf.protocols.base import ProtocolError
from kebpf.protocols.dns.names import NameWriter, read_name, write_name

_NAME_TYPES = frozenset({"NS", "CNAME", "PTR"})
_SOA_NUMBERS = ("serial", "refresh", "retry", "expire", "minimum")
# How names lie in the data of types that are not decoded: a digit is so many bytes, ``n`` a name,
# ``s`` a character string.
_LAYOUTS = {
    "MD": "n", "MF": "n", "MB": "n", "MG": "n", "MR": "n", "DNAME": "n", "MINFO": "nn",
    "RP": "nn", "AFSDB": "2n", "RT": "2n", "KX": "2n", "PX": "2nn", "NAPTR": "4sssn",
}  # fmt: skip


def read_rdata(type_: str, message: bytes, start: int, end: int) -> Any:
    """The data between two offsets of a message.  Raises `ProtocolError` for bad names."""
    reader = _READERS.get(type_)
    raw = message[start:end]
    if reader is None:
        return _decompress(_LAYOUTS[type_], message, start, end) if type_ in _LAYOUTS else raw
    try:
        data, reached = reader(message[:end], start)
    except (struct.error, ProtocolError):
        return raw
    return data if reached == end else raw


def write_rdata(type_: str, data: Any, names: NameWriter, offset: int) -> bytes:
    """The reverse of `read_rdata`, for a record whose data begin at ``offset``.

    Names are compressed where RFC 1035 defined the type, as only there it is allowed.
    """
    if isinstance(data, bytes):
        return data
    if type_ == "A":
        return ipaddress.IPv4Address(data).packed
    if type_ == "AAAA":
        return ipaddress.IPv6Address(data).packed
    if type_ in _NAME_TYPES:
        return names.write(data, offset)
    return _WRITERS[type_](data, names, offset)


def _read_a(message: bytes, start: int) -> tuple[Any, int]:
    return str(ipaddress.IPv4Address(struct.unpack_from("!4s", message, start)[0])), start + 4


def _read_aaaa(message: bytes, start: int) -> tuple[Any, int]:
    return str(ipaddress.IPv6Address(struct.unpack_from("!16s", message, start)[0])), start + 16


def _read_mx(message: bytes, start: int) -> tuple[Any, int]:
    (preference,) = struct.unpack_from("!H", message, start)
    exchange, end = read_name(message, start + 2)
    return {"preference": preference, "exchange": exchange}, end


def _read_txt(message: bytes, start: int) -> tuple[Any, int]:
    texts: list[str | bytes] = []
    while start < len(message):
        text = message[start + 1 : start + 1 + message[start]]
        start += 1 + message[start]
        try:
            texts.append(text.decode())
        except UnicodeDecodeError:
            texts.append(text)
    return texts, start


def _read_srv(message: bytes, start: int) -> tuple[Any, int]:
    priority, weight, port = struct.unpack_from("!HHH", message, start)
    target, end = read_name(message, start + 6)
    return {"priority": priority, "weight": weight, "port": port, "target": target}, end


def _read_soa(message: bytes, start: int) -> tuple[Any, int]:
    mname, start = read_name(message, start)
    rname, start = read_name(message, start)
    numbers = struct.unpack_from("!5I", message, start)
    names = {"mname": mname, "rname": rname}
    return {**names, **dict(zip(_SOA_NUMBERS, numbers, strict=True))}, start + 20


def _write_mx(data: Any, names: NameWriter, offset: int) -> bytes:
    return struct.pack("!H", data["preference"]) + names.write(data["exchange"], offset + 2)


def _write_txt(data: Any, names: NameWriter, offset: int) -> bytes:
    texts = [text.encode() if isinstance(text, str) else text for text in data]
    return b"".join(bytes([len(text)]) + text for text in texts)


def _write_srv(data: Any, names: NameWriter, offset: int) -> bytes:
    head = struct.pack("!HHH", data["priority"], data["weight"], data["port"])
    return head + write_name(data["target"])


def _write_soa(data: Any, names: NameWriter, offset: int) -> bytes:
    head = names.write(data["mname"], offset)
    head += names.write(data["rname"], offset + len(head))
    return head + struct.pack("!5I", *(data[name] for name in _SOA_NUMBERS))


def _decompress(layout: str, message: bytes, start: int, end: int) -> bytes:
    out = bytearray()
    position = start
    for part in layout:
        if part == "n":
            name, position = read_name(message[:end], position)
            out += write_name(name)
            continue
        size = 1 + message[position] if part == "s" and position < end else 0
        size = size if part == "s" else int(part)
        out += message[position : position + size]
        position += size
    if position != end:
        return message[start:end]
    return bytes(out)


_READERS: dict[str, Callable[[bytes, int], tuple[Any, int]]] = {
    **dict.fromkeys(_NAME_TYPES, read_name),
    "A": _read_a,
    "AAAA": _read_aaaa,
    "MX": _read_mx,
    "TXT": _read_txt,
    "SRV": _read_srv,
    "SOA": _read_soa,
}
_WRITERS: dict[str, Callable[[Any, NameWriter, int], bytes]] = {
    "MX": _write_mx,
    "TXT": _write_txt,
    "SRV": _write_srv,
    "SOA": _write_soa,
}
