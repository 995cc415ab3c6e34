"""Binary ⇄ text of bit strings, hardware addresses and the server's own numbers."""

from __future__ import annotations

import struct
from collections.abc import Callable


def decode_bits(raw: bytes) -> str:
    """Raises ``ValueError`` or ``struct.error`` (section 8.10; varbit_send)."""
    (count,) = struct.unpack_from("!I", raw)
    if len(raw) - 4 != (count + 7) // 8:
        raise ValueError("a bit string of another length")
    return "".join(f"{byte:08b}" for byte in raw[4:])[:count]


def encode_bits(text: str) -> bytes:
    """Raises ``ValueError``."""
    padded = text + "0" * (-len(text) % 8)
    raw = bytes(int(padded[at : at + 8], 2) for at in range(0, len(padded), 8))
    return struct.pack("!I", len(text)) + raw


def hardware_address(size: int) -> tuple[Callable[[bytes], str], Callable[[str], bytes]]:
    """Of ``size`` bytes (section 8.9.4)."""

    def decode(raw: bytes) -> str:
        if len(raw) != size:
            raise ValueError("an address of another length")
        return raw.hex(":")

    def encode(text: str) -> bytes:
        raw = bytes.fromhex(text.replace(":", ""))
        if len(raw) != size:
            raise ValueError("an address of another length")
        return raw

    return decode, encode


def decode_lsn(raw: bytes) -> str:
    """A place in the write-ahead log (section 8.20).  Raises ``struct.error``."""
    high, low = struct.unpack("!II", raw)
    return f"{high:X}/{low:X}"


def encode_lsn(text: str) -> bytes:
    """Raises ``ValueError`` or ``struct.error``."""
    high, low = text.split("/")
    return struct.pack("!II", int(high, 16), int(low, 16))


def decode_tid(raw: bytes) -> str:
    """The place of a row (section 8.19).  Raises ``struct.error``."""
    return "({},{})".format(*struct.unpack("!IH", raw))


def encode_tid(text: str) -> bytes:
    """Raises ``ValueError`` or ``struct.error``."""
    block, offset = text.strip("()").split(",")
    return struct.pack("!IH", int(block), int(offset))
