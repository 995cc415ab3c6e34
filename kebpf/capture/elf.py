"""Reads an ELF file (64 bit, little-endian): its parts, and where its addresses are in it.

See elf(5) and the System V ABI, "Dynamic Linking".  Files may be large, stripped of all that
running them does not need (section headers too), written over while they are read, or made to
mislead: nothing a file says of itself is taken as a size to read or a number of steps without a
limit, and it is read in pieces, never mapped.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

X86_64, AARCH64 = 62, 183
_LOAD, _DYNAMIC, _NOTE = 1, 2, 4
_SECTION_NOBITS = 8
_BUILD_ID = 3
_HEADER = struct.Struct("<16xHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_NOTE_HEADER = struct.Struct("<III")
_MOST_SEGMENTS, _MOST_SECTIONS, _MOST_DYNAMIC = 256, 4096, 1024
_MOST_NOTES = 1 << 16
_MOST_READ = 1 << 30  # a program of 200 MB is gone through a few times
_CALL_COST = 512  # bytes that might have been read meanwhile
_LONGEST = 256  # text
PIECE = 24 << 15  # bytes read at a time: whole symbols, which are of 24


class ElfError(ValueError):
    """It is no ELF file, not of a kind that is read here, or damaged."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A program header: what is mapped from where in the file to which address."""

    kind: int
    flags: int
    offset: int
    address: int
    file_size: int

    @property
    def is_code(self) -> bool:
        return self.kind == _LOAD and bool(self.flags & 1)


@dataclass(frozen=True, slots=True)
class Section:
    """A section header, where a file has them."""

    name: int  # offset in the names' section
    kind: int
    address: int
    offset: int
    size: int
    link: int


class Elf:
    """One open file; the descriptor stays its owner's."""

    def __init__(self, descriptor: int) -> None:
        """Raises ``ElfError`` and ``OSError``."""
        self._descriptor = descriptor
        self.file_size = os.fstat(descriptor).st_size
        self._read_size = 0
        head = self.read_file(0, 64)
        if len(head) < 64 or head[:6] != b"\x7fELF\x02\x01":
            raise ElfError("not a 64-bit little-endian ELF file")
        fields = _HEADER.unpack(head)
        self.kind, self.machine = fields[0], fields[1]
        segments, self._sections_at = fields[4], fields[5]
        size, count, self._section_size, self._section_count, self._names_index = fields[8:13]
        if size != _SEGMENT.size or count > _MOST_SEGMENTS:
            raise ElfError("damaged program headers")
        self.segments = [
            Segment(kind, flags, offset, address, in_file)
            for kind, flags, offset, address, _, in_file, _, _ in _SEGMENT.iter_unpack(
                self._read_table(segments, count * size, _SEGMENT.size)
            )
        ]

    def read_file(self, offset: int, size: int) -> bytes:
        """What the file holds there; less or nothing where it does not reach.

        Raises ``ElfError`` once more was read than any file gives reason to.
        """
        if not 0 <= offset < self.file_size or size <= 0:
            return b""
        self._read_size += min(size, self.file_size - offset) + _CALL_COST
        if self._read_size > _MOST_READ:
            raise ElfError("its tables lead round in circles")
        return os.pread(self._descriptor, min(size, self.file_size - offset), offset)

    def read(self, address: int, size: int) -> bytes:
        """What is loaded at an address; less or nothing where the file does not reach."""
        for segment in self.segments:
            if segment.kind == _LOAD and 0 <= address - segment.address < segment.file_size:
                skipped = address - segment.address
                return self.read_file(
                    segment.offset + skipped, min(size, segment.file_size - skipped)
                )
        return b""

    def find_offset(self, address: int) -> int | None:
        """Where in the file the instruction is that runs at an address; None for none."""
        for segment in self.segments:
            if segment.is_code and 0 <= address - segment.address < segment.file_size:
                offset = segment.offset + address - segment.address
                return offset if offset < self.file_size else None
        return None

    @cached_property
    def build_id(self) -> bytes:
        """What the linker made of its contents; empty for none."""
        for segment in self.segments:
            if segment.kind == _NOTE:
                size = min(segment.file_size, _MOST_NOTES)
                found = _find_build_id(self.read_file(segment.offset, size))
                if found:
                    return found
        return b""

    @cached_property
    def sections(self) -> list[Section]:
        """Empty where the file has none."""
        count = self._section_count
        if self._section_size != _SECTION.size or not 0 < count <= _MOST_SECTIONS:
            return []
        table = self._read_table(self._sections_at, count * _SECTION.size, _SECTION.size)
        return [
            Section(name, kind, address, offset, 0 if kind == _SECTION_NOBITS else size, link)
            for name, kind, _, address, offset, size, link, _, _, _ in _SECTION.iter_unpack(table)
        ]

    def find_section(self, name: str) -> Section | None:
        if not self._names_index < len(self.sections):
            return None
        names = self.sections[self._names_index]
        wanted = name.encode() + b"\0"
        for section in self.sections:
            at = names.offset + section.name
            if section.name < names.size and self.read_file(at, len(wanted)) == wanted:
                return section
        return None

    def read_pieces(self, offset: int, size: int, overlap: int = 0) -> Iterator[tuple[int, bytes]]:
        """A part of the file with the offset of each piece, which shares some with the next."""
        end = min(offset + size, self.file_size)
        while offset < end:
            yield offset, self.read_file(offset, min(PIECE + overlap, end - offset))
            offset += PIECE

    def find_in(self, address: int, size: int, wanted: bytes) -> Iterator[int]:
        """Addresses of some bytes, from ``address`` on, in what is loaded there as one."""
        for segment in self.segments:
            skipped = address - segment.address
            if segment.kind == _LOAD and 0 <= skipped < segment.file_size:
                whole = min(size, segment.file_size - skipped)
                place = segment.offset + skipped
                for offset, piece in self.read_pieces(place, whole, len(wanted) - 1):
                    at = piece.find(wanted)
                    while at >= 0:
                        yield address + offset - place + at
                        at = piece.find(wanted, at + 1)

    def find_data(self, wanted: bytes) -> Iterator[int]:
        """Addresses of some bytes in what is loaded not to run."""
        for segment in self.segments:
            if segment.kind == _LOAD and not segment.is_code:
                yield from self.find_in(segment.address, segment.file_size, wanted)

    def find_constants(self, beginning: bytes) -> Iterator[bytes]:
        """Texts with this beginning in what is loaded neither to run nor to be written."""
        for segment in self.segments:
            if segment.kind == _LOAD and not segment.flags & 3:
                for address in self.find_in(segment.address, segment.file_size, beginning):
                    yield self.read(address, _LONGEST).partition(b"\0")[0]

    @cached_property
    def dynamic(self) -> dict[int, int]:
        """What the loader is told (PT_DYNAMIC), by tag."""
        for segment in self.segments:
            if segment.kind == _DYNAMIC:
                size = min(segment.file_size, 16 * _MOST_DYNAMIC)
                table = self._read_table(segment.offset, size, 16)
                return dict(struct.iter_unpack("<QQ", table))
        return {}

    def _read_table(self, offset: int, size: int, entry: int) -> bytes:
        data = self.read_file(offset, size)
        return data[: len(data) // entry * entry]


def _find_build_id(notes: bytes) -> bytes:
    at = 0
    while at + _NOTE_HEADER.size <= len(notes):
        name_size, size, kind = _NOTE_HEADER.unpack_from(notes, at)
        name = at + _NOTE_HEADER.size
        content = name + (name_size + 3 & ~3)
        if kind == _BUILD_ID and notes[name : name + 4] == b"GNU\0":
            return notes[content : content + size]
        at = content + (size + 3 & ~3)
    return b""
