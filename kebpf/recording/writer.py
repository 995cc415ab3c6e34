"""Writing a test set: a temporary folder beside it, renamed once when it is whole."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

from kebpf.recording.casefile import write_case, write_reason
from kebpf.recording.errors import TestSetError, explain_writing
from kebpf.recording.flushing import flush_file, flush_folder
from kebpf.recording.journal import JOURNAL_NAME
from kebpf.recording.keeping import UNFINISHED_MARK, Keeper, holding_names, lock_folder
from kebpf.recording.manifestfile import write_manifest
from kebpf.recording.mockfile import pack_mock, read_mock
from kebpf.recording.model import Manifest, Mock, TestCase

MANIFEST_NAME = "test-set.yaml"
TESTS_NAME = "tests"
APART_NAME = "set-apart"
MOCKS_NAME = "mocks.msgpack"
FILE_MODE = 0o600
FOLDER_MODE = 0o700

Owner = tuple[int, int]


class TestSetWriter:
    """Writes a test set into a temporary sibling of ``folder`` and renames it at the end.

    ``owner`` is the (uid, gid) that is to own all of it, if not who runs this.  After an error
    nothing is left behind; unless it is ``durable``: then all that was added and `mark`ed stays,
    for `kebpf.recording.recovery` to make a set of, also if this process is killed.

    A case is added after all its mocks.  Raises ``TestSetError``.
    """

    __test__ = False
    _keeper: Keeper | None = None

    def __init__(self, folder: Path, owner: Owner | None = None, durable: bool = False) -> None:
        self._folder = folder.absolute()
        self._owner = owner
        self._is_durable = durable
        self._doing = f"the test set {self._folder} cannot be written"
        self._temporary: Path | None = None
        self._made: list[Path] = []  # the parents that were not there
        self._mocks: BinaryIO | None = None
        self._apart: dict[str, str] = {}  # cases that are not to be run, and why
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
        if self._is_durable:
            return []
        temporary = [] if self._temporary is None else [self._temporary]
        return [*temporary, *reversed(self._made)]

    def add_mock(self, mock: Mock) -> None:
        """Appends a mock.  Raises ``ValueError`` (and adds nothing) if it cannot be stored."""
        self.add_packed(pack_mock(mock))

    def add_packed(self, record: bytes) -> None:
        """Appends a mock that `pack_mock` has made into its record."""
        with self._guard():
            self._open_mocks.write(record)
        if self._keeper is not None:
            self._keeper.note_mock(record)
        self.mock_count += 1

    def add_case(self, case: TestCase) -> None:
        """Writes a case's file.  Raises ``ValueError`` (adds nothing) if it cannot be stored."""
        self.add_written(case.name, write_case(case))

    def add_written(self, name: str, text: str) -> None:
        """Writes the file that `write_case` has made of the case called ``name``."""
        path, data = self._case_path(name), text.encode()
        with self._guard():
            self._write_file(path, data)
            if self._keeper is not None:
                self._open_mocks.flush()
                self._keeper.note_case(path, data)
        self.case_count += 1

    def set_apart(self, name: str, reason: str) -> None:
        """Puts a case that was added beside those to run."""
        with self._guard():
            folder = self._open_temporary / APART_NAME
            if not self._apart:
                self._make_folder(folder)
            if self._keeper is not None:
                self._open_mocks.flush()
                self._keeper.note_drop(name)
            path = self._case_path(name)
            with path.open("ab") as file:
                file.write(write_reason(reason).encode())
            path.rename(folder / path.name)
        self._apart[name] = reason
        self.case_count -= 1

    def drop_case(self, name: str) -> None:
        """Takes a case back; its mocks stay until `rewrite_mocks`."""
        with self._guard():
            if self._keeper is not None:
                self._open_mocks.flush()
                self._keeper.note_drop(name)
            self._case_path(name).unlink()
        self.case_count -= 1

    def extend_case(self, name: str, text: str) -> None:
        """Adds lines to the end of the file of a case that was added."""
        path = self._case_path(name)
        with self._guard():
            with path.open("ab") as file:
                file.write(text.encode())
            if self._keeper is not None:
                self._open_mocks.flush()
                self._keeper.note_case(path, path.read_bytes())

    def rewrite_mocks(self, revise: Callable[[Mock], Mock | None]) -> int:
        """Writes all mocks anew, each as ``revise`` gives it; the size of the file in bytes.

        Those of which it gives ``None`` are left out, what it gives back as it was is not changed.
        """
        with self._guard():
            self._open_mocks.close()
            path = self._open_temporary / MOCKS_NAME
            sibling = path.with_name(f".{MOCKS_NAME}")
            self._mocks = new = self._create(sibling)  # closed, if this goes wrong
            with path.open("rb") as old:
                self.mock_count = _copy_mocks(old, new, revise)
            new.flush()
            os.fsync(new.fileno())
            if self._keeper is not None:
                self._keeper.note_rewrite(sibling)
            sibling.rename(path)
            return new.tell()

    def has_case(self, name: str) -> bool:
        """Whether a case of this name was added."""
        return self._case_path(name).exists()

    def mark(self, manifest: Manifest) -> None:
        """What the manifest would be now, for the case that the set is cut off."""
        if self._keeper is not None:
            with self._guard():
                self._open_mocks.flush()
                self._keeper.note_mark(asdict(manifest))

    def sync(self) -> None:
        """What was added before the last `mark` outlives a power cut from now on."""
        if self._keeper is not None:
            with self._guard():
                self._open_mocks.flush()
                self._keeper.sync(self._open_mocks.fileno())

    def commit(self, manifest: Manifest) -> None:
        """Makes the set whole under its name; what it holds is on the disk by then."""
        manifest.set_apart.update(self._apart)
        with self._guard():
            temporary = self._open_temporary
            self._close_mocks()
            if self._keeper is not None:
                self._keeper.make_room()
            manifest.test_cases, manifest.mocks = self.case_count, self.mock_count
            self._write_file(temporary / MANIFEST_NAME, write_manifest(manifest).encode())
            flush_folder(temporary)
            if self._keeper is not None:
                self._keeper.forget()
            self._rename(temporary)
        self._let_go()

    def abort(self) -> None:
        """Removes what was written; safe to call at any time, also after ``commit``."""
        if self._mocks is not None:
            mocks, self._mocks = self._mocks, None
            _close_quietly(mocks)
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._temporary = None  # afterwards: a signal may end this half-way, to call it again
        self._let_go()
        while self._made:
            with suppress(OSError):  # something else is in it by now
                self._made.pop().rmdir()

    def leave(self) -> None:
        """Ends early: keeps what can be recovered; removes all if nothing can, as `abort` does."""
        if self._keeper is None or not self._keeper.has_entries:
            self.abort()
            return
        if self._mocks is not None:
            mocks, self._mocks = self._mocks, None
            _close_quietly(mocks)
        self._temporary = None
        self._let_go()

    def _let_go(self) -> None:
        if self._keeper is not None:
            keeper, self._keeper = self._keeper, None
            keeper.close()

    def _rename(self, temporary: Path) -> None:
        if os.path.lexists(self._folder):
            raise TestSetError(
                f"{self._folder} was made by someone else meanwhile; record again with another name"
            )
        temporary.rename(self._folder)
        self._temporary = None
        self._made.clear()
        flush_file(self._folder.parent)

    def _close_mocks(self) -> None:
        self._open_mocks.flush()
        os.fsync(self._open_mocks.fileno())
        self._open_mocks.close()
        self._mocks = None

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
            self.leave()
            raise explain_writing(error, self._doing) from error
        except TestSetError:
            self.leave()
            raise

    def _make_folders(self) -> None:
        for parent in reversed(self._folder.parents):
            if not parent.exists():
                self._make_folder(parent)
                self._made.append(parent)
        if self._is_durable:
            self._make_kept()
        else:
            self._temporary = self._make_temporary(".unfinished-")
        temporary = self._open_temporary
        self._make_folder(temporary / TESTS_NAME)
        self._mocks = self._create(temporary / MOCKS_NAME)

    def _make_temporary(self, mark: str) -> Path:
        prefix = f".{self._folder.name}{mark}"
        temporary = Path(tempfile.mkdtemp(prefix=prefix, dir=self._folder.parent))
        self._own(temporary)
        return temporary

    def _make_kept(self) -> None:
        with holding_names(self._folder.parent):
            self._temporary = self._make_temporary(UNFINISHED_MARK)
            lock = lock_folder(self._temporary)
        assert lock is not None, "nobody else knows of it yet"
        journal = self._create_file(self._temporary / JOURNAL_NAME)
        self._keeper = Keeper(self._temporary, lock, journal)
        self._keeper.reserve()

    def _make_folder(self, path: Path) -> None:
        path.mkdir(mode=FOLDER_MODE)
        self._own(path)

    def _create(self, path: Path) -> BinaryIO:
        return os.fdopen(self._create_file(path), "wb")

    def _create_file(self, path: Path) -> int:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
        self._own(path)
        return descriptor

    def _write_file(self, path: Path, data: bytes) -> None:
        with self._create(path) as file:
            file.write(data)

    def _own(self, path: Path) -> None:
        if self._owner is not None:
            os.chown(path, *self._owner)


def _copy_mocks(old: BinaryIO, new: BinaryIO, revise: Callable[[Mock], Mock | None]) -> int:
    """How many there are now."""
    count, start = 0, 0
    while (mock := read_mock(old)) is not None:
        end, revised = old.tell(), revise(mock)
        if revised is mock:
            old.seek(start)
            new.write(old.read(end - start))
        elif revised is not None:
            new.write(pack_mock(revised))
        count += revised is not None
        start = end
    return count


def _close_quietly(file: BinaryIO) -> None:
    """Closes a file that is about to be removed: what its last flush says matters no more."""
    try:
        file.close()
    except OSError:
        return
