"""The filter's program, run by an interpreter of this test's own; its numbers are the kernel's."""

from __future__ import annotations

import platform
import re
import socket
from pathlib import Path

import pytest

from kebpf.kernel.seccomp import Instruction, make_filter
from kebpf.kernel.syscalls import ALLOWED, JUDGED, KILLED

PID = 4711
ALLOW, KILL, EPERM = 0x7FFF0000, 0x80000000, 0x00050001
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}


def run(program: list[Instruction], architecture: int, number: int, *arguments: int) -> int:
    """What the kernel would do with a call; filter.rst of its documentation."""
    data = {0: number, 4: architecture}
    data |= {16 + 8 * at: value for at, value in enumerate((*arguments, *[0] * 6)[:6])}
    at = accumulator = 0
    while True:
        code, if_true, if_false, constant = program[at]
        at += 1
        if code == 0x06:
            return constant
        if code == 0x20:
            accumulator = data[constant]
            continue
        holds = {
            0x15: accumulator == constant,
            0x35: accumulator >= constant,
            0x45: bool(accumulator & constant),
        }[code]
        at += if_true if holds else if_false


def read_numbers(path: Path) -> dict[str, int]:
    """Of all calls, as the kernel's header has them."""
    text = path.read_text()
    numbers = {
        name: int(number)
        for name, number in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)\b", text)
    }
    return numbers | {"newfstatat": numbers.get("newfstatat", numbers.get("fstatat", -1))}


@pytest.mark.parametrize("machine", HEADERS)
def test_numbers_are_the_kernels(machine: str) -> None:
    if not HEADERS[machine].exists():
        pytest.skip(f"{HEADERS[machine]} is not installed")
    column = list(HEADERS).index(machine)
    known = read_numbers(HEADERS[machine])
    for table in (ALLOWED, JUDGED, KILLED):
        for name, numbers in table.items():
            number = numbers[column]
            if number is None:
                assert machine == "aarch64" and (name not in known or known[name] > 1000), name
            else:
                assert known[name] == number, name


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_what_becomes_of_every_number(machine: str) -> None:
    column, own = list(ARCHITECTURES).index(machine), ARCHITECTURES[machine]
    program = make_filter(machine, PID)
    assert len(program) <= 4096
    expected = dict.fromkeys(range(500), EPERM)
    expected |= {numbers[column]: ALLOW for numbers in ALLOWED.values()}  # type: ignore[misc]
    expected |= {numbers[column]: KILL for numbers in KILLED.values()}  # type: ignore[misc]
    judged = {numbers[column] for numbers in JUDGED.values()}
    for number in set(range(500)) - judged:
        assert run(program, own, number) == expected[number]
    for number in range(500):
        assert run(program, 0x40000003, number) == KILL, "32-bit calls"
    if machine == "x86_64":
        assert run(program, own, 0x40000000) == KILL


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("mmap", (0, 4096, 3), ALLOW),
        ("mmap", (0, 4096, 5), EPERM),
        ("mprotect", (0, 4096, 1), ALLOW),
        ("mprotect", (0, 4096, 4), EPERM),
        ("ioctl", (1, 0x5401), ALLOW),
        ("ioctl", (1, 0x5412), EPERM),
        ("tgkill", (PID, PID, 6), ALLOW),
        ("tgkill", (1, 1, 9), EPERM),
        ("prlimit64", (0, 7), ALLOW),
        ("prlimit64", (1, 7), EPERM),
        ("socket", (socket.AF_UNIX, 1), EPERM),
        ("socket", (socket.AF_INET, 1), KILL),
        ("socket", (socket.AF_NETLINK, 3), KILL),
    ],
)
@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_what_depends_on_an_argument(
    machine: str, name: str, arguments: tuple[int, ...], expected: int
) -> None:
    number = JUDGED[name][list(ARCHITECTURES).index(machine)]
    assert number is not None
    program = make_filter(machine, PID)
    assert run(program, ARCHITECTURES[machine], number, *arguments) == expected


def test_this_machine_is_one_of_them() -> None:
    assert platform.machine() in ARCHITECTURES
    with pytest.raises(KeyError):
        make_filter("sparc", PID)
