"""What is read of this very process is what it knows of itself."""

from __future__ import annotations

import ctypes
import os
import sys

from kebpf.capture.memory import Memory, path_of, read_mappings


def test_memory_that_is_not_there_is_empty() -> None:
    memory = Memory(os.getpid())
    try:
        assert memory.read(0, 8) == b""
        assert memory.read_word(1 << 63) == 0
        assert list(memory.read_words(0, 64)) == []
    finally:
        memory.close()


def test_memory_is_what_the_process_has() -> None:
    value = ctypes.create_string_buffer(b"some text\0and more", 32)
    memory = Memory(os.getpid())
    try:
        address = ctypes.addressof(value)
        assert memory.read(address, 32) == value.raw
        assert memory.read_text(address) == b"some text"
        assert memory.read_word(address) == int.from_bytes(b"some tex", "little")
        words = [(address + at, memory.read_word(address + at)) for at in (0, 8, 16, 24)]
        assert list(memory.read_words(address, 35)) == words
    finally:
        memory.close()


def test_a_mapping_names_its_file() -> None:
    own = os.stat(os.path.realpath(sys.executable))  # noqa: PTH116 - as the kernel resolves it
    found = [each for each in read_mappings(os.getpid()) if each.file[1] == own.st_ino]
    assert any("x" in each.flags for each in found)
    for each in found:
        there = os.stat(path_of(os.getpid(), each))  # noqa: PTH116 - a link of its own kind
        assert (there.st_dev, there.st_ino) == (own.st_dev, own.st_ino)
