"""Puts a changed test set in the place of the old one, whole or not at all.

A folder with the new files, and links to those that stay, is made beside the old one; the two
change places in one step of the kernel, and the old one is removed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from kebpf.recording.casefile import write_case
from kebpf.recording.errors import TestSetError, explain_writing
from kebpf.recording.flushing import flush_file, flush_folder
from kebpf.recording.manifestfile import write_manifest
from kebpf.recording.mockfile import iter_offsets, pack_mock, read_mock
from kebpf.recording.model import Manifest, Mock, TestCase
from kebpf.recording.store import TestSet
from kebpf.recording.writer import (
    APART_NAME,
    FILE_MODE,
    FOLDER_MODE,
    MANIFEST_NAME,
    MOCKS_NAME,
)

_AT_FDCWD = -100
_EXCHANGE = 2  # renameat2(2): RENAME_EXCHANGE


class Changes(Protocol):
    """A test set as it is to be."""

    manifest: Manifest

    @property
    def changed(self) -> set[str]:
        """The names of the cases that are not as they were."""

    @property
    def has_new_mocks(self) -> bool:
        """Whether a mock is not as it was."""

    @property
    def added(self) -> Sequence[Mock]:
        """Mocks that were not there."""

    def case(self, name: str, /) -> TestCase:
        """The case of a name."""

    def revise(self, mock: Mock, /) -> Mock | None:
        """A mock as it is to be, the same object if it stays, ``None`` if it goes."""


def rewrite_set(
    test_set: TestSet, revised: Changes, gone: Collection[str] = (), into: Path | None = None
) -> None:
    """Writes what was changed; unchanged files stay the same files.  Raises ``TestSetError``.

    The cases that are ``gone`` are left out.  With ``into``, where nothing is yet, the set itself
    stays as it is.
    """
    folder = test_set.folder.resolve()
    target = folder if into is None else into.absolute()
    doing = f"the test set {folder} cannot be changed"
    if into is not None:
        doing = f"the test set {target} cannot be written"
        if os.path.lexists(target):
            raise TestSetError(f"{target} already exists; choose another name or remove it first")
    with _guard(doing), _sibling(target) as new:
        _Copy(folder, new).write(test_set, revised, gone)
        flush_folder(new)
        if into is None:
            _exchange(new, folder)
        else:
            new.rename(target)
        flush_file(target.parent)


class _Copy:
    """The new folder, its owner and modes those of a recording by whom the old one belongs to."""

    def __init__(self, old: Path, new: Path) -> None:
        self._old = old
        self._new = new
        facts = old.stat()
        self._owner = (facts.st_uid, facts.st_gid) if os.geteuid() == 0 else None

    def write(self, test_set: TestSet, revised: Changes, left_out: Collection[str]) -> None:
        """Everything of the old folder, with the changes."""
        self._own(self._new)
        texts = {}
        if revised.manifest != test_set.manifest:
            texts[Path(MANIFEST_NAME)] = write_manifest(revised.manifest)
        gone = set()
        for path, case in test_set.iter_files():
            relative = path.relative_to(test_set.folder)
            if case.name in left_out:
                gone.add(relative)
                continue
            if case.name not in revised.changed:
                continue
            now = revised.case(case.name)
            gone.add(relative)
            if now.set_apart is not None:
                relative = Path(APART_NAME, relative.name)
            texts[relative] = write_case(now)
        self._link_rest({*gone, *texts}, revised.has_new_mocks)
        for relative, text in texts.items():
            with self._create(relative) as file:
                file.write(text.encode())
        if revised.has_new_mocks:
            self._write_mocks(revised)

    def _link_rest(self, written: set[Path], has_new_mocks: bool) -> None:
        left_out = {*written, Path(MOCKS_NAME)} if has_new_mocks else written
        for parent, folders, names in os.walk(self._old):
            inside = Path(parent).relative_to(self._old)
            for name in folders:
                self._make_folder(inside / name, Path(parent, name))
            for name in names:
                if inside / name not in left_out:
                    _link(Path(parent, name), self._new / inside / name)

    def _make_folder(self, relative: Path, like: Path) -> None:
        if like.is_symlink():
            (self._new / relative).symlink_to(like.readlink())
            return
        (self._new / relative).mkdir(mode=FOLDER_MODE)
        self._own(self._new / relative)

    def _write_mocks(self, revised: Changes) -> None:
        """One mock after another, never all of them."""
        with (self._old / MOCKS_NAME).open("rb") as old, self._create(Path(MOCKS_NAME)) as new:
            end = old.seek(0, os.SEEK_END)
            offsets = list(iter_offsets(old))
            for start, stop in zip(offsets, [*offsets[1:], end], strict=True):
                old.seek(start)
                mock = read_mock(old)
                now = revised.revise(mock) if mock is not None else None
                if now is mock:
                    old.seek(start)
                    shutil.copyfileobj(_Part(old, stop - start), new)
                elif now is not None:
                    new.write(pack_mock(now))
            for added in revised.added:
                new.write(pack_mock(added))

    def _create(self, relative: Path) -> BinaryIO:
        path = self._new / relative
        if not path.parent.exists():
            path.parent.mkdir(mode=FOLDER_MODE)
            self._own(path.parent)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
        self._own(path)
        return os.fdopen(descriptor, "wb")

    def _own(self, path: Path) -> None:
        if self._owner is not None:
            os.chown(path, *self._owner)


class _Part:
    """The next bytes of a file, for `shutil.copyfileobj`."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._left = size

    def read(self, size: int = -1, /) -> bytes:
        """Some of what is left."""
        data = self._file.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(data)
        return data


def _link(old: Path, new: Path) -> None:
    """A second name for a file, a copy where the file system knows no such thing."""
    try:
        os.link(old, new, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS):
            raise
        shutil.copy2(old, new, follow_symlinks=False)


@contextmanager
def _sibling(folder: Path) -> Iterator[Path]:
    """An empty folder beside it; whatever is in it is removed at the end."""
    prefix = f".{folder.name}.unfinished-"
    new = Path(tempfile.mkdtemp(prefix=prefix, dir=folder.parent))
    try:
        yield new
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _load_renameat2() -> Callable[..., int] | None:
    function: Callable[..., int] | None = getattr(
        ctypes.CDLL(None, use_errno=True), "renameat2", None
    )
    return function


_renameat2 = _load_renameat2()


def _exchange(new: Path, folder: Path) -> None:
    """Gives each the other's name at once; two renames where the file system cannot."""
    if _renameat2 is not None:
        names = os.fsencode(new), os.fsencode(folder)
        if _renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _EXCHANGE) == 0:
            return
        number = ctypes.get_errno()
        if number not in (errno.EINVAL, errno.ENOSYS):
            raise OSError(number, os.strerror(number), str(folder))
    aside = new.with_name(f"{new.name}-old")
    folder.rename(aside)
    new.rename(folder)
    aside.rename(new)


@contextmanager
def _guard(doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise explain_writing(error, doing) from error
    except ValueError as error:
        raise TestSetError(f"{doing}: {error}") from error
