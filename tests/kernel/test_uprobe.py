"""A probe is on one process's function for as long as its descriptor is open, and no longer."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from kebpf.kernel.bpf import KPROBE, load_program
from kebpf.kernel.uprobe import attach_uprobe

pytestmark = pytest.mark.kernel

BREAKPOINT = {"x86_64": b"\xcc", "aarch64": None}[os.uname().machine]
# r0 = 0; exit (Documentation/bpf/standardization/instruction-set.rst)
NOTHING = struct.pack("=BBhi", 0xB7, 0, 0, 0) + struct.pack("=BBhi", 0x95, 0, 0, 0)
# a C function, its file and its offset in that file, by the dynamic loader's own word
TARGET = """
import ctypes, sys
address = ctypes.cast(ctypes.CDLL(None).getppid, ctypes.c_void_p).value
for line in open("/proc/self/maps"):
    fields = line.split()
    start, end = (int(part, 16) for part in fields[0].split("-"))
    if start <= address < end:
        print(address, fields[5], address - start + int(fields[2], 16), flush=True)
for line in sys.stdin:
    print(ctypes.CDLL(None).getppid(), flush=True)
"""
HOLDER = """
import sys, time
from tests.kernel.test_uprobe import attach_nothing
attach_nothing(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
print("attached", flush=True)
time.sleep(100)
"""


class Target:
    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", TARGET],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.input, self.output = self.process.stdin, self.process.stdout
        address, self.path, offset = self.output.readline().split()
        self.address, self.offset = int(address), int(offset)

    @property
    def first_byte(self) -> bytes:
        """Of the function, in this process's memory."""
        with Path(f"/proc/{self.process.pid}/mem").open("rb", buffering=0) as memory:
            memory.seek(self.address)
            return memory.read(1)

    def call(self) -> int:
        self.input.write("\n")
        self.input.flush()
        return int(self.output.readline())

    def close(self) -> None:
        self.input.close()
        self.process.wait()
        self.output.close()


def attach_nothing(path: str, offset: int, pid: int) -> int:
    program = load_program("nothing", KPROBE, -1, NOTHING, "GPL")
    try:
        return attach_uprobe(program, path, offset, pid)
    finally:
        os.close(program)


@pytest.mark.skipif(BREAKPOINT is None, reason="it looks for x86's breakpoint")
def test_it_is_there_while_the_descriptor_is_open() -> None:
    target, other = Target(), Target()
    try:
        before = target.first_byte
        descriptor = attach_nothing(target.path, target.offset, target.process.pid)
        assert not os.get_inheritable(descriptor)
        assert (target.first_byte, other.first_byte) == (BREAKPOINT, before)
        assert target.call() == os.getpid()
        os.close(descriptor)
        assert target.first_byte == before
        assert target.call() == os.getpid()
    finally:
        target.close()
        other.close()


@pytest.mark.skipif(BREAKPOINT is None, reason="it looks for x86's breakpoint")
def test_it_goes_when_its_holder_is_killed() -> None:
    target = Target()
    words = [target.path, str(target.offset), str(target.process.pid)]
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, *words], stdout=subprocess.PIPE, text=True
    )
    try:
        before = target.first_byte
        assert holder.stdout is not None
        assert holder.stdout.readline() == "attached\n"
        assert target.first_byte == BREAKPOINT != before
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert target.first_byte == before
        assert target.call() == os.getpid()
    finally:
        holder.kill()
        holder.wait()
        if holder.stdout is not None:
            holder.stdout.close()
        target.close()


def test_what_cannot_be_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        attach_nothing(str(tmp_path / "nowhere"), 0, os.getpid())
