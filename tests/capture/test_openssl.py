"""The functions that read and write are found where the linker put them, whatever is stripped."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from kebpf.capture.elf import Elf
from kebpf.capture.openssl import FUNCTIONS, find_points, find_version
from kebpf.capture.points import Place, Point
from kebpf.capture.symbols import find_functions
from tests.capture.binaries import (
    Line,
    build,
    disassemble,
    find_library,
    list_symbols,
    needs_compiler,
)

# ssl/ssl_lib.c, as far as it matters: who calls what with which arguments
SOURCE = r"""
#include <stddef.h>
#include <stdint.h>
struct ssl { int (*read)(struct ssl *, void *, size_t, size_t *); int state; void *next; };
extern void raise_error(int);
__attribute__((visibility("hidden"), noinline)) int ssl_read_internal(
    struct ssl *s, void *buf, size_t num, size_t *readbytes)
{
    if (!s->next) { raise_error(1); return -1; }
    if (s->state & 2) { s->state = 1; return 0; }
    raise_error(s->state);
    return s->read(s, buf, num, readbytes);
}
int SSL_read(struct ssl *s, void *buf, int num)
{
    size_t readbytes;
    int ret;
    if (num < 0) { raise_error(2); return -1; }
    ret = ssl_read_internal(s, buf, (size_t)num, &readbytes);
    return ret > 0 ? (int)readbytes : ret;
}
int SSL_read_ex(struct ssl *s, void *buf, size_t num, size_t *readbytes)
{
    int ret = ssl_read_internal(s, buf, num, readbytes);
    return ret < 0 ? 0 : ret;
}
int other_reader(struct ssl *s, void *buf, size_t num)
{
    size_t readbytes = 0;
    return ssl_read_internal(s, buf, num, &readbytes) > 0 && readbytes == num;
}
__attribute__((visibility("hidden"), noinline)) int ssl_write_internal(
    struct ssl *s, const void *buf, size_t num WRITE_FLAGS, size_t *written)
{
    if (!s->next) { raise_error(1); return -1; }
    raise_error(s->state);
    return s->read(s, (void *)buf, num, written);
}
int SSL_write(struct ssl *s, const void *buf, int num)
{
    size_t written;
    int ret;
    if (num < 0) { raise_error(2); return -1; }
    ret = ssl_write_internal(s, buf, (size_t)num PASS_FLAGS, &written);
    return ret > 0 ? (int)written : ret;
}
#ifdef WITH_FLAGS
int SSL_write_ex2(struct ssl *s, const void *buf, size_t num, uint64_t flags, size_t *written)
{
    int ret = ssl_write_internal(s, buf, num, flags, written);
    return ret < 0 ? 0 : ret;
}
int SSL_write_ex(struct ssl *s, const void *buf, size_t num, size_t *written)
{
    return SSL_write_ex2(s, buf, num, 0, written);
}
#else
int SSL_write_ex(struct ssl *s, const void *buf, size_t num, size_t *written)
{
    int ret = ssl_write_internal(s, buf, num, written);
    return ret < 0 ? 0 : ret;
}
#endif
void SSL_free(struct ssl *s) { if (s) raise_error(s->state); }
"""
OLD = ("-DWRITE_FLAGS=", "-DPASS_FLAGS=")
NEW = ("-DWRITE_FLAGS=,uint64_t flags", "-DPASS_FLAGS=,0", "-DWITH_FLAGS")
BUILDS = {
    "plain": (),
    "protected": ("-fcf-protection", "-fstack-protector-strong"),
    "with frames": ("-fno-omit-frame-pointer", "-fcf-protection"),
    "symbolic": ("-Wl,-Bsymbolic",),
    "bound lazily": ("-Wl,-z,lazy",),
    "size": ("-Os",),
}
INLINED = "static __attribute__((always_inline)) inline int"
INTERNAL = {"ssl_read": "ssl_read_internal", "ssl_write": "ssl_write_internal"}


def find(path: Path) -> list[Point]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        elf = Elf(descriptor)
        return list(find_points(elf, find_functions(elf, FUNCTIONS)))
    finally:
        os.close(descriptor)


def build_stripped(folder: Path, *flags: str) -> tuple[Path, dict[str, int]]:
    path = build(folder, SOURCE, "-shared", "-fPIC", *flags)
    symbols = list_symbols(path)
    subprocess.run(["strip", str(path)], check=True, timeout=60)
    return path, symbols


def places_of(points: list[Point], place: Place) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for point in points:
        if point.place is place:
            found.setdefault(point.function, []).append(point.offset)
    return found


@needs_compiler
@pytest.mark.parametrize("version", [OLD, NEW], ids=["until 3.2", "from 3.3"])
@pytest.mark.parametrize("build_name", BUILDS)
def test_internal_functions(tmp_path: Path, version: tuple[str, ...], build_name: str) -> None:
    path, symbols = build_stripped(tmp_path, *version, *BUILDS[build_name])
    points = find(path)
    lines = list(disassemble(path))
    entries = places_of(points, Place.ENTRY)
    assert entries.keys() == {"ssl_read", "ssl_write", "SSL_free"}
    for name, internal in INTERNAL.items():
        (entry,) = entries[name]
        assert 0 <= entry - symbols[internal] <= 4
        assert [line.text.split()[0] for line in lines if line.address == entry] == ["push"]
        calls = [line for line in lines if is_call(line, symbols[internal])]
        behind = {line.address + len(line.code) for line in calls}
        returns = places_of(points, Place.RETURN)[name]
        assert len(returns) == len(behind) == (3 if name == "ssl_read" else 2)
        assert {follow_back(lines, at, behind) for at in returns} == behind
    count = "r8" if version is NEW else "cx"
    registers = {point.function: point.registers for point in points if point.place is Place.ENTRY}
    assert registers["ssl_read"] == ("di", "si", "dx", "cx")
    assert registers["ssl_write"] == ("di", "si", "dx", count)
    assert registers["SSL_free"] == ("di",)


def is_call(line: Line, target: int) -> bool:
    return line.text.startswith("call ") and int(line.text.split()[1], 16) == target


def follow_back(lines: list[Line], at: int, behind: set[int]) -> int:
    """The place behind a call from which one comes to ``at`` with the result as it is."""
    known = {line.address + len(line.code): line for line in lines}
    while at not in behind:
        line = known[at]
        assert line.text.startswith(("test ", "cmp ")), line
        at = line.address
    return at


@needs_compiler
def test_functions_within_the_exported_ones(tmp_path: Path) -> None:
    """As in Node's: nothing leads to what has a symbol, and is never called."""
    source = SOURCE.replace('__attribute__((visibility("hidden"), noinline)) int', INLINED)
    path = build(tmp_path, source, "-shared", "-fPIC", *NEW)
    points = find(path)
    symbols = list_symbols(path)
    entries = places_of(points, Place.ENTRY)
    expected = {"SSL_read", "SSL_read_ex", "SSL_write", "SSL_write_ex2", "SSL_free"}
    assert entries.keys() == expected
    lines = {line.address: line for line in disassemble(path)}
    for name, (at,) in entries.items():
        assert at in lines
        assert 0 <= at - symbols[name] <= 16
    registers = {point.function: point.registers for point in points if point.place is Place.ENTRY}
    assert registers["SSL_read"] == ("di", "si", "dx")
    assert registers["SSL_write_ex2"] == ("di", "si", "dx", "r8")


@needs_compiler
def test_the_machines_own() -> None:
    """What both exported forms call, says objdump."""
    path = find_library("libssl.so.3")
    points = find(path)
    for name, forms in {
        "ssl_read": ("SSL_read", "SSL_read_ex"),
        "ssl_write": ("SSL_write",),
    }.items():
        (entry,) = places_of(points, Place.ENTRY)[name]
        for form in forms:
            calls = [
                int(line.text.split()[1], 16)
                for line in disassemble(path, f"--disassemble={form}")
                if line.text.startswith("call ") and "@plt" not in line.text
            ]
            assert 0 <= entry - calls[0] <= 4
    descriptor = os.open(find_library("libcrypto.so.3"), os.O_RDONLY)
    try:
        version = subprocess.run(["openssl", "version"], capture_output=True, text=True, timeout=60)
        assert find_version(Elf(descriptor)) == version.stdout.partition(" (")[0].strip()
    finally:
        os.close(descriptor)
