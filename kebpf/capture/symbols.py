"""Finds functions of an ELF file by name, without reading what else it has.

What a library exports is found by its hash table, as the loader does (`DT_GNU_HASH`_, or System
V's ``DT_HASH``), so that no section headers are needed.  What else it names (``.symtab``) is
found by the names' text first: a large program has 100,000 symbols and more.

.. _DT_GNU_HASH: https://flapenguin.me/elf-dt-gnu-hash
"""

from __future__ import annotations

import itertools
import re
import struct
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from kebpf.capture.elf import Elf, Section

_HASH, _STRINGS, _SYMBOLS, _GNU_HASH = 4, 5, 6, 0x6FFFFEF5  # tags of PT_DYNAMIC
_STUBS, _STUBS_SIZE = 23, 2
_SYMBOL_TABLE, _EXPORTED_TABLE = 2, 11  # kinds of sections
_FUNCTION = 2
_ENTRY = struct.Struct("<IBBHQQ")
_GNU_HEADER = struct.Struct("<IIII")
_WORD, _LONG = struct.Struct("<I"), struct.Struct("<Q")
_RELOCATION = struct.Struct("<QQq")
_STUB = re.compile(rb"(?:\xf3\x0f\x1e\xfa)?\xf2?\xff\x25(.{4})", re.DOTALL)  # jmp *slot(%rip)
_MOST_STUBS = 1 << 20
_MOST_CHAIN = 4096  # symbols whose hash is of one bucket: a handful, but for a made-up file
_LONGEST = 512  # name
_MOST_USES = 64  # of one name: by other names' ends, or a local symbol a source file


@dataclass(frozen=True, slots=True)
class Symbol:
    """A function's address (in the file's own numbering) and size; size 0: not said."""

    address: int
    size: int


def find_functions(elf: Elf, names: Collection[str]) -> dict[str, Symbol]:
    """Those of the functions that the file itself has, exported or not.

    Raises ``OSError``.
    """
    wanted = {name.encode() for name in names}
    found = {}
    for name in wanted:
        symbol = _find_exported(elf, name)
        if symbol is not None:
            found[name] = symbol
    for table, strings in _find_tables(elf):
        missing = wanted - found.keys()
        if missing:
            found |= _search(elf, table, _find_names(elf, strings, missing))
    return {name.decode(): symbol for name, symbol in found.items()}


def find_mangled(elf: Elf, parts: Collection[str]) -> dict[str, list[tuple[str, Symbol]]]:
    """By part of a name: the functions that have it in theirs, with their names; unexported only.

    Raises ``OSError``.
    """
    found: dict[str, list[tuple[str, Symbol]]] = {part: [] for part in parts}
    for table, strings in _find_tables(elf):
        for place, part in _find_names(
            elf, strings, {part.encode() for part in parts}, b""
        ).items():
            before = elf.read_file(strings.offset + max(place - _LONGEST, 0), min(place, _LONGEST))
            start = place - len(before) + before.rfind(b"\0") + 1
            name = elf.read_file(strings.offset + start, _LONGEST).partition(b"\0")[0]
            for symbol in _search(elf, table, {start: name}).values():
                found[part.decode()].append((name.decode(errors="replace"), symbol))
    return found


def follow_stub(elf: Elf, address: int) -> int:
    """The function that a stub of the PLT (x86-64) jumps to, of this very file.

    Or the address, if it is no stub.  What another file's function of the same name may take the
    place of is not told from what stays.
    """
    match = _STUB.match(elf.read(address, 16))
    if match is None:
        return address
    slot = address + match.end() + int.from_bytes(match[1], "little", signed=True)
    size = min(elf.dynamic.get(_STUBS_SIZE, 0), _MOST_STUBS)
    table = elf.read(elf.dynamic.get(_STUBS, 0), size) if slot >= 0 else b""
    for at in _find_all(table, _LONG.pack(slot)) if table else ():
        if at % _RELOCATION.size == 0 and at + _RELOCATION.size <= len(table):
            index = _RELOCATION.unpack_from(table, at)[1] >> 32
            entry = elf.read(elf.dynamic.get(_SYMBOLS, 0) + index * _ENTRY.size, _ENTRY.size)
            symbol = _as_function(entry)
            return symbol.address if symbol is not None else address
    return address


def _find_exported(elf: Elf, name: bytes) -> Symbol | None:
    symbols, strings = elf.dynamic.get(_SYMBOLS, 0), elf.dynamic.get(_STRINGS, 0)
    for index in _find_hashed(elf, name):
        entry = elf.read(symbols + index * _ENTRY.size, _ENTRY.size)
        symbol = _as_function(entry)
        if symbol is not None:
            at = strings + _WORD.unpack_from(entry)[0]
            if elf.read(at, len(name) + 1) == name + b"\0":
                return symbol
    return None


def _find_hashed(elf: Elf, name: bytes) -> Iterator[int]:
    """Indexes of the dynamic symbols that may have the name."""
    if _GNU_HASH in elf.dynamic:
        return _find_gnu(elf, elf.dynamic[_GNU_HASH], name)
    return _find_system(elf, elf.dynamic.get(_HASH, 0), name)


def _find_gnu(elf: Elf, table: int, name: bytes) -> Iterator[int]:
    value = 5381
    for byte in name:
        value = (value * 33 + byte) & 0xFFFFFFFF
    header = elf.read(table, _GNU_HEADER.size)
    if len(header) < _GNU_HEADER.size:
        return
    buckets, first, filter_size, shift = _GNU_HEADER.unpack(header)
    if not buckets or not filter_size:
        return
    filter_at = table + _GNU_HEADER.size
    bits = 1 << value % 64 | 1 << (value >> (shift & 31)) % 64
    if _read_number(elf, filter_at + value // 64 % filter_size * 8, _LONG) & bits != bits:
        return
    buckets_at = filter_at + filter_size * 8
    start = _read_number(elf, buckets_at + value % buckets * 4, _WORD)
    for index in range(start, start + _MOST_CHAIN) if start >= first else ():
        own = _read_number(elf, buckets_at + (buckets + index - first) * 4, _WORD)
        if own | 1 == value | 1:
            yield index
        if own & 1 or not own:  # the chain's last, or behind the file's end
            return


def _find_system(elf: Elf, table: int, name: bytes) -> Iterator[int]:
    value = 0
    for byte in name:
        value = (value << 4) + byte
        high = value & 0xF0000000
        value = (value ^ high >> 24) & ~high & 0xFFFFFFFF
    buckets = _read_number(elf, table, _WORD) if table else 0
    if not buckets:
        return
    index = _read_number(elf, table + 8 + value % buckets * 4, _WORD)
    for _ in range(_MOST_CHAIN):
        if not index:
            return
        yield index
        index = _read_number(elf, table + 8 + (buckets + index) * 4, _WORD)


def _read_number(elf: Elf, address: int, kind: struct.Struct) -> int:
    """0 where nothing is."""
    data = elf.read(address, kind.size)
    return int.from_bytes(data, "little") if len(data) == kind.size else 0


def _find_tables(elf: Elf) -> Iterator[tuple[Section, Section]]:
    """Symbols to be searched, and their strings: the exported ones only if nothing leads there."""
    is_hashed = _GNU_HASH in elf.dynamic or _HASH in elf.dynamic
    kinds = (_SYMBOL_TABLE,) if is_hashed else (_SYMBOL_TABLE, _EXPORTED_TABLE)
    for section in elf.sections:
        if section.kind in kinds and section.link < len(elf.sections):
            yield section, elf.sections[section.link]


def _search(elf: Elf, table: Section, names: Mapping[int, bytes]) -> dict[bytes, Symbol]:
    found: dict[bytes, Symbol] = {}
    for _, piece in elf.read_pieces(table.offset, table.size) if names else ():
        for index, name in names.items():
            for at in _find_all(piece, _WORD.pack(index)):
                if at % _ENTRY.size == 0:
                    symbol = _as_function(piece[at : at + _ENTRY.size])
                    if symbol is not None:
                        found.setdefault(name, symbol)
    return found


def _find_names(
    elf: Elf, strings: Section, wanted: Collection[bytes], end: bytes = b"\0"
) -> dict[int, bytes]:
    """By offset among the strings; it may be another name's end, as linkers share them."""
    found: dict[int, bytes] = {}
    overlap = max(map(len, wanted))
    for offset, piece in elf.read_pieces(strings.offset, strings.size, overlap):
        for name in wanted:
            for at in itertools.islice(_find_all(piece, name + end), _MOST_USES):
                if offset + at - strings.offset < 1 << 32:
                    found[offset + at - strings.offset] = name
    return found


def _find_all(data: bytes, wanted: bytes) -> Iterator[int]:
    at = data.find(wanted)
    while at >= 0:
        yield at
        at = data.find(wanted, at + 1)


def _as_function(entry: bytes) -> Symbol | None:
    """If it is one, and not one that another file is to bring."""
    if len(entry) < _ENTRY.size:
        return None
    _, info, _, section, address, size = _ENTRY.unpack(entry)
    if info & 15 != _FUNCTION or not section or not address:
        return None
    return Symbol(address, size)
