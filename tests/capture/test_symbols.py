"""Functions are found where nm says that they are, however a file was linked and stripped."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kebpf.capture.elf import Elf, ElfError
from kebpf.capture.symbols import Symbol, find_functions
from tests.capture.binaries import build, find_library, list_symbols, needs_compiler

SOURCE = """
int variable = 1;
extern int brought(int);
static __attribute__((noinline)) int hidden(int a) { return a * 3 + variable; }
int first(int a) { return hidden(a) + brought(a); }
int very_first(int a) { return hidden(a) + 2; }
""" + "\n".join(f"int filler_{index}(void) {{ return {index}; }}" for index in range(300))
NAMES = ("first", "very_first", "hidden", "filler_7", "brought", "variable", "filler_", "missing")
LINKINGS = {
    "gnu": ("-shared", "-fPIC", "-Wl,--hash-style=gnu"),
    "System V": ("-shared", "-fPIC", "-Wl,--hash-style=sysv"),
}


def find(path: Path, names: tuple[str, ...] = NAMES) -> dict[str, Symbol]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return find_functions(Elf(descriptor), names)
    finally:
        os.close(descriptor)


def remove_section_headers(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[40:48] = bytes(8)  # e_shoff
    content[58:64] = bytes(6)  # e_shentsize, e_shnum, e_shstrndx
    path.write_bytes(content)


@needs_compiler
@pytest.mark.parametrize("style", ["gnu", "System V"])
@pytest.mark.parametrize("state", ["as linked", "stripped", "without section headers"])
def test_functions_of_a_library(tmp_path: Path, style: str, state: str) -> None:
    path = build(tmp_path, SOURCE, *LINKINGS[style])
    known = list_symbols(path)
    if state != "as linked":
        subprocess.run(["strip", str(path)], check=True, timeout=60)
        known = list_symbols(path, "-D")
    if state == "without section headers":
        remove_section_headers(path)
    found = find(path)
    assert {name: symbol.address for name, symbol in found.items()} == {
        name: known[name] for name in NAMES if name in known
    }
    assert ("hidden" in found) == (state == "as linked")
    assert {"first", "very_first", "filler_7"} <= found.keys()


@needs_compiler
def test_functions_of_a_program(tmp_path: Path) -> None:
    """A name may be the end of another, and a symbol be beyond the first piece that is read."""
    source = SOURCE + "int brought(int a) { return a; } int main(void) { return very_first(1); }"
    for flags in (("-static",), ("-no-pie",), ("-pie", "-rdynamic")):
        path = build(tmp_path, source, *flags)
        known = list_symbols(path)
        found = find(path, (*NAMES, "main"))
        assert {name: symbol.address for name, symbol in found.items()} == {
            name: known[name] for name in (*NAMES, "main") if name in known and name != "variable"
        }


@needs_compiler
def test_sizes_are_those_of_readelf() -> None:
    path = find_library("libssl.so.3")
    command = ["readelf", "-W", "--dyn-syms", str(path)]
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    for name, symbol in find(path, ("SSL_read", "SSL_write_ex")).items():
        line = next(each for each in output.splitlines() if f" {name}@@" in each)
        assert (symbol.address, symbol.size) == (int(line.split()[1], 16), int(line.split()[2]))


@needs_compiler
def test_damaged_files_end(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever a file says of itself: there is an end to it, and no other exception."""
    folder = tmp_path_factory.mktemp("damaged")
    wholes = [build(folder, SOURCE, *LINKINGS[style]).read_bytes() for style in ("gnu", "System V")]
    path = folder / "damaged"

    @settings(max_examples=150, deadline=None)
    @given(st.sampled_from(wholes), st.data())
    def damage(whole: bytes, data: st.DataObject) -> None:
        content = bytearray(whole[: data.draw(st.sampled_from([len(whole), 64, 500, 5000]))])
        for _ in range(data.draw(st.integers(1, 8))):
            at = data.draw(st.integers(0, len(content) - 1) | st.integers(0, 1200))
            new = data.draw(st.sampled_from([b"\xff" * 8, b"\x7f\xff", bytes(8)]) | st.binary())
            content[at : at + len(new)] = new
        path.write_bytes(content)
        try:
            found = find(path)
        except ElfError:
            return
        assert found.keys() <= set(NAMES)

    damage()
