"""Compiled programs as bytes: written down with the maps they refer to, and loaded from that.

An instruction that loads a map's address (``ld_imm64`` with BPF_PSEUDO_MAP_FD or _MAP_VALUE as its
source, see the kernel documentation, "BPF Instruction Set") holds the map's place in the list of
maps, in which its descriptor is put before the program is loaded.
"""

from __future__ import annotations

import base64
import json
import os
import struct
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kebpf.kernel.bpf import INSTRUCTION_SIZE, Map, MapShape, create_map, load_program

_LOAD_IMMEDIATE = 0x18  # BPF_LD | BPF_DW | BPF_IMM: two instructions long
_MAP_SOURCES = (1, 2)  # BPF_PSEUDO_MAP_FD, BPF_PSEUDO_MAP_VALUE
_INSTRUCTION = struct.Struct("=BBhi")
_U32 = struct.Struct("=I")


@dataclass(frozen=True, slots=True)
class CompiledProgram:
    """One program's instructions, and what it is loaded as."""

    kind: int
    attach_type: int
    code: bytes


@dataclass(frozen=True, slots=True)
class Compiled:
    """All programs of one source; ``compiler`` are files: path, size, time of change in ns."""

    programs: dict[str, CompiledProgram]
    maps: dict[str, MapShape]
    terms: str
    compiler: list[tuple[str, int, int]]

    def encode(self) -> bytes:
        """As `decode` reads it."""
        programs = {
            name: [one.kind, one.attach_type, base64.b64encode(one.code).decode()]
            for name, one in self.programs.items()
        }
        maps = {name: asdict(shape) for name, shape in self.maps.items()}
        whole = {"programs": programs, "maps": maps, "terms": self.terms, "compiler": self.compiler}
        return json.dumps(whole).encode()

    @classmethod
    def decode(cls, content: bytes) -> Compiled:
        """Raises ``ValueError`` for what `encode` did not write."""
        try:
            return cls.of_answer(json.loads(content))
        except (TypeError, LookupError, AttributeError, RecursionError):
            raise ValueError("these are no compiled programs") from None

    @classmethod
    def of_answer(cls, whole: dict[str, Any]) -> Compiled:
        """From what the loader process says."""
        programs = {
            name: CompiledProgram(kind, attach_type, base64.b64decode(code, validate=True))
            for name, (kind, attach_type, code) in whole["programs"].items()
        }
        maps = {name: MapShape(**shape) for name, shape in whole["maps"].items()}
        compiler = [(str(path), int(size), int(time)) for path, size, time in whole["compiler"]]
        return cls(programs, maps, str(whole["terms"]), compiler)

    def is_of_this_compiler(self) -> bool:
        """Whether what compiled it is still there, and nothing newer in its place."""
        try:
            return bool(self.compiler) and all(
                (status.st_size, status.st_mtime_ns) == (size, time)
                for path, size, time in self.compiler
                for status in [Path(path).stat()]
            )
        except OSError:
            return False

    def load(
        self, tail_calls: Mapping[str, Sequence[str]]
    ) -> tuple[dict[str, int], dict[str, int]]:
        """Descriptors of all programs and of all maps.

        Raises ``OSError`` when the kernel refuses one, ``ValueError`` for references to nowhere.
        """
        with ExitStack() as undo:
            maps = {}
            for name, shape in self.maps.items():
                maps[name] = create_map(name, shape)
                undo.callback(os.close, maps[name])
            programs = {}
            for name, one in self.programs.items():
                code = _refer(one.code, list(maps.values()))
                programs[name] = load_program(name, one.kind, one.attach_type, code, self.terms)
                undo.callback(os.close, programs[name])
            for table, names in tail_calls.items():
                entries = Map(maps[table], _U32.size, _U32.size)
                for index, name in enumerate(names):
                    entries[_U32.pack(index)] = _U32.pack(programs[name])
            undo.pop_all()
        return programs, maps


def _refer(code: bytes, descriptors: Sequence[int]) -> bytes:
    """The code with descriptors where places in the list of maps are."""
    made, at = bytearray(code), 0
    if len(made) % INSTRUCTION_SIZE:
        raise ValueError("the last instruction is cut short")
    while at < len(made):
        operation, registers, offset, number = _INSTRUCTION.unpack_from(made, at)
        source = registers >> 4
        if operation == _LOAD_IMMEDIATE and source:
            if source not in _MAP_SOURCES or not 0 <= number < len(descriptors):
                raise ValueError("an instruction refers to what is no map")
            _INSTRUCTION.pack_into(made, at, operation, registers, offset, descriptors[number])
        at += INSTRUCTION_SIZE * (2 if operation == _LOAD_IMMEDIATE else 1)
    return bytes(made)
