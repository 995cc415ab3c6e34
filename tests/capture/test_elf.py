"""An ELF file's parts are those that readelf names."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from kebpf.capture.elf import PIECE, X86_64, ElfError
from tests.capture.binaries import build, disassemble, needs_compiler, opened

SOURCE = 'const char *text(void) { return "Version 12.3 of it"; } int main(void) { return 0; }'
MARK = b"Version "


def read_elf(path: Path, *flags: str) -> str:
    command = ["readelf", "-W", *flags, str(path)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


@needs_compiler
@pytest.mark.parametrize("flags", [("-pie",), ("-no-pie",), ("-static",), ("-shared", "-fPIC")])
def test_parts(tmp_path: Path, flags: tuple[str, ...]) -> None:
    path = build(tmp_path, SOURCE, *flags, "-Wl,--build-id=sha1")
    with opened(path) as elf:
        assert elf.machine == X86_64
        build_id = re.search(r"Build ID: ([0-9a-f]+)", read_elf(path, "-n"))
        assert build_id is not None
        assert elf.build_id.hex() == build_id[1]
        lines = [line.split() for line in read_elf(path, "-l").splitlines()]
        loads = [line for line in lines if line[:1] == ["LOAD"]]
        own = [each for each in elf.segments if each.kind == 1]
        assert [(each.offset, each.address, each.file_size) for each in own] == [
            (int(line[1], 16), int(line[2], 16), int(line[4], 16)) for line in loads
        ]
        assert [each.is_code for each in own] == ["E" in line[6:-1] for line in loads]
        section = elf.find_section(".text")
        assert section is not None
        found = re.search(r"\.text +PROGBITS +(\w+) (\w+) (\w+)", read_elf(path, "-S"))
        assert found is not None
        assert (section.address, section.offset, section.size) == tuple(
            int(number, 16) for number in found.groups()
        )
        assert elf.find_section(".none") is None


@needs_compiler
def test_addresses_lead_to_the_code(tmp_path: Path) -> None:
    path = build(tmp_path, SOURCE)
    content = path.read_bytes()
    with opened(path) as elf:
        for line in disassemble(path):
            offset = elf.find_offset(line.address)
            assert offset is not None
            assert content[offset:].startswith(line.code)
            assert elf.read(line.address, len(line.code)) == line.code
        assert elf.find_offset(1 << 40) is None
        assert elf.read(1 << 40, 8) == b""
        assert list(elf.find_constants(MARK)) == [b"Version 12.3 of it"]


def test_texts_are_found_across_pieces(tmp_path: Path) -> None:
    """One segment, of which a text begins in one piece that is read and ends in the next."""
    header = b"\x7fELF\x02\x01" + bytes(10) + bytes.fromhex("02003e0001000000") + bytes(8)
    header += (64).to_bytes(8, "little") + bytes(12) + bytes.fromhex("400038000100") + bytes(6)
    size = 3 * PIECE
    words = (0, 0, 0, size, size, 1)
    segment = bytes.fromhex("0100000004000000") + b"".join(
        word.to_bytes(8, "little") for word in words
    )
    content = bytearray(size)
    content[:120] = header + segment
    places = (PIECE - 3, 2 * PIECE, size - 20)
    for place in places:
        content[place : place + 14] = MARK + b"%06d" % (place % 1000000)
    path = tmp_path / "large"
    path.write_bytes(content)
    with opened(path) as elf:
        assert list(elf.find_constants(MARK)) == [
            MARK + b"%06d" % (place % 1000000) for place in places
        ]


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\n", b"\x7fELF\x01\x01" + bytes(90)])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(ElfError), opened(path):
        pass


def test_a_file_that_seems_endless_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hole of a terabyte, all of which is said to be constants."""
    monkeypatch.setattr("kebpf.capture.elf._MOST_READ", 16 << 20)
    path = tmp_path / "endless"
    size = 1 << 40
    header = b"\x7fELF\x02\x01" + bytes(10) + bytes.fromhex("02003e0001000000") + bytes(8)
    header += (64).to_bytes(8, "little") + bytes(12) + bytes.fromhex("400038000100") + bytes(6)
    words = b"".join(word.to_bytes(8, "little") for word in (0, 0, 0, size, size, 1))
    with path.open("wb") as file:
        file.write(header + bytes.fromhex("0100000004000000") + words)
        file.truncate(size)
    with opened(path) as elf, pytest.raises(ElfError):
        list(elf.find_constants(MARK))
