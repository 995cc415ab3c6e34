"""Pointers are those that the loader, which readelf asks, will have put there."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from kebpf.capture.elf import Elf
from kebpf.capture.relocations import find_pointers, read_pointer
from tests.capture.binaries import build, list_symbols, needs_compiler

SOURCE = """
int function(void) { return 1; }
int (*pointer)(void) = function;
int (*const others[3])(void) = {0, function, 0};
int main(void) { return pointer() + others[1](); }
"""


@needs_compiler
@pytest.mark.parametrize("flags", [("-pie", "-fPIE"), ("-no-pie", "-fno-pie")])
def test_pointers(tmp_path: Path, flags: tuple[str, ...]) -> None:
    path = build(tmp_path, SOURCE, *flags)
    function = list_symbols(path)["function"]
    command = ["nm", str(path)]
    names = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    places = {
        name: int(address, 16)
        for address, name in re.findall(r"^(\w+) [dDrR] (pointer|others)$", names, re.MULTILINE)
    }
    expected = [places["pointer"], places["others"] + 8]
    descriptor = os.open(path, os.O_RDONLY)
    try:
        elf = Elf(descriptor)
        assert [read_pointer(elf, address) for address in expected] == [function, function]
        assert read_pointer(elf, places["others"]) == 0
        assert read_pointer(elf, 1 << 40) == 0
        assert sorted(find_pointers(elf, function)) == sorted(expected)
        assert list(find_pointers(elf, 0x123456789)) == []
    finally:
        os.close(descriptor)
