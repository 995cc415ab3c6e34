"""Reports of a Java agent made by hand, from the literal layout."""

from __future__ import annotations

import ipaddress
import struct

STARTED, PLAIN, MARK, END = range(1, 5)
INGRESS, EGRESS = 0, 1


def make_report(
    kind: int,
    payload: bytes = b"",
    *,
    session: int = 7,
    direction: int = EGRESS,
    offset: int = 0,
    flags: int = 0,
    record: bytes = b"",
    ends: tuple[tuple[str, int], tuple[str, int]] | None = None,
    size: int | None = None,
    magic: bytes = b"kebpfJS\x01",
) -> bytes:
    """One datagram."""
    if ends is not None:
        record, flags = make_ends(*ends), flags | 2
    head = magic + bytes([kind, direction, flags, 0])
    head += struct.pack(">IQQ", len(payload) if size is None else size, session, offset)
    return head + bytes([len(record)]) + record.ljust(47, b"\0") + payload


def make_start(version: str = "17.0.15", changed: int = 4) -> bytes:
    """What an agent says first."""
    return make_report(STARTED, f"{version}\nOpenJDK 64-Bit Server VM\n{changed}".encode())


def make_ends(local: tuple[str, int], remote: tuple[str, int]) -> bytes:
    """Two addresses and ports."""
    return b"".join(
        ipaddress.ip_address(host).packed + struct.pack(">H", port)
        for host, port in (local, remote)
    )
