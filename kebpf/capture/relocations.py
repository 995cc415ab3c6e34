"""Reads pointers of an ELF file whose places are only known once it is loaded (x86-64, arm64)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from kebpf.capture.elf import AARCH64, X86_64, Elf

_TABLE, _TABLE_SIZE = 7, 8  # tags of PT_DYNAMIC: DT_RELA, DT_RELASZ
_ENTRY, _LONG = struct.Struct("<QQq"), struct.Struct("<Q")
_RELATIVE = {X86_64: 8, AARCH64: 1027}  # R_X86_64_RELATIVE, R_AARCH64_RELATIVE


def read_pointer(elf: Elf, address: int) -> int:
    """What will be there when the file is loaded where it says, be it 0; 0 if nothing will."""
    data = elf.read(address, _LONG.size)
    value = int.from_bytes(data, "little") if len(data) == _LONG.size else 0
    if not value:
        for offset, kind, addend in _find_entries(elf, address, 0):
            if offset == address and kind == _RELATIVE.get(elf.machine):
                return addend
    return value


def find_pointers(elf: Elf, value: int) -> Iterator[int]:
    """Addresses of aligned pointers to ``value``."""
    for address in elf.find_data(_LONG.pack(value)):
        if address % 8 == 0 and not _is_in_table(elf, address):
            yield address
    for offset, kind, addend in _find_entries(elf, value, 16):
        is_there = elf.read(offset, _LONG.size) == _LONG.pack(value)
        if addend == value and kind == _RELATIVE.get(elf.machine) and not is_there:
            yield offset


def _is_in_table(elf: Elf, address: int) -> bool:
    return 0 <= address - elf.dynamic.get(_TABLE, 1 << 64) < elf.dynamic.get(_TABLE_SIZE, 0)


def _find_entries(elf: Elf, value: int, field: int) -> Iterator[tuple[int, int, int]]:
    """Relocations that have a value in one of their fields: offset, kind and addend."""
    start, size = elf.dynamic.get(_TABLE, 0), elf.dynamic.get(_TABLE_SIZE, 0)
    for address in elf.find_in(start, size, _LONG.pack(value & (1 << 64) - 1)) if start else ():
        if (address - field - start) % _ENTRY.size == 0:
            entry = elf.read(address - field, _ENTRY.size)
            if len(entry) == _ENTRY.size:
                offset, kind, addend = _ENTRY.unpack(entry)
                yield offset, kind & 0xFFFFFFFF, addend
