"""Probes of Go's functions sit where Go's own disassembler says what they need is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kebpf.capture.elf import Elf
from kebpf.capture.gotls import find_body, find_points
from kebpf.capture.points import Place, Point
from tests.capture.gobinaries import FUNCTIONS, MODES, TOOLCHAINS, Line, build_twins, needs_go

PADDING = ("INT", "INT3", "NOPL", "NOPW", "XCHGW", "?")


def find(path: Path) -> dict[str, list[Point]]:
    """By function, at addresses instead of offsets."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        elf = Elf(descriptor)
        found: dict[str, list[Point]] = {}
        for point in find_points(elf, FUNCTIONS):
            found.setdefault(point.function, []).append(point)
        (code,) = (segment for segment in elf.segments if segment.is_code)
        return {
            name: [
                Point(
                    each.function,
                    each.offset - code.offset + code.address,
                    each.place,
                    each.registers,
                    each.is_start,
                )
                for each in points
            ]
            for name, points in found.items()
        }
    finally:
        os.close(descriptor)


@needs_go
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("toolchain", TOOLCHAINS)
def test_places(tmp_path: Path, mode: str, toolchain: str) -> None:
    twins = build_twins(tmp_path, mode, toolchain)
    found = find(twins.stripped)
    uses_registers = int(twins.version.split(".")[1]) >= 17
    assert found.keys() == set(FUNCTIONS.values())
    for name, lines in twins.functions.items():
        points = found[FUNCTIONS[name]]
        (entry,) = (point for point in points if point.place is Place.ENTRY)
        check_entry(entry, lines)
        returns = [point for point in points if point.place is Place.RETURN]
        assert [point.offset for point in returns] == [
            line.address for line in lines if line.name == "RET"
        ]
        assert not any(point.is_start and point is not entry for point in points)
        assert (entry.registers[0] == "ax") is uses_registers
        assert (returns[0].registers[0] == "ax") is uses_registers
        assert len(entry.registers) == (1 if name.endswith("Close") else 3)


def check_entry(entry: Point, lines: list[Line]) -> None:
    """It is an instruction that a call comes by once, also if the stack was moved before."""
    addresses = [line.address for line in lines]
    assert entry.offset in addresses
    again = [line for line in lines if line.name == "JMP" and goes_to(line) == addresses[0]]
    before = [line for line in lines if line.address < entry.offset]
    if again:
        assert any(line.name in ("JBE", "JLS") for line in before)
    # nothing leads to it, or to between the look at the stack and it, but falling through
    looked = max((line.address for line in before if line.name in ("JBE", "JLS")), default=0)
    targets = {goes_to(line) for line in lines if line.name.startswith("J")}
    assert not any(looked < target <= entry.offset for target in targets)
    for line in before:  # where the arguments are, nothing was written
        assert not line.rest.endswith((", AX", ", BX", ", CX")) or line.name in ("CMPQ", "TESTQ")


def goes_to(line: Line) -> int:
    target = line.rest.rpartition(" ")[2]
    return int(target, 16) if target.startswith("0x") else -1


@pytest.mark.parametrize(
    ("code", "body"),
    [
        ("493b6610 7602 55 c3 e800000000 ebf1", 6),  # looks, runs, has the stack moved, begins anew
        ("493b6610 0f8602000000 55 c3 e800000000 ebed", 10),
        ("31c0 c3", 0),  # does not look
        ("7400 ebfc", None),  # a loop to the beginning: it is not known how often
        ("493b6610 7602 55 c3 ebf6", None),  # begins anew, but nothing has been done for it
        ("4885c0 7403 493b6610 7602 55 c3 e800000000 ebec", None),  # something else comes first
        ("06", None),
    ],
)
def test_look_at_the_stack(code: str, body: int | None) -> None:
    assert find_body(bytes.fromhex(code.replace(" ", ""))) == body
