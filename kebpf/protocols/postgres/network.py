"""Binary ⇄ text of inet and cidr (section 8.9; src/backend/utils/adt/network.c)."""

from __future__ import annotations

import ipaddress

_FAMILY_V4, _FAMILY_V6 = 2, 3


def _print_v6(address: bytes) -> str:
    if address[:12] == b"\0" * 10 + b"\xff\xff":
        return f"::ffff:{ipaddress.IPv4Address(address[12:])}"
    if not any(address[:12]) and any(address[12:14]):
        return f"::{ipaddress.IPv4Address(address[12:])}"
    return str(ipaddress.IPv6Address(address))


def _decode(raw: bytes, is_cidr: bool) -> str:
    if len(raw) < 4:
        raise ValueError("an address that is too short")
    family, bits, size = raw[0], raw[1], raw[3]
    address = raw[4:]
    if len(address) != size or (family, size) not in ((_FAMILY_V4, 4), (_FAMILY_V6, 16)):
        raise ValueError("an address of an unknown family")
    text = str(ipaddress.IPv4Address(address)) if size == 4 else _print_v6(address)
    return f"{text}/{bits}" if is_cidr or bits != size * 8 else text


def _encode(text: str, is_cidr: bool) -> bytes:
    host, slash, bits = text.partition("/")
    address = ipaddress.ip_address(host)
    width = int(bits) if slash else address.max_prefixlen
    if not 0 <= width <= address.max_prefixlen:
        raise ValueError("no such prefix length")
    family = _FAMILY_V4 if address.version == 4 else _FAMILY_V6
    return bytes([family, width, is_cidr, len(address.packed)]) + address.packed


def decode_inet(raw: bytes) -> str:
    """Raises ``ValueError``."""
    return _decode(raw, False)


def decode_cidr(raw: bytes) -> str:
    """Raises ``ValueError``."""
    return _decode(raw, True)


def encode_inet(text: str) -> bytes:
    """Raises ``ValueError``."""
    return _encode(text, False)


def encode_cidr(text: str) -> bytes:
    """Raises ``ValueError``."""
    return _encode(text, True)
