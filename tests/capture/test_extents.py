"""Sizes of functions are those that nm reads off symbols, which a stripped file has not."""

from __future__ import annotations

import subprocess
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from kebpf.capture.elf import Elf
from kebpf.capture.extents import find_size
from tests.capture.binaries import build, find_library, needs_compiler, opened

SOURCE = """
extern void raise_error(int) __attribute__((noreturn, cold));
static __attribute__((noinline)) int hidden(int a) { if (a > 7) raise_error(a); return a * 3; }
int first(int a) { return hidden(a) + 1; }
int second(int *a) { for (int i = 0; i < 9; i++) a[i] = hidden(a[i]); return a[3]; }
"""


class DamagedElf(Elf):
    """Like another, but for what is at one address."""

    def __init__(self, whole: Elf, address: int, content: bytes) -> None:
        self.segments = whole.segments
        self._whole, self._address, self._content = whole, address, content

    def read(self, address: int, size: int) -> bytes:
        at = address - self._address
        if 0 <= at < len(self._content):
            return self._content[at : at + size]
        return self._whole.read(address, size)


def list_sizes(path: Path, *flags: str) -> dict[int, int]:
    command = ["nm", "-S", "--defined-only", *flags, str(path)]
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    fields = [line.split() for line in output.splitlines()]
    return {int(each[0], 16): int(each[1], 16) for each in fields if each[2:3] in (["t"], ["T"])}


@needs_compiler
def test_sizes_of_a_stripped_library(tmp_path: Path) -> None:
    path = build(tmp_path, SOURCE, "-shared", "-fPIC", "-fstack-protector-all")
    sizes = list_sizes(path)
    subprocess.run(["strip", str(path)], check=True, timeout=60)
    with opened(path) as elf:
        assert len(sizes) >= 3
        for address, size in sizes.items():
            assert find_size(elf, address) == size
            assert find_size(elf, address + 1) == 0
        assert find_size(elf, 0) == 0


@needs_compiler
def test_sizes_of_the_machines_own() -> None:
    path = find_library("libssl.so.3")
    sizes = list_sizes(path, "-D")
    with opened(path) as elf:
        assert len(sizes) > 400
        assert {address: find_size(elf, address) for address in sizes} == sizes


@needs_compiler
def test_without_it_nothing_is_said(tmp_path: Path) -> None:
    flags = ("-fno-asynchronous-unwind-tables", "-Wl,--no-eh-frame-hdr")
    path = build(tmp_path, SOURCE, "-shared", "-fPIC", *flags)
    with opened(path) as elf:
        assert {find_size(elf, address) for address in list_sizes(path)} == {0}


@needs_compiler
def test_damaged_tables_end() -> None:
    path = find_library("libssl.so.3")
    addresses = list(list_sizes(path, "-D"))[::40]
    with opened(path) as elf:
        table = next(each for each in elf.segments if each.kind == 0x6474E550)

        @settings(max_examples=100, deadline=None)
        @given(st.integers(0, 400), st.binary(min_size=1, max_size=12))
        def damage(at: int, new: bytes) -> None:
            whole = elf.read(table.address, table.file_size)
            damaged = whole[:at] + new + whole[at + len(new) :]
            for address in addresses:
                assert 0 <= find_size(DamagedElf(elf, table.address, damaged), address) < 1 << 32

        damage()
