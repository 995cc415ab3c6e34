"""Reads what another process has in its memory, and which files it has mapped there."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
_WORD = struct.Struct("=Q")


@dataclass(frozen=True, slots=True)
class Mapping:
    """One line of /proc/PID/maps."""

    start: int
    end: int
    flags: str
    offset: int
    file: tuple[str, int]  # device and inode; inode 0 for none
    path: str


class Memory:
    """Reads another process; what cannot be read is empty.  ``close`` when done."""

    def __init__(self, pid: int) -> None:
        """Raises ``OSError``."""
        self._descriptor = os.open(PROC / str(pid) / "mem", os.O_RDONLY | os.O_CLOEXEC)

    def read(self, address: int, size: int) -> bytes:
        with suppress(OSError, OverflowError):
            return os.pread(self._descriptor, size, address)
        return b""

    def read_word(self, address: int) -> int:
        """0 where nothing can be read."""
        data = self.read(address, 8)
        return int.from_bytes(data, "little") if len(data) == 8 else 0

    def read_words(self, address: int, size: int) -> Iterator[tuple[int, int]]:
        """Addresses and values of aligned words."""
        data = self.read(address, size & ~7)
        data = data[: len(data) & ~7]
        for index, (value,) in enumerate(_WORD.iter_unpack(data)):
            yield address + 8 * index, value

    def read_text(self, address: int) -> bytes:
        """Up to 63 bytes before a zero byte."""
        return self.read(address, 64).partition(b"\0")[0]

    def close(self) -> None:
        os.close(self._descriptor)


def read_mappings(pid: int) -> list[Mapping]:
    """Raises ``OSError``."""
    found = []
    for line in (PROC / str(pid) / "maps").read_text(errors="surrogateescape").splitlines():
        fields = line.split(maxsplit=5)
        start, _, end = fields[0].partition("-")
        path = fields[5] if len(fields) > 5 else ""
        file = (fields[3], int(fields[4]))
        found.append(
            Mapping(int(start, 16), int(end, 16), fields[1], int(fields[2], 16), file, path)
        )
    return found


def path_of(pid: int, mapping: Mapping) -> str:
    """The very file that is mapped, whatever has its name now or in other mount namespaces."""
    return os.fspath(PROC / str(pid) / "map_files" / f"{mapping.start:x}-{mapping.end:x}")
