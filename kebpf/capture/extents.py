"""Says where functions end that have no symbols, by what is kept for exceptions to pass by them.

``.eh_frame_hdr`` (Linux Standard Base, "Exception Frames") lists every function of a library that
was built the usual way, in order, also of stripped ones.
"""

from __future__ import annotations

import struct

from kebpf.capture.elf import Elf

_HEADER_SEGMENT = 0x6474E550  # PT_GNU_EH_FRAME
_USUAL_HEADER = b"\x01\x1b\x03\x3b"  # version; how the frames, their count and the table are given
_PAIR = struct.Struct("<ii")
_FRAME = struct.Struct(
    "<IIiI"
)  # size, description's distance, function's distance, function's size
_MOST_FRAMES = 1 << 22


def find_size(elf: Elf, address: int) -> int:
    """Of the function (or part of one) that begins at an address; 0 if that is not said."""
    for segment in elf.segments:
        if segment.kind == _HEADER_SEGMENT:
            return _look_up(elf, segment.address, address)
    return 0


def _look_up(elf: Elf, table: int, address: int) -> int:
    head = elf.read(table, 12)
    if len(head) < 12 or head[:4] != _USUAL_HEADER:
        return 0
    low, high = 0, int.from_bytes(head[8:], "little")
    if high > _MOST_FRAMES:
        return 0
    while low < high:
        middle = (low + high) // 2
        start, frame = _read_pair(elf, table + 12 + middle * _PAIR.size)
        if table + start == address:
            return _read_size(elf, table + frame, address)
        low, high = (middle + 1, high) if table + start < address else (low, middle)
    return 0


def _read_pair(elf: Elf, address: int) -> tuple[int, int]:
    data = elf.read(address, _PAIR.size)
    return _PAIR.unpack(data) if len(data) == _PAIR.size else (0, 0)


def _read_size(elf: Elf, frame: int, address: int) -> int:
    data = elf.read(frame, _FRAME.size)
    if len(data) < _FRAME.size:
        return 0
    _, _, distance, size = _FRAME.unpack(data)
    return size if frame + 8 + distance == address else 0  # given in another way than usual
