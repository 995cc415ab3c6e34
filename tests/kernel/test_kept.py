"""The cache of programs: what root alone can have written comes back, and nothing else does."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kebpf.kernel.kept import MOST_FILES, ProgramCache, UntrustedError

KEY = "0" * 64
BODY = b"instructions"
NOBODY = 65534


@pytest.fixture
def cache(tmp_path: Path) -> ProgramCache:
    """With one entry."""
    made = ProgramCache(tmp_path / "kept")
    assert made.keep(KEY, BODY)
    return made


def entry(cache: ProgramCache) -> Path:
    (path,) = cache.folder.iterdir()
    return path


def test_what_was_kept_is_found(cache: ProgramCache) -> None:
    assert cache.find(KEY) == BODY
    assert cache.find("1" * 64) is None
    assert cache.check() == 1


def test_it_is_closed_to_others(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        cache = ProgramCache(tmp_path / "kept")
        assert cache.keep(KEY, BODY)
    finally:
        os.umask(before)
    assert cache.folder.stat().st_mode & 0o777 == 0o700
    assert entry(cache).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("at", [0, 5, 20, 45, -1])
def test_one_changed_byte_is_damage(cache: ProgramCache, at: int) -> None:
    content = bytearray(entry(cache).read_bytes())
    content[at] ^= 1
    entry(cache).write_bytes(content)
    assert cache.find(KEY) is None


@pytest.mark.parametrize("size", [0, 10, 30, 50])
def test_a_part_of_it_is_damage(cache: ProgramCache, size: int) -> None:
    entry(cache).write_bytes(entry(cache).read_bytes()[:size])
    assert cache.find(KEY) is None


def open_folder(cache: ProgramCache) -> None:
    cache.folder.chmod(0o755)


def give_folder_away(cache: ProgramCache) -> None:
    os.chown(cache.folder, NOBODY, NOBODY)


def link_folder(cache: ProgramCache) -> None:
    moved = cache.folder.rename(cache.folder.with_name("elsewhere"))
    cache.folder.symlink_to(moved)


def replace_folder(cache: ProgramCache) -> None:
    cache.folder.rename(cache.folder.with_name("elsewhere"))
    cache.folder.write_bytes(b"")


FOLDER_TRICKS = [
    open_folder,
    pytest.param(give_folder_away, marks=pytest.mark.kernel),  # needs root
    link_folder,
    replace_folder,
]


@pytest.mark.parametrize("spoil", FOLDER_TRICKS)
def test_a_folder_that_others_can_have_made(
    cache: ProgramCache, spoil: Callable[[ProgramCache], None]
) -> None:
    spoil(cache)
    assert cache.find(KEY) is None
    assert not cache.keep("1" * 64, BODY)
    with pytest.raises((UntrustedError, OSError)):
        cache.check()


def open_file(path: Path) -> None:
    path.chmod(0o620)


def give_file_away(path: Path) -> None:
    os.chown(path, NOBODY, NOBODY)


def link_file(path: Path) -> None:
    moved = path.rename(path.parent.parent / "elsewhere")
    path.symlink_to(moved)


def replace_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


@pytest.mark.parametrize(
    "spoil",
    [
        open_file,
        pytest.param(give_file_away, marks=pytest.mark.kernel),
        link_file,
        replace_by_pipe,
    ],
)
def test_a_file_that_others_can_have_made(
    cache: ProgramCache, spoil: Callable[[Path], None]
) -> None:
    spoil(entry(cache))
    assert cache.find(KEY) is None
    assert cache.keep(KEY, BODY)  # in its place
    assert cache.find(KEY) == BODY


def test_no_folder_to_write_to(tmp_path: Path) -> None:
    cache = ProgramCache(tmp_path / "missing" / "kept")
    assert not cache.keep(KEY, BODY)
    assert cache.find(KEY) is None
    with pytest.raises(FileNotFoundError):
        cache.check()


def test_the_oldest_go(tmp_path: Path) -> None:
    cache = ProgramCache(tmp_path / "kept")
    keys = [f"{number:064}" for number in range(MOST_FILES + 3)]
    for number, key in enumerate(keys):
        assert cache.keep(key, BODY)
        for path in cache.folder.glob(f"{key}*"):
            os.utime(path, ns=(number, number))
    # one more than the clock of the newest was set back: it is the last that was written
    assert cache.check() == MOST_FILES
    assert cache.find(keys[0]) is None
    assert cache.find(keys[-1]) == BODY
