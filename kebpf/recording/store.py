"""A test set on disk: one folder, written whole or not at all, read in a stream."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from kebpf.protocols.base import Document
from kebpf.recording.casefields import FieldError
from kebpf.recording.casefile import read_edited_case
from kebpf.recording.errors import TestSetError
from kebpf.recording.manifestfile import NewerVersionError, read_manifest
from kebpf.recording.mockfile import MockFileError, MockReader, iter_names, iter_offsets, read_mock
from kebpf.recording.model import FORMAT_VERSION, Manifest, Mock, TestCase
from kebpf.recording.peeking import ResponseFinder
from kebpf.recording.writer import APART_NAME, MANIFEST_NAME, MOCKS_NAME, TESTS_NAME, TestSetWriter
from kebpf.recording.yamltext import YamlError

_CALLS = re.compile(rb"^calls:(.*?)^\w", re.MULTILINE | re.DOTALL)
_ORDER = re.compile(rb"^order: *(\d+)", re.MULTILINE)
_NAME = re.compile(rb"[^\s,\[\]-][^\s,\[\]]*")

__all__ = ["TestSet", "TestSetError", "TestSetWriter"]


class TestSet:
    """A test set that was recorded; mocks are never held all at once."""

    __test__: ClassVar[bool] = False

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self.name = folder.name
        self._mocks: MockReader | None = None  # of what `iter_mocks` last read
        self._responses = ResponseFinder()

    @classmethod
    def open(cls, folder: Path) -> TestSet:
        """Opens a set and checks that it is whole.  Raises ``TestSetError``."""
        _check_folder(folder)
        with _reading(folder / MANIFEST_NAME):
            manifest = read_manifest((folder / MANIFEST_NAME).read_bytes())
        test_set = cls(folder, manifest)
        test_set._check_counts()
        return test_set

    def cases(self) -> list[TestCase]:
        """All test cases in the order of the recording.  Raises ``TestSetError``.

        Those that were set apart are not among them.
        """
        return [case for _, case in self.files() if case.set_apart is None]

    def apart(self) -> list[TestCase]:
        """The test cases that were set apart, in the same order.  Raises ``TestSetError``."""
        if not self.manifest.set_apart:
            return []
        return [case for _, case in self.files() if case.set_apart is not None]

    def files(self) -> list[tuple[Path, TestCase]]:
        """The same with their files, those that were set apart too.  Raises ``TestSetError``."""
        return sorted(self.iter_files(), key=lambda pair: (pair[1].order, pair[1].name))

    def iter_files(self) -> Iterator[tuple[Path, TestCase]]:
        """The same one by one, in the order of their paths."""
        names: set[str] = set()
        for path in [*self._case_paths(), *self._case_paths(APART_NAME)]:
            with _reading(path):
                case = read_edited_case(path.read_bytes())
            if case.name in names:
                raise TestSetError(
                    f"{path}: another file of the set has the name {case.name!r} too; "
                    "give one of them another name"
                )
            is_apart = path.parent.name == APART_NAME
            case.set_apart = (case.set_apart or "for a reason not said") if is_apart else None
            names.add(case.name)
            yield path, case

    def list_in_order(self) -> list[Path]:
        """The files of the cases that are run, in the order of the recording.

        Raises ``TestSetError``.
        """
        return sorted(self._case_paths(), key=self._read_order)

    def read_file(self, path: Path) -> TestCase:
        """The case in one of them.  Raises ``TestSetError``."""
        with _reading(path):
            return read_edited_case(path.read_bytes())

    def _read_order(self, path: Path) -> tuple[int, str]:
        with _reading(path):
            found = _ORDER.findall(path.read_bytes())
        return int(found[-1]) if found else 0, path.name

    def iter_mocks(self) -> Iterator[tuple[int, Mock]]:
        """Every mock with its offset, in the order of the file.  Raises ``TestSetError``."""
        self._mocks = None
        with _reading(self._mocks_path), self._mocks_path.open("rb") as file:
            offset = 0
            while (mock := read_mock(file)) is not None:
                yield offset, mock
                offset = file.tell()

    def mock_at(self, offset: int) -> Mock:
        """The mock that `iter_mocks` gave with ``offset``.  Raises ``TestSetError``."""
        try:
            reader = self._mocks or self._open_mocks()
            mock = reader.read_at(offset)
        except (OSError, ValueError) as error:
            with _reading(self._mocks_path):
                raise error
        if mock is None:
            raise TestSetError(f"{self._mocks_path} holds no mock at byte {offset}; record again")
        return mock

    def find_response(self, offset: int, packed: bytes) -> Document | None:
        """The response, not to be changed, of the mock at an offset, if its request is just that.

        ``packed`` is by `kebpf.recording.peeking.pack_request`.  ``None`` also where only
        `mock_at` can tell, which says too what is wrong with the file.
        """
        try:
            found = (self._mocks or self._open_mocks()).record_at(offset)
        except OSError:
            return None
        return None if found is None else self._responses.find(*found, packed)

    def _open_mocks(self) -> MockReader:
        self._mocks = MockReader(self._mocks_path)
        return self._mocks

    @property
    def _mocks_path(self) -> Path:
        return self.folder / MOCKS_NAME

    def _case_paths(self, folder: str = TESTS_NAME) -> list[Path]:
        return sorted((self.folder / folder).glob("*.yaml"))

    def check_calls(self) -> None:
        """Raises ``TestSetError`` where a case names a mock that is not there: a set of two."""
        with _reading(self._mocks_path), self._mocks_path.open("rb") as file:
            names = set(iter_names(file))
        if all(self._names_known(path, names) for path in self._case_paths()):
            return  # files are not parsed a second time for nothing
        for path, case in self.files():
            unknown = [name for name in case.calls if name not in names]
            if unknown:
                raise TestSetError(
                    f"{path}: it makes the call {unknown[0]!r}, which {MOCKS_NAME} does not hold; "
                    "record again, or take the name out"
                )

    @staticmethod
    def _names_known(path: Path, names: set[str]) -> bool:
        """Whether all lines below ``calls:`` are names of mocks, as kebpf writes them."""
        with _reading(path):
            match = _CALLS.search(path.read_bytes())
        listed = _NAME.findall(match.group(1)) if match is not None else [b""]
        return all(name.decode(errors="replace") in names for name in listed)

    def _check_counts(self) -> None:
        with _reading(self._mocks_path), self._mocks_path.open("rb") as file:
            mocks = sum(1 for _ in iter_offsets(file))
        self._compare_count("test cases", self.manifest.test_cases, len(self._case_paths()))
        self._compare_count("mocks", self.manifest.mocks, mocks)
        apart = self._case_paths(APART_NAME)
        self._compare_count("set apart", len(self.manifest.set_apart), len(apart))

    def _compare_count(self, what: str, expected: int, actual: int) -> None:
        if expected != actual:
            key = what.replace(" ", "_")
            raise TestSetError(
                f"{self.folder} is not whole: {MANIFEST_NAME} counts {expected} {what} and there "
                f"are {actual}; record it again, or correct {key!r} if the change was meant"
            )


def _check_folder(folder: Path) -> None:
    problem = _find_folder_problem(folder)
    if problem is not None:
        raise TestSetError(problem)


def _find_folder_problem(folder: Path) -> str | None:
    again = f"record one with 'kebpf record … -o {folder}'"
    try:
        if not folder.exists():
            return f"there is no test set {folder}; {again}"
        if not folder.is_dir():
            return f"{folder} is not a folder, so no test set; {again}"
        names = {path.name for path in folder.iterdir()}
    except OSError as error:
        return f"{folder} cannot be read ({error.strerror}); run as its owner"
    if not names:
        return f"the test set {folder} is empty; {again}"
    if MANIFEST_NAME not in names:
        return f"{folder} holds no {MANIFEST_NAME}, so no test set (or half of one); {again}"
    return None


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turns what can go wrong with one file into a sentence about it."""
    try:
        yield
    except FileNotFoundError as error:
        raise TestSetError(f"{path} is missing: the test set is not whole; record again") from error
    except OSError as error:
        raise TestSetError(f"{path} cannot be read ({error.strerror}); run as its owner") from error
    except NewerVersionError as error:
        raise TestSetError(
            f"{path}: written by a newer kebpf (format {error}, this one reads {FORMAT_VERSION}); "
            "update kebpf"
        ) from error
    except YamlError as error:
        where = f"{path}, line {error.line}" if error.line else str(path)
        raise TestSetError(
            f"{where}: not valid YAML ({error.problem}); mend it or record again"
        ) from error
    except FieldError as error:
        where = f"{path}, line {error.line}" if error.line else str(path)
        raise TestSetError(f"{where}: {error.problem}; mend it or record again") from error
    except MockFileError as error:
        raise TestSetError(f"{path}, byte {error.offset}: {error}; record again") from error
    except ValueError as error:
        raise TestSetError(f"{path}: {error}; mend it or record again") from error
