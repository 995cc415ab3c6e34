"""Builds small ELF files and asks binutils what is in them, for the tests of finding code."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from kebpf.capture.elf import Elf

LIBRARIES = Path("/lib/x86_64-linux-gnu")
_LINE = re.compile(r"^ +([0-9a-f]+):\t((?:[0-9a-f]{2} )+) *(?:\t(.*))?$")

needs_compiler = pytest.mark.skipif(
    not all(map(shutil.which, ("gcc", "objdump", "nm"))), reason="gcc or binutils are not installed"
)


@dataclass(frozen=True)
class Line:
    """One instruction as objdump says it."""

    address: int
    code: bytes
    text: str


def build(folder: Path, source: str, *flags: str, name: str = "made") -> Path:
    """A program, or with ``-shared`` a library, of C."""
    (folder / f"{name}.c").write_text(source)
    path = folder / name
    command = ["gcc", "-O2", *flags, "-o", str(path), str(folder / f"{name}.c")]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return path


def disassemble(path: Path, *flags: str) -> Iterator[Line]:
    """All of ``.text``, or what the flags say."""
    command = ["objdump", "-d", "-w", "-z", "-j", ".text", *flags, str(path)]
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    for line in output.splitlines():
        match = _LINE.match(line)
        if match:
            yield Line(int(match[1], 16), bytes.fromhex(match[2]), match[3] or "")


def list_symbols(path: Path, *flags: str) -> dict[str, int]:
    """Functions by name, as nm says them."""
    command = ["nm", "--defined-only", *flags, str(path)]
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    fields = [line.split() for line in output.splitlines()]
    return {
        each[2].partition("@")[0]: int(each[0], 16)
        for each in fields
        if len(each) == 3 and each[1] in "tTWi"
    }


def find_library(name: str) -> Path:
    """One of the machine's own; skips the test where it has none."""
    path = LIBRARIES / name
    if not path.exists():
        pytest.skip(f"{name} is not installed")
    return path


@contextmanager
def opened(path: Path) -> Iterator[Elf]:
    """A file as the finder of code reads it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield Elf(descriptor)
    finally:
        os.close(descriptor)
