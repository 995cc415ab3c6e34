"""Finds functions of Go programs by name, stripped or not, by the table that Go's runtime needs.

``.gopclntab`` (src/runtime/symtab.go, src/cmd/link/internal/ld/pcln.go) has every function's name
and place, as the runtime prints and walks stacks by it.  Its layout is known from Go 1.16 on.
Where the linker has put it into a section of another name, or there are no section headers, it is
found by how it begins.  Places are counted from ``runtime.text``, which from Go 1.26 on only the
module's data names.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from kebpf.capture.elf import AARCH64, X86_64, Elf
from kebpf.capture.relocations import find_pointers, read_pointer
from kebpf.capture.symbols import Symbol

_MAGICS = (0xFFFFFFF1, 0xFFFFFFF0, 0xFFFFFFFA)  # Go 1.20, 1.18, 1.16
_FIRST = 0xFFFFFFFA
_STEPS = {X86_64: 1, AARCH64: 4}  # the least size of an instruction
_SECTIONS = (".gopclntab", ".data.rel.ro.gopclntab")
_BUILD_SECTION = ".go.buildinfo"
_WORD, _LONG = struct.Struct("<I"), struct.Struct("<Q")
_HEADER_SIZE = 72
_TEXT_IN_HEADER = 24
_TEXT_IN_MODULE = 176  # of runtime.moduledata, whose first fields are the header and the names
_MOST_FUNCTIONS = 1 << 24
_MOST_PLACES = 16  # that may be the table's, or the module's data
_MOST_USES = 64  # of four bytes that are to be a name's number


_BUILD_MAGIC = b"\xff Go buildinf:"
_INLINE = 2  # a flag of it: what it says stands behind it, and is not pointed to
_MOST_VERSION = 128


@dataclass(frozen=True, slots=True)
class _Table:
    """Addresses of the parts, in the file's own numbering."""

    magic: int
    start: int
    count: int
    names: int
    names_size: int
    functions: int

    @property
    def entry_size(self) -> int:
        """Of the list of functions that is in order: where it begins, where more is said."""
        return 16 if self.magic == _FIRST else 8


def find_go_functions(elf: Elf, names: Collection[str]) -> dict[str, Symbol]:
    """Those of the functions that the program has; none if it is not Go's.

    Sizes are up to where the next function begins.  Raises ``OSError``.
    """
    for table in _find_tables(elf):
        found = {}
        text = _find_text(elf, table)
        for name in names if text or table.magic == _FIRST else ():
            symbol = _find_function(elf, table, text, name.encode())
            if symbol is not None:
                found[name] = symbol
        if found:
            return found
    return {}


def has_go(elf: Elf) -> bool:
    """Whether it may be Go's: it says so, or there is nothing that says what it is."""
    return not elf.sections or any(
        elf.find_section(name) is not None for name in (*_SECTIONS, _BUILD_SECTION)
    )


def _find_tables(elf: Elf) -> Iterator[_Table]:
    if elf.machine not in _STEPS or not has_go(elf):
        return
    starts = [section.address for name in _SECTIONS if (section := elf.find_section(name))]
    for start in starts or _search(elf):
        table = _read_table(elf, start)
        if table is not None:
            yield table


def _search(elf: Elf) -> Iterator[int]:
    """Addresses at which there is what a table begins with."""
    rest = bytes((0, 0, _STEPS[elf.machine], 8))
    for magic in _MAGICS:
        places = elf.find_data(_WORD.pack(magic) + rest)
        yield from (at for at in itertools.islice(places, _MOST_PLACES) if at % 8 == 0)


def _read_table(elf: Elf, start: int) -> _Table | None:
    head = elf.read(start, _HEADER_SIZE)
    if len(head) < _HEADER_SIZE:
        return None
    magic = _WORD.unpack_from(head)[0]
    if magic not in _MAGICS or head[6:8] != bytes((_STEPS[elf.machine], 8)):
        return None
    count = _LONG.unpack_from(head, 8)[0]
    offsets = struct.unpack_from("<5Q", head, 24 if magic == _FIRST else 32)
    if not 0 < count <= _MOST_FUNCTIONS or list(offsets) != sorted(offsets):
        return None
    names, units, *_, functions = offsets
    return _Table(magic, start, count, start + names, units - names, start + functions)


def _find_function(elf: Elf, table: _Table, text: int, name: bytes) -> Symbol | None:
    for number in _find_name(elf, table, name):
        for place in itertools.islice(_find_uses(elf, table, number), _MOST_USES):
            index = _find_index(elf, table, place)
            if index is not None:
                start = _read_start(elf, table, text, index)
                return Symbol(start, _read_start(elf, table, text, index + 1) - start)
    return None


def _find_name(elf: Elf, table: _Table, name: bytes) -> Iterator[int]:
    for address in elf.find_in(table.names, table.names_size, b"\0" + name + b"\0"):
        yield address + 1 - table.names


def _find_uses(elf: Elf, table: _Table, number: int) -> Iterator[int]:
    """Where what is said of a function may begin, by its second field, the name's number."""
    first = table.entry_size // 2
    begin = table.functions + table.count * table.entry_size
    for address in elf.find_in(begin, 1 << 40, _WORD.pack(number)):
        if (address - first) % 4 == 0:
            yield address - first


def _find_index(elf: Elf, table: _Table, place: int) -> int | None:
    """Which one of the list of functions leads to what is said there, if one does."""
    wanted, size = place - table.functions, table.entry_size
    low, high = 0, table.count
    while low < high:
        middle = (low + high) // 2
        if _read_number(elf, table.functions + middle * size + size // 2, size // 2) < wanted:
            low = middle + 1
        else:
            high = middle
    found = _read_number(elf, table.functions + low * size + size // 2, size // 2)
    return low if found == wanted and low < table.count else None


def _read_start(elf: Elf, table: _Table, text: int, index: int) -> int:
    """Where a function of the list begins, or behind the last the code ends."""
    at = table.functions + index * table.entry_size
    return read_pointer(elf, at) if table.magic == _FIRST else text + _read_number(elf, at, 4)


def _find_text(elf: Elf, table: _Table) -> int:
    """What the places of functions are counted from; 0 if that is not to be found."""
    if table.magic == _FIRST:
        return 0
    text = read_pointer(elf, table.start + _TEXT_IN_HEADER)
    if text:
        return text
    for module in itertools.islice(find_pointers(elf, table.start), _MOST_PLACES):
        if read_pointer(elf, module + 8) == table.names:
            return read_pointer(elf, module + _TEXT_IN_MODULE)
    return 0


def _read_number(elf: Elf, address: int, size: int) -> int:
    """0 where nothing is."""
    data = elf.read(address, size)
    return int.from_bytes(data, "little") if len(data) == size else 0


def find_go_version(elf: Elf) -> str:
    """That of the tools that built the program (``go1.21.3``); empty where it does not say.

    See src/debug/buildinfo/buildinfo.go.
    """
    section = elf.find_section(_BUILD_SECTION)
    if section is None:
        return ""
    head = elf.read(section.address, 33 + _MOST_VERSION)
    if len(head) < 34 or not head.startswith(_BUILD_MAGIC):
        return ""
    if head[15] & _INLINE:
        return _as_text(head[33 : 33 + head[32]]) if head[32] < _MOST_VERSION else ""
    text = read_pointer(elf, section.address + 16)
    size = _read_number(elf, text + 8, 8) if text else 0
    return _as_text(elf.read(read_pointer(elf, text), size)) if size < _MOST_VERSION else ""


def _as_text(data: bytes) -> str:
    return data.decode(errors="replace") if data.startswith((b"go", b"devel ")) else ""
