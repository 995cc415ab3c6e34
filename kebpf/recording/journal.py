"""The journal of a test set that is being written: which of its parts are whole, and what it is of.

It is a file of lines, each behind its own CRC-32, so a line that is torn or damaged takes no other
with it.  A case's line is written after its file and after all its mocks; it holds what these
must be like, so nothing is ever taken for whole that a crash or a power cut left half-written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO
from zlib import crc32

JOURNAL_NAME = ".journal"

_HEAD_SIZE = 9  # eight digits and a space
_READ_SIZE = 1 << 20


@dataclass(frozen=True, slots=True)
class Extent:
    """Bytes of the file of mocks, from ``start`` to before ``end``, and their CRC-32."""

    start: int
    end: int
    crc: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: ``kind`` is ``case`` (written), ``drop`` (taken back), ``mark`` or ``rewrite``.

    After a ``rewrite`` the file of mocks is another one, which begins as ``mocks`` says.

    ``mocks`` are those added since the entry before; ``size`` and ``crc`` are of the file of the
    case called ``name``; ``facts`` are the fields of a `Manifest`.  ``time_ns`` is Unix time.
    """

    kind: str
    time_ns: int
    mocks: Extent
    name: str = ""
    size: int = 0
    crc: int = 0
    facts: dict[str, Any] = field(default_factory=dict)


class Journal:
    """Appends to a file that is open and empty; the descriptor is its own from then on."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._size = 0

    def append(self, entry: Entry) -> None:
        """The line is the kernel's when it returns.  Raises ``OSError``, and adds nothing then."""
        line = pack_entry(entry)
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            os.ftruncate(self._descriptor, self._size)  # or the next would be part of it
            os.lseek(self._descriptor, self._size, os.SEEK_SET)
            raise
        self._size += len(line)

    def flush(self) -> None:
        """What was appended is on the disk.  Raises ``OSError``."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Nothing is appended any more."""
        os.close(self._descriptor)


def pack_entry(entry: Entry) -> bytes:
    """An entry as its line."""
    fields: dict[str, Any] = {"kind": entry.kind, "time_ns": entry.time_ns}
    extent = entry.mocks
    fields["mocks"] = [extent.start, extent.end, extent.crc]
    if entry.name:
        fields |= {"name": entry.name, "size": entry.size, "crc": entry.crc}
    if entry.facts:
        fields["facts"] = entry.facts
    text = json.dumps(fields, separators=(",", ":")).encode()
    return b"%08x %s\n" % (crc32(text), text)


def read_journal(data: bytes) -> tuple[list[Entry], int]:
    """The entries that are whole, and how many lines are not: a last one without its end is none.

    Of the facts only the newest are kept.  Never raises.
    """
    entries: list[Entry] = []
    marked, bad_lines = -1, 0
    for line in data.split(b"\n")[:-1]:
        entry = _read_entry(line)
        if entry is None:
            bad_lines += 1
            continue
        if entry.facts:
            if marked >= 0:
                entries[marked] = replace(entries[marked], facts={})
            marked = len(entries)
        entries.append(entry)
    return entries, bad_lines


def _read_entry(line: bytes) -> Entry | None:
    text = line[_HEAD_SIZE:]
    if line[:_HEAD_SIZE] != b"%08x " % crc32(text):
        return None
    try:
        fields = json.loads(text)
        fields["mocks"] = Extent(*fields["mocks"])
        return Entry(**fields)
    except (ValueError, TypeError, KeyError):  # its sum is right: another version wrote it
        return None


def sum_up(file: BinaryIO, start: int, end: int) -> int | None:
    """The CRC-32 of what is there, ``None`` if the file ends before."""
    file.seek(start)
    left, crc = end - start, 0
    while left:
        data = file.read(min(left, _READ_SIZE))
        if not data:
            return None
        crc, left = crc32(data, crc), left - len(data)
    return crc


def cases_of(entries: Iterable[Entry]) -> dict[str, Entry]:
    """The cases that were added and not taken back, by name."""
    cases: dict[str, Entry] = {}
    for entry in entries:
        if entry.kind == "case":
            cases[entry.name] = entry
        elif entry.kind == "drop":
            cases.pop(entry.name, None)
    return cases
