"""Writing a test set: a temporary folder beside it, renamed once when it is whole."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from kebpf.recording.casefile import write_case
from kebpf.recording.errors import TestSetError
from kebpf.recording.flushing import flush_file, flush_folder
from kebpf.recording.manifestfile import write_manifest
from kebpf.recording.mockfile import pack_mock
from kebpf.recording.model import Manifest, Mock, TestCase

MANIFEST_NAME = "test-set.yaml"
TESTS_NAME = "tests"
APART_NAME = "set-apart"
MOCKS_NAME = "mocks.msgpack"
FILE_MODE = 0o600
FOLDER_MODE = 0o700

Owner = tuple[int, int]


def explain_writing(error: OSError, doing: str) -> TestSetError:
    """A sentence on what stands in the way, and what to do about it."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return TestSetError(f"{doing}: the disk is full; free some space or choose another folder")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return TestSetError(
            f"{doing}: {error.strerror}; choose a folder you may write to or run as its owner"
        )
    return TestSetError(f"{doing}: {error.strerror or error}; see to that and try again")


class TestSetWriter:
    """Writes a test set into a temporary sibling of ``folder`` and renames it at the end.

    ``owner`` is the (uid, gid) that is to own all of it, if not who runs this.  After an error
    nothing is left behind.  Raises ``TestSetError``.
    """

    __test__ = False

    def __init__(self, folder: Path, owner: Owner | None = None) -> None:
        self._folder = folder.absolute()
        self._owner = owner
        self._doing = f"the test set {self._folder} cannot be written"
        self._temporary: Path | None = None
        self._made: list[Path] = []  # the parents that were not there
        self._mocks: BinaryIO | None = None
        self.mock_count = 0
        self.case_count = 0
        if os.path.lexists(self._folder):
            raise TestSetError(
                f"{self._folder} already exists; choose another name or remove it first"
            )
        with self._guard():
            self._make_folders()

    @property
    def unfinished(self) -> list[Path]:
        """The folders to remove should this process be killed, in this order."""
        temporary = [] if self._temporary is None else [self._temporary]
        return [*temporary, *reversed(self._made)]

    def add_mock(self, mock: Mock) -> None:
        """Appends a mock.  Raises ``ValueError`` (and adds nothing) if it cannot be stored."""
        self.add_packed(pack_mock(mock))

    def add_packed(self, record: bytes) -> None:
        """Appends a mock that `pack_mock` has made into its record."""
        with self._guard():
            self._open_mocks.write(record)
        self.mock_count += 1

    def add_case(self, case: TestCase) -> None:
        """Writes a case's file.  Raises ``ValueError`` (adds nothing) if it cannot be stored."""
        self.add_written(case.name, write_case(case))

    def add_written(self, name: str, text: str) -> None:
        """Writes the file that `write_case` has made of the case called ``name``."""
        with self._guard():
            self._write_file(self._case_path(name), text.encode())
        self.case_count += 1

    def has_case(self, name: str) -> bool:
        """Whether a case of this name was added."""
        return self._case_path(name).exists()

    def commit(self, manifest: Manifest) -> None:
        """Makes the set whole under its name; what it holds is on the disk by then."""
        manifest.test_cases, manifest.mocks = self.case_count, self.mock_count
        with self._guard():
            temporary = self._open_temporary
            self._open_mocks.flush()
            os.fsync(self._open_mocks.fileno())
            self._open_mocks.close()
            self._write_file(temporary / MANIFEST_NAME, write_manifest(manifest).encode())
            flush_folder(temporary)
            self._rename(temporary)

    def abort(self) -> None:
        """Removes what was written; safe to call at any time, also after ``commit``."""
        if self._mocks is not None:
            mocks, self._mocks = self._mocks, None
            _close_quietly(mocks)
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._temporary = None  # afterwards: a signal may end this half-way, to call it again
        while self._made:
            with suppress(OSError):  # something else is in it by now
                self._made.pop().rmdir()

    def _rename(self, temporary: Path) -> None:
        if os.path.lexists(self._folder):
            raise TestSetError(
                f"{self._folder} was made by someone else meanwhile; record again with another name"
            )
        temporary.rename(self._folder)
        self._temporary = self._mocks = None
        self._made.clear()
        flush_file(self._folder.parent)

    @property
    def _open_temporary(self) -> Path:
        if self._temporary is None:
            raise TestSetError(f"{self._doing}: it was closed before; record again")
        return self._temporary

    @property
    def _open_mocks(self) -> BinaryIO:
        if self._mocks is None:
            raise TestSetError(f"{self._doing}: it was closed before; record again")
        return self._mocks

    def _case_path(self, name: str) -> Path:
        return self._open_temporary / TESTS_NAME / f"{name}.yaml"

    @contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.abort()
            raise explain_writing(error, self._doing) from error
        except TestSetError:
            self.abort()
            raise

    def _make_folders(self) -> None:
        for parent in reversed(self._folder.parents):
            if not parent.exists():
                self._make_folder(parent)
                self._made.append(parent)
        prefix = f".{self._folder.name}.unfinished-"
        self._temporary = Path(tempfile.mkdtemp(prefix=prefix, dir=self._folder.parent))
        self._own(self._temporary)
        self._make_folder(self._temporary / TESTS_NAME)
        self._mocks = self._create(self._temporary / MOCKS_NAME)

    def _make_folder(self, path: Path) -> None:
        path.mkdir(mode=FOLDER_MODE)
        self._own(path)

    def _create(self, path: Path) -> BinaryIO:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
        self._own(path)
        return os.fdopen(descriptor, "wb")

    def _write_file(self, path: Path, data: bytes) -> None:
        with self._create(path) as file:
            file.write(data)

    def _own(self, path: Path) -> None:
        if self._owner is not None:
            os.chown(path, *self._owner)


def _close_quietly(file: BinaryIO) -> None:
    """Closes a file that is about to be removed: what its last flush says matters no more."""
    try:
        file.close()
    except OSError:
        return
