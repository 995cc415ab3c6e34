"""Says of a program's file whether a preloaded library can act on it (ELF, elf(5)), and whether

it is another interpreter than was recorded.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

_HEAD = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_INTERPRETER = 3  # PT_INTERP
_MOST_NAMES_SIZE = 1 << 20
_GO = b".go.buildinfo"
_INTERPRETERS = re.compile("python|pypy|node|java|ruby|php|perl|deno|bun")


def find_executable(command: str | Sequence[str], environment: Mapping[str, str]) -> Path | None:
    """The file of a command's first word; ``None`` if that is a shell's text or is not found."""
    if isinstance(command, str):
        return None
    found = shutil.which(command[0], path=environment.get("PATH", os.defpath))
    return Path(found).resolve() if found else None


def describe_other_interpreter(recorded: str, pids: Iterable[int]) -> str | None:
    """Where processes run an interpreter from another file than was recorded: a sentence on that.

    A program of one's own is another with every version; an interpreter that is another is often
    an accident, of ``PATH`` say, and its libraries' answers differ.
    """
    kind = _INTERPRETERS.match(Path(recorded).name)
    if kind is None:
        return None
    running = [Path(os.path.realpath(f"/proc/{pid}/exe")) for pid in pids]
    alike = [path for path in running if path.name.startswith(kind[0])]
    if not alike or Path(os.path.realpath(recorded)) in alike:
        return None
    return f"it was recorded with {recorded} and runs with {alike[0]} now"


def why_no_library(path: Path) -> str | None:
    """Why ``LD_PRELOAD`` of a library of glibc's would not change what the program does.

    As the end of a sentence about it; ``None`` if nothing is known against it.  Raises ``OSError``.
    """
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_mode & (stat.S_ISUID | stat.S_ISGID):
            return "changes its user when it is started, and then loads no library from outside"
        raw = file.read(_HEAD.size)
        if len(raw) < _HEAD.size or not raw.startswith(b"\x7fELF\x02\x01"):
            return None  # a script, whose interpreter is another program
        head = _HEAD.unpack(raw)
        if _GO in _read_section_names(file, head):
            return "is a Go program, which asks the kernel for the time itself"
        interpreter = _read_interpreter(file, head)
        if interpreter is None:
            return "is linked statically, so no library can be put before it"
        if b"musl" in interpreter:
            return "runs on musl, which libfaketime of this host is not made for"
    return None


def _read_interpreter(file: BinaryIO, head: tuple[int, ...]) -> bytes | None:
    for kind, _, offset, _, _, size, _, _ in _read_table(file, _SEGMENT, head[5], head[10]):
        if kind == _INTERPRETER:
            file.seek(offset)
            return file.read(size).rstrip(b"\0")
    return None


def _read_section_names(file: BinaryIO, head: tuple[int, ...]) -> list[bytes]:
    sections = list(_read_table(file, _SECTION, head[6], head[12]))
    if head[13] >= len(sections):
        return []
    offset, size = sections[head[13]][4:6]
    file.seek(offset)
    return file.read(min(size, _MOST_NAMES_SIZE)).split(b"\0")


def _read_table(
    file: BinaryIO, entry: struct.Struct, offset: int, count: int
) -> Iterator[tuple[int, ...]]:
    for index in range(count):
        file.seek(offset + index * entry.size)
        raw = file.read(entry.size)
        if len(raw) == entry.size:
            yield entry.unpack(raw)
