"""Finds where a Python process keeps its asyncio tasks, by reading its memory and nothing more.

No symbols are needed, which distributions and container images strip.  CPython's C accelerator
(``_asyncio``, a module of its own or part of the interpreter) holds in plain data what the
interpreter needs itself: the type of tasks, with the function that fills in a new one, and the
dictionary event loop → running task.  CPython 3.7 to 3.11 keep both in static variables
(``TaskType``, ``current_tasks`` of Modules/_asynciomodule.c), 3.12 and 3.13 the dictionary in the
module's state.  The offsets below are those of Include/cpython/object.h and dictobject.h, of
64-bit builds.  What does not look as expected is not taken: then there is no such evidence.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from kebpf.capture.memory import Mapping, Memory

VERSIONS = range(7, 14)  # of Python 3
_STATIC_UNTIL = 11
_VERSION = re.compile(r"(?:cpython-3|python3\.)(\d+)(?![\dtd])")
_TASK_NAME, _MODULE_NAME = b"_asyncio.Task\0", b"_asyncio\0"

# offsets in PyTypeObject, PyType_Spec, PyModuleDef, PyModuleObject, PyDictObject
_TYPE, _NAME, _INIT, _TYPE_SIZE = 8, 24, 296, 416
_SPEC_SLOTS, _INIT_SLOT, _MOST_SLOTS = 24, 60, 32
_DEF_NAME, _DEF_STATE_SIZE = 40, 56
_MODULE_DEF, _MODULE_STATE = 24, 32
_USED, _KEYS = 16, 32
_HEAP_TYPE_SIZE = 1024  # at most, of what stands in a type made at run time
_MOST_STATE_SIZE = 4096
_MOST_MAPPING_SIZE = 64 << 20
_MOST_BASES = 8
_BASE = 256  # of PyTypeObject
_ENTRY = struct.Struct("=QQQ")
_WORD = struct.Struct("=Q")

_BRANCH_TARGET = b"\xf3\x0f\x1e\xfa"  # endbr64


@dataclass(frozen=True, slots=True)
class TaskCode:
    """Where a process's tasks are made: ``offset`` in the file mapped at ``mapping``.

    ``entries`` is where a small dictionary's entries begin, from the start of its keys.
    """

    version: int
    mapping: Mapping
    offset: int
    entries: int
    function: int  # its address
    bss: tuple[int, int]
    definition: int  # address of the module's PyModuleDef, or 0

    @property
    def awaits_type(self) -> bool:
        """Whether the tasks that run are found only once a task was made."""
        return self.version > _STATIC_UNTIL


def find_version(path: str) -> int:
    """The minor version that a file's name tells, 0 for none or another build's (``t``, ``d``)."""
    found = _VERSION.search(os.path.basename(path))  # noqa: PTH119 - may be no valid path
    return int(found[1]) if found else 0


def find_task_code(
    memory: Memory, mappings: list[Mapping], without: set[tuple[str, int]]
) -> TaskCode | None:
    """Where the process makes tasks, if it has asyncio and is of a known version.

    ``without`` are files known to have none, of any process; it is added to.
    """
    by_file: dict[tuple[str, int], list[Mapping]] = {}
    for mapping in mappings:
        is_known = mapping.file in without or not mapping.file[1]
        if not is_known and find_version(mapping.path) in VERSIONS:
            by_file.setdefault(mapping.file, []).append(mapping)
    # the module of its own first: an interpreter without it in it is large
    for parts in sorted(by_file.values(), key=lambda some: "_asyncio" not in some[0].path):
        image = _Image(memory, parts)
        found = image.find_code()
        if found is not None:
            return found
        if not image.has_tasks:
            without.add(parts[0].file)
    return None


@dataclass(slots=True)
class _Image:
    """A file's mappings in one process."""

    memory: Memory
    parts: list[Mapping]
    _contents: dict[int, bytes] = field(default_factory=dict)

    @property
    def has_tasks(self) -> bool:
        """Whether its constants name them, or may: a part that cannot be read."""
        return any(self._find_bytes(_TASK_NAME)) or not self._is_whole

    @property
    def _is_whole(self) -> bool:
        """Whether all its constants are there to be read."""
        constants = [part for part in self.parts if "r" in part.flags and "w" not in part.flags]
        sizes = [(len(self._read(part)), part.end - part.start) for part in constants]
        return len(constants) > 1 and all(read == size for read, size in sizes)

    def find_code(self) -> TaskCode | None:
        version = find_version(self.parts[0].path)
        for name in self._find_bytes(_TASK_NAME):
            for place in self._find_words(name):
                function = self._init_of(place, version)
                part = self._executable(function)
                if part is not None:
                    offset = function - part.start + part.offset
                    skip = _choose_place(self.memory.read(function, 8))
                    entries = 40 if version >= _STATIC_UNTIL else 48
                    return TaskCode(
                        version,
                        part,
                        offset + skip,
                        entries,
                        function,
                        self._bss(),
                        0 if version <= _STATIC_UNTIL else self._find_definition(),
                    )
        return None

    def _init_of(self, place: int, version: int) -> int:
        """The function that fills in a task, if ``place`` holds its type's (or spec's) name."""
        if version <= _STATIC_UNTIL:
            return self.memory.read_word(place - _NAME + _INIT)
        slots = self.memory.read_word(place + _SPEC_SLOTS)
        for at in range(slots, slots + 16 * _MOST_SLOTS, 16) if slots else ():
            if self.memory.read_word(at) & 0xFFFFFFFF == _INIT_SLOT:
                return self.memory.read_word(at + 8)
        return 0

    def _find_definition(self) -> int:
        for name in self._find_bytes(_MODULE_NAME):
            for place in self._find_words(name):
                size = self.memory.read_word(place - _DEF_NAME + _DEF_STATE_SIZE)
                if 0 < size <= _MOST_STATE_SIZE:
                    return place - _DEF_NAME
        return 0

    def _executable(self, address: int) -> Mapping | None:
        for part in self.parts:
            if "x" in part.flags and part.start <= address < part.end:
                return part
        return None

    def _bss(self) -> tuple[int, int]:
        """Where the file's variables are that begin as zero: behind what it holds of its data."""
        base = min(part.start - part.offset for part in self.parts)
        head = self.memory.read(base, 64)
        if len(head) < 64 or head[:5] != b"\x7fELF\x02":
            return 0, 0
        kind = int.from_bytes(head[16:18], "little")
        table, size, count = struct.unpack_from("<Q14xHH", head, 32)
        for index in range(count):
            entry = self.memory.read(base + table + index * size, 56)
            if len(entry) < 56:
                break
            what, flags, _, address, _, in_file, in_memory, _ = struct.unpack("<IIQQQQQQ", entry)
            if what == 1 and flags & 2 and in_memory > in_file:  # PT_LOAD, writable
                start = address + (0 if kind == 2 else base)  # ET_EXEC: it is where it says
                return start + in_file, start + in_memory
        return 0, 0

    def _read(self, part: Mapping) -> bytes:
        if part.start not in self._contents:
            size = part.end - part.start
            known = size <= _MOST_MAPPING_SIZE and "r" in part.flags
            self._contents[part.start] = self.memory.read(part.start, size) if known else b""
        return self._contents[part.start]

    def _find_bytes(self, wanted: bytes) -> Iterator[int]:
        """Addresses of a text in the file's constants."""
        for part in self.parts:
            if "w" not in part.flags:
                yield from _find_all(self._read(part), b"\0" + wanted, part.start + 1)

    def _find_words(self, value: int) -> Iterator[int]:
        """Addresses of an aligned pointer in the file's data."""
        for part in self.parts:
            if "x" not in part.flags:
                for at in _find_all(self._read(part), _WORD.pack(value), part.start):
                    if at % 8 == 0:
                        yield at


def _find_all(data: bytes, wanted: bytes, base: int) -> Iterator[int]:
    at = data.find(wanted)
    while at >= 0:
        yield base + at
        at = data.find(wanted, at + 1)


def _choose_place(code: bytes) -> int:
    """How far behind a function's start its probe sits.

    On a ``push`` it costs a tenth of what it does on another instruction; before one there may be
    ``endbr64``.  Both are whole instructions, behind neither has an argument moved.
    """
    if code.startswith(_BRANCH_TARGET) and _is_push(code[len(_BRANCH_TARGET) :]):
        return len(_BRANCH_TARGET)
    return 0


def _is_push(code: bytes) -> bool:
    start = code[1:2] if code[:1] == b"\x41" else code[:1]  # REX.B: r8 to r15
    return bool(start) and 0x50 <= start[0] <= 0x57


def find_running(memory: Memory, code: TaskCode, task_type: int) -> int:
    """The dictionary event loop → running task; 0 if it is not found, or more than one may be it.

    ``task_type`` is the type of a task that the process made, or 0 if none is known, which from
    3.12 on is needed.
    """
    if code.version <= _STATIC_UNTIL:
        begin, end = code.bss
    else:
        begin, end = _find_state(memory, code, task_type)
    places = memory.read_words(begin, end - begin) if end - begin <= _MOST_MAPPING_SIZE else ()
    found = {value for _, value in places if _is_of_tasks(memory, code, value)}
    return found.pop() if len(found) == 1 else 0


def _find_state(memory: Memory, code: TaskCode, task_type: int) -> tuple[int, int]:
    """Where the state of the module is that a type belongs to, or one of its bases."""
    for _ in range(_MOST_BASES):
        for _, word in memory.read_words(task_type + _TYPE_SIZE, _HEAP_TYPE_SIZE - _TYPE_SIZE):
            if word and code.definition and memory.read_word(word + _MODULE_DEF) == code.definition:
                state = memory.read_word(word + _MODULE_STATE)
                size = memory.read_word(code.definition + _DEF_STATE_SIZE)
                return state, state + size
        task_type = memory.read_word(task_type + _BASE) if task_type else 0
    return 0, 0


def _is_of_tasks(memory: Memory, code: TaskCode, address: int) -> bool:
    """Whether there is a dictionary, with nothing in it or tasks alone."""
    if not address or address % 8 or _read_type_name(memory, address) != b"dict":
        return False
    used, keys = memory.read_word(address + _USED), memory.read_word(address + _KEYS)
    if not used:
        return True
    entries = memory.read(keys + code.entries, 5 * _ENTRY.size)
    entries = entries[: len(entries) // _ENTRY.size * _ENTRY.size]
    values = [value for _, key, value in _ENTRY.iter_unpack(entries) if key and value]
    return bool(values) and all(_is_task(memory, code, value) for value in values)


def _read_type_name(memory: Memory, instance: int) -> bytes:
    """Of an object's type."""
    kind = memory.read_word(instance + _TYPE) if instance else 0
    return memory.read_text(memory.read_word(kind + _NAME)) if kind else b""


def _is_task(memory: Memory, code: TaskCode, instance: int) -> bool:
    kind = memory.read_word(instance + _TYPE)
    for _ in range(_MOST_BASES):
        if not kind:
            return False
        if memory.read_word(kind + _INIT) == code.function:
            return True
        kind = memory.read_word(kind + _BASE)
    return False
