"""Keeps compiled programs between runs, in a folder that only root can have written.

What is loaded into the kernel from here is trusted as much as kebpf's own files: so the folder and
the files must be of this user (root), closed to all others, and no links; and what is in a file is
checked against its sum.  Anything else is as if it were not there.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FOLDER = Path("/var/cache/kebpf")
MOST_FILES = 16  # the oldest go
_MOST_SIZE = 4 << 20  # bytes of one file
_MAGIC = b"kebpf programs 1\n"
_SUM_SIZE = 32
_SUFFIX = ".programs"
_OPENING = os.O_NOFOLLOW | os.O_CLOEXEC


class UntrustedError(Exception):
    """Something in the cache's place that root alone cannot have made; one sentence."""


class ProgramCache:
    """One folder, made when something is first kept."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self.folder = folder

    def find(self, key: str) -> bytes | None:
        """What was kept under a name; ``None`` for nothing or nothing that can be trusted."""
        try:
            with self._open_folder() as folder:
                content = _read(folder, key + _SUFFIX)
        except (OSError, UntrustedError):
            return None
        head = len(_MAGIC) + _SUM_SIZE
        body = content[head:]
        is_whole = content[:head] == _MAGIC + hashlib.sha256(body).digest()
        return body if is_whole else None

    def keep(self, key: str, body: bytes) -> bool:
        """Whether it could be kept; where not, the next run compiles anew."""
        content = _MAGIC + hashlib.sha256(body).digest() + body
        try:
            with suppress(FileExistsError):
                self.folder.mkdir(mode=0o700)
            with self._open_folder() as folder:
                _write(folder, key + _SUFFIX, content)
                _remove_oldest(folder)
        except (OSError, UntrustedError):
            return False
        return True

    def check(self) -> int:
        """The number of files kept.  Raises `UntrustedError` and ``OSError``."""
        with self._open_folder() as folder:
            return len(_list_files(folder))

    @contextmanager
    def _open_folder(self) -> Iterator[int]:
        folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | _OPENING)
        try:
            _trust(folder, str(self.folder))
            yield folder
        finally:
            os.close(folder)


def _trust(descriptor: int, name: str) -> None:
    """Of the opened file itself: its name may lead elsewhere by now."""
    status = os.fstat(descriptor)
    if status.st_uid != os.geteuid():
        raise UntrustedError(f"{name} belongs to another user (id {status.st_uid})")
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        raise UntrustedError(f"{name} is open to others (mode {mode:04o})")


def _read(folder: int, name: str) -> bytes:
    # without O_NONBLOCK a pipe of this name would be waited for
    file = os.open(name, os.O_RDONLY | os.O_NONBLOCK | _OPENING, dir_fd=folder)
    with os.fdopen(file, "rb") as opened:
        _trust(file, name)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise UntrustedError(f"{name} is no file")
        return opened.read(_MOST_SIZE)


def _write(folder: int, name: str, content: bytes) -> None:
    """All or nothing: under another name first."""
    unfinished = f".{name}.{os.getpid()}"
    with suppress(FileNotFoundError):
        os.unlink(unfinished, dir_fd=folder)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _OPENING
    file = os.open(unfinished, flags, 0o600, dir_fd=folder)
    try:
        with os.fdopen(file, "wb") as opened:
            opened.write(content)
        os.rename(unfinished, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        os.unlink(unfinished, dir_fd=folder)
        raise


def _list_files(folder: int) -> list[str]:
    return [name for name in os.listdir(folder) if _SUFFIX in name]  # and unfinished ones


def _remove_oldest(folder: int) -> None:
    names = {
        name: os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime_ns
        for name in _list_files(folder)
    }
    for name in sorted(names, key=lambda one: names[one])[:-MOST_FILES]:
        os.unlink(name, dir_fd=folder)
