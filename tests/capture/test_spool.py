"""The spool: what is written is read, whatever the sizes, and takes no memory afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kebpf.capture.spool import LEAST_QUOTA, Spool


@pytest.fixture
def spool() -> Iterator[Spool]:
    one = Spool(LEAST_QUOTA)
    yield one
    one.close()


def list_memfds() -> dict[int, int]:
    """The blocks of this process's memory files, by inode: what the kernel says they take."""
    found = {}
    for path in Path("/proc/self/fd").iterdir():
        if os.path.lexists(path) and "kebpf-backlog" in str(path.readlink()):
            found[path.stat().st_ino] = path.stat().st_blocks * 512
    return found


def test_runs_come_whole_and_in_order(spool: Spool) -> None:
    for run in (b"one", b"two", b"three" * 1000):
        spool.write(run)
    assert [spool.read() for _ in range(4)] == [b"one", b"two", b"three" * 1000, b""]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, LEAST_QUOTA // 3), min_size=1, max_size=12), st.booleans())
def test_it_goes_round(sizes: list[int], is_behind: bool) -> None:
    spool = Spool(LEAST_QUOTA)
    pending: list[bytes] = []
    try:
        for number, size in enumerate(sizes):
            run = bytes([number + 1]) * size
            spool.write(run)
            pending.append(run)
            while len(pending) > (1 if is_behind else 0):
                assert spool.read() == pending.pop(0)
        for run in pending:
            assert spool.read() == run
        assert spool.read() == b""
        assert spool.backlog_size == 0
    finally:
        spool.close()


def test_it_holds_its_quota_and_no_more(spool: Spool) -> None:
    spool.write(bytes(spool.room))
    assert spool.room == 0
    with pytest.raises(ValueError, match="do not fit"):
        spool.write(b"x")
    spool.read()
    assert spool.room == LEAST_QUOTA - 8


def test_what_was_read_takes_no_memory(spool: Spool) -> None:
    run = os.urandom(1 << 20)
    for _ in range(20):
        spool.write(run)
        assert spool.read() == run
    [size] = list_memfds().values()
    assert size <= 3 * 4096, "its first page, and the one that is half read"


def test_another_process_reads_it(spool: Spool) -> None:
    run = os.urandom(3 << 20)
    spool.write(b"before")
    child = os.fork()
    if child == 0:
        is_right = spool.read() == b"before"
        while not (last := spool.read()):
            os.sched_yield()
        os._exit(0 if is_right and last == run else 1)
    spool.write(run)
    spool.note_look(77)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (spool.backlog_size, spool.looked_ns) == (0, 77)
