"""Go's functions are found in stripped programs where Go's tools find them in the others."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kebpf.capture.elf import ElfError
from kebpf.capture.gopclntab import find_go_functions, find_go_version, has_go
from tests.capture.binaries import find_library, opened
from tests.capture.gobinaries import FUNCTIONS, MODES, TOOLCHAINS, Twins, build_twins, needs_go

MISSING = ("main.(*Conn).Rea", "(*Conn).Read", "main.missing", "ain.(*Conn).Read")


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> Twins:
    return build_twins(tmp_path_factory.mktemp("go"), "fixed")


@needs_go
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("toolchain", TOOLCHAINS)
@pytest.mark.parametrize("has_headers", [True, False], ids=["as linked", "no section headers"])
def test_functions(tmp_path: Path, mode: str, toolchain: str, has_headers: bool) -> None:
    twins = build_twins(tmp_path, mode, toolchain)
    if not has_headers:
        content = bytearray(twins.stripped.read_bytes())
        content[40:48] = bytes(8)  # e_shoff
        content[58:64] = bytes(6)  # e_shentsize, e_shnum, e_shstrndx
        twins.stripped.write_bytes(content)
    with opened(twins.stripped) as elf:
        assert has_go(elf)
        found = find_go_functions(elf, (*FUNCTIONS, *MISSING))
        assert found.keys() == FUNCTIONS.keys()
        for name, lines in twins.functions.items():
            assert found[name].address == lines[0].address
            end = found[name].address + found[name].size
            # padded up to where the next one begins
            assert lines[-1].address < end <= lines[-1].address + 64
        assert find_go_version(elf) == (twins.version if has_headers else "")


def test_other_programs_are_not_gos() -> None:
    with opened(find_library("libc.so.6")) as elf:
        assert not has_go(elf)
        assert find_go_functions(elf, FUNCTIONS) == {}
        assert find_go_version(elf) == ""


@needs_go
def test_damaged_files_end(fixed: Twins, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever its tables say, there is an end to it, and nothing is found outside of the file."""
    path = tmp_path_factory.mktemp("damaged") / "damaged"
    whole = fixed.stripped.read_bytes()
    with opened(fixed.stripped) as elf:
        places = [
            section.offset
            for name in (".gopclntab", ".go.buildinfo", ".go.module")
            if (section := elf.find_section(name)) is not None
        ]

    @settings(max_examples=60, deadline=None)
    @given(st.data())
    def damage(data: st.DataObject) -> None:
        content = bytearray(whole)
        for _ in range(data.draw(st.integers(1, 6))):
            place = data.draw(st.sampled_from([0, 64, *places]))
            at = place + data.draw(st.integers(0, 220))
            new = data.draw(st.sampled_from([b"\xff" * 8, b"\x7f\xff\xff", bytes(8)]) | st.binary())
            content[at : at + len(new)] = new
        path.write_bytes(content[: len(whole)])
        try:
            with opened(path) as elf:
                found = find_go_functions(elf, FUNCTIONS)
                find_go_version(elf)
        except ElfError:
            return
        assert found.keys() <= FUNCTIONS.keys()

    damage()
