"""Sees to it that files are on the disk, not only on their way there."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from itertools import islice
from pathlib import Path

#: With more files the whole file system is flushed: once, instead of a journal commit for each.
MOST_SINGLE_FILES = 16


def _load_syncfs() -> Callable[[int], int] | None:
    function: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "syncfs", None)
    return function


_syncfs = _load_syncfs()


def flush_file(path: Path) -> None:
    """A file or a folder's list of names.  Raises ``OSError``."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_folder(folder: Path) -> None:
    """All that is below a folder, and its own list of names.  Raises ``OSError``.

    Where flushing the file system fails, perhaps over a file of someone else's, each file is
    flushed by itself to know.
    """
    if not (_has_many_files(folder) and flush_file_system(folder)):
        for parent, _folders, names in os.walk(folder):
            for name in names:
                flush_file(Path(parent, name))
            flush_file(Path(parent))


def _has_many_files(folder: Path) -> bool:
    files = (name for _parent, _folders, names in os.walk(folder) for name in names)
    return len(list(islice(files, MOST_SINGLE_FILES))) == MOST_SINGLE_FILES


def flush_file_system(folder: Path) -> bool:
    """The whole one that a folder is in; whether that worked.

    syncfs(2) has told of failed writes since Linux 5.8, and no older kernel has the ring.
    """
    if _syncfs is None:
        return False
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        return _syncfs(descriptor) == 0
    finally:
        os.close(descriptor)
