"""The journal's lines: each stands for itself, and none is taken that is not as it was written."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebpf.recording.journal import Entry, Extent, Journal, cases_of, pack_entry, read_journal

EXTENT = Extent(0, 10, 5)
ENTRIES = [
    Entry("mark", 1, EXTENT, facts={"name": "set", "extra": {"a\n": [1]}}),
    Entry("case", 2, Extent(10, 30, 77), "get-a", 100, 3),
    Entry("case", 3, Extent(30, 30, 0), "get-b", 200, 4),
    Entry("drop", 4, Extent(30, 30, 0), "get-a"),
]
TEXT = b"".join(map(pack_entry, ENTRIES))


def test_a_line_is_its_sum_and_json() -> None:
    line = pack_entry(ENTRIES[1])
    text = b'{"kind":"case","time_ns":2,"mocks":[10,30,77],"name":"get-a","size":100,"crc":3}'
    assert line == b"%08x " % crc32(text) + text + b"\n"
    assert read_journal(TEXT) == (ENTRIES, 0)
    assert list(cases_of(ENTRIES)) == ["get-b"]


@given(st.integers(0, len(TEXT)))
def test_cut_off_anywhere(size: int) -> None:
    """What has no end yet was never written."""
    whole = TEXT[:size].count(b"\n")
    assert read_journal(TEXT[:size]) == (ENTRIES[:whole], 0)


@given(st.integers(0, len(TEXT) - 1), st.binary(min_size=1, max_size=30))
def test_damaged_anywhere(at: int, piece: bytes) -> None:
    damaged = (TEXT[:at] + piece + TEXT[at + len(piece) :])[: len(TEXT)]
    entries, _ = read_journal(damaged)
    assert all(entry in ENTRIES for entry in entries)
    assert len(entries) >= len(ENTRIES) - 1 - piece.count(b"\n") - len(piece) // 60 - 1


def test_only_the_newest_facts_are_kept() -> None:
    marks = [Entry("mark", number, EXTENT, facts={"number": number}) for number in range(3)]
    entries, _ = read_journal(b"".join(map(pack_entry, marks)))
    assert [entry.facts for entry in entries] == [{}, {}, {"number": 2}]


@given(st.binary())
def test_garbage_is_no_journal(data: bytes) -> None:
    assert read_journal(data)[0] == []


def test_a_line_of_another_version_is_none_of_ours() -> None:
    text = b'{"kind":"case","time_ns":2,"mocks":[0,0,0],"colour":"red"}'
    assert read_journal(b"%08x %s\n" % (crc32(text), text)) == ([], 1)


@pytest.mark.kernel
def test_a_line_that_finds_no_room_is_not_there_at_all(tmp_path: Path) -> None:
    """The next, once there is room again, stands on a line of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", disk], check=True)
    try:
        path = disk / "journal"
        journal = Journal(os.open(path, os.O_WRONLY | os.O_CREAT))
        journal.append(ENTRIES[0])
        with pytest.raises(OSError, match="No space left"):
            journal.append(Entry("mark", 5, EXTENT, facts={"text": "x" * 10_000}))
        journal.append(ENTRIES[1])
        journal.flush()
        journal.close()
        assert read_journal(path.read_bytes()) == (ENTRIES[:2], 0)
    finally:
        subprocess.run(["umount", disk], check=True)
