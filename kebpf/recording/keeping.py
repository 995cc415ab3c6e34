"""What makes an unfinished test set one that `kebpf.recording.recovery` can finish."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zlib import crc32

from kebpf.recording.flushing import MOST_SINGLE_FILES, flush_file, flush_file_system
from kebpf.recording.journal import JOURNAL_NAME, Entry, Extent, Journal, sum_up

RESERVE_NAME = ".reserve"
RESERVE_SIZE = 64 << 10  # bytes kept free, so that a set can be finished on a disk that is full
UNFINISHED_MARK = ".recording-"  # within the names of such folders
REMOVED_MARK = ".kebpf-removed-"  # within the names of folders that are only half there


@contextmanager
def holding_names(folder: Path) -> Iterator[None]:
    """Nobody else makes an unfinished set in a folder, or looks for one, meanwhile.

    Raises ``OSError``.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def lock_folder(folder: Path) -> int | None:
    """A descriptor that holds a folder until it is closed, ``None`` if another process holds it.

    The kernel lets go when that process ends, however it does.  Raises ``OSError``.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def remove_folder(folder: Path) -> None:
    """At once, as it looks from outside; what is left should this be cut off is to go later.

    Raises ``OSError``, and changes nothing then.
    """
    removed = folder
    if REMOVED_MARK not in folder.name:
        removed = folder.with_name(f".{folder.name.lstrip('.')}{REMOVED_MARK}{os.urandom(4).hex()}")
        folder.rename(removed)
    shutil.rmtree(removed, ignore_errors=True)


class Keeper:
    """Of one unfinished folder, which it holds: its journal, and room to finish it.

    ``journal`` is a descriptor of the empty file.  Raises ``OSError`` throughout.
    """

    def __init__(self, folder: Path, lock: int, journal: int) -> None:
        self._folder = folder
        self._lock = lock
        self._journal = Journal(journal)
        self._start = self._end = self._crc = 0  # of the mocks since the last entry
        self._unsynced: list[Path] = []  # files of cases
        self.has_entries = False

    def reserve(self) -> None:
        """Keeps some room free."""
        descriptor = os.open(self._folder / RESERVE_NAME, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, RESERVE_SIZE)
        finally:
            os.close(descriptor)

    def note_mock(self, record: bytes) -> None:
        """A mock was added behind the others."""
        self._crc = crc32(record, self._crc)
        self._end += len(record)

    def note_rewrite(self, path: Path) -> None:
        """A file that is about to take the place of the mocks is whole, and on the disk."""
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            self._start, self._end, self._crc = 0, size, sum_up(file, 0, size) or 0
        self._append(Entry("rewrite", *self._now()))

    def note_case(self, path: Path, data: bytes) -> None:
        """A case's file was written, and before it all its mocks."""
        self._append(Entry("case", *self._now(), path.stem, len(data), crc32(data)))
        self._unsynced.append(path)

    def note_drop(self, name: str) -> None:
        """A case is taken back."""
        self._append(Entry("drop", *self._now(), name))

    def note_mark(self, facts: dict[str, Any]) -> None:
        """What the manifest would say now."""
        self._append(Entry("mark", *self._now(), facts=facts))

    def sync(self, mocks: int) -> None:
        """All that was noted is on the disk, whatever happens to the host; mocks are flushed."""
        if len(self._unsynced) <= MOST_SINGLE_FILES or not flush_file_system(self._folder):
            for path in self._unsynced:
                if path.exists():  # it was not taken back
                    flush_file(path)
            if self._unsynced:
                flush_file(self._unsynced[0].parent)
        self._unsynced.clear()
        os.fsync(mocks)
        self._journal.flush()
        flush_file(self._folder)

    def make_room(self) -> None:
        """Frees what was reserved: now it is needed."""
        (self._folder / RESERVE_NAME).unlink(missing_ok=True)

    def forget(self) -> None:
        """The set is whole without a journal."""
        (self._folder / JOURNAL_NAME).unlink()

    def close(self) -> None:
        """Lets go of the folder."""
        self._journal.close()
        os.close(self._lock)

    def _now(self) -> tuple[int, Extent]:
        return time.time_ns(), Extent(self._start, self._end, self._crc)

    def _append(self, entry: Entry) -> None:
        self._journal.append(entry)
        self._start, self._crc = self._end, 0
        self.has_entries = True
