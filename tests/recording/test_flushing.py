"""Few files are flushed one by one, many with their file system, and failures are told."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from kebpf.recording import flushing
from kebpf.recording.flushing import MOST_SINGLE_FILES, flush_folder


def make_files(folder: Path, count: int) -> list[Path]:
    (folder / "inner").mkdir()
    paths = [folder / "inner" / str(number) for number in range(count)]
    for path in paths:
        path.write_bytes(b"x" * 5000)
    return paths


@pytest.fixture
def flushed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of what is flushed alone."""
    names: list[str] = []
    flush = os.fsync

    def note(descriptor: int) -> None:
        names.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    return names


def test_a_few_files_are_flushed_alone(tmp_path: Path, flushed: list[str]) -> None:
    paths = make_files(tmp_path, 3)
    flush_folder(tmp_path)
    assert sorted(flushed) == sorted(map(str, [*paths, tmp_path, tmp_path / "inner"]))


def test_many_files_are_flushed_at_once(tmp_path: Path, flushed: list[str]) -> None:
    make_files(tmp_path, MOST_SINGLE_FILES)
    flush_folder(tmp_path)
    assert flushed == []


def test_each_file_is_asked_when_the_file_system_fails(
    tmp_path: Path, flushed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_files(tmp_path, MOST_SINGLE_FILES)
    monkeypatch.setattr(flushing, "_syncfs", lambda descriptor: -1)
    flush_folder(tmp_path)
    assert set(map(str, paths)) < set(flushed)


def test_a_disk_that_fails_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_files(tmp_path, MOST_SINGLE_FILES)

    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(flushing, "_syncfs", lambda descriptor: -1)
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="broken"):
        flush_folder(tmp_path)


def test_the_real_file_system_is_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, answers = flushing._syncfs, list[int]()

    def flush(descriptor: int) -> int:
        assert real is not None
        answers.append(real(descriptor))
        return answers[-1]

    monkeypatch.setattr(flushing, "_syncfs", flush)
    make_files(tmp_path, MOST_SINGLE_FILES)
    flush_folder(tmp_path)
    assert answers == [0]
