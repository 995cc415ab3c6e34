"""Holds a folder of test sets below a number of bytes: the oldest whole sets go first."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kebpf.recording.keeping import REMOVED_MARK, UNFINISHED_MARK, remove_folder
from kebpf.recording.writer import MANIFEST_NAME

_HEADROOM = 0.1  # of a quota
_LEAST_HEADROOM = 4 << 20  # bytes, but no more than a quarter of the quota
_CREATED = re.compile(rb"^created_ns: (\d{1,20})$", re.MULTILINE)
_MOST_HEAD = 64 << 10  # bytes of a manifest in which that stands
_BLOCK_SIZE = 512  # of `st_blocks`; stat(2)


def choose_headroom(quota: int) -> int:
    """Bytes to keep free, for what is written between two looks and at a set's end."""
    return max(int(quota * _HEADROOM), min(_LEAST_HEADROOM, quota // 4))


@dataclass(frozen=True, slots=True)
class HeldSet:
    """A whole set: ``age`` orders them, the oldest has the smallest; ``size`` in bytes of disk."""

    path: Path
    age: tuple[int, int]
    size: int


@dataclass(frozen=True, slots=True)
class Decision:
    """``dropped``: the sets to remove, in this order; ``must_end``: that alone does not do, so
    what is being written has to end, to become a set that can be removed in its turn."""

    dropped: list[HeldSet]
    must_end: bool


def decide(sets: Iterable[HeldSet], other_size: int, allowed: int) -> Decision:
    """``other_size`` are bytes of what cannot be dropped, what is being written among them."""
    left = sorted(sets, key=lambda one: one.age)
    size = other_size + sum(one.size for one in left)
    dropped: list[HeldSet] = []
    while size > allowed and left:
        dropped.append(left.pop(0))
        size -= dropped[-1].size
    return Decision(dropped, size > allowed)


@dataclass(slots=True)
class Usage:
    """How a look ended: ``used`` bytes of ``quota``, sets that were ``dropped``, what failed."""

    used: int
    quota: int
    dropped: list[Path] = field(default_factory=list)
    must_end: bool = False
    problems: list[str] = field(default_factory=list)


class QuotaKeeper:
    """Looks at folders of sets, and drops; to be asked twice a second or so while one grows.

    ``headroom`` bytes of the quota are kept free.

    Which set is older is told by when it was recorded, and among those that came while this
    looked, by when they came: so a clock that is set back makes no new set an old one.
    """

    def __init__(self, quota: int, headroom: int) -> None:
        self.quota = quota
        self._allowed = quota - headroom
        self._known: dict[Path, tuple[tuple[int, int], HeldSet]] = {}  # by when they were changed
        self._looks = 0

    def look(self, folders: Sequence[Path]) -> Usage:
        """Measures all that is in the folders and removes whole sets until it fits."""
        self._looks += 1
        usage = Usage(0, self.quota)
        sets: list[HeldSet] = []
        other_size = 0
        for path in _entries(folders, usage):
            if REMOVED_MARK in path.name:
                remove_folder(path)
                continue
            held = None if UNFINISHED_MARK in path.name else self._hold(path)
            if held is None:
                other_size += measure(path)
            else:
                sets.append(held)
        self._known = {one.path: self._known[one.path] for one in sets}
        decision = decide(sets, other_size, self._allowed)
        usage.used = other_size + sum(one.size for one in sets)
        usage.must_end = decision.must_end
        for one in decision.dropped:
            self._drop(one, usage)
        return usage

    def _drop(self, one: HeldSet, usage: Usage) -> None:
        try:
            remove_folder(one.path)
        except OSError as error:
            usage.problems.append(f"{one.path} cannot be removed: {error.strerror}")
            return
        usage.dropped.append(one.path)
        usage.used -= one.size
        del self._known[one.path]

    def _hold(self, path: Path) -> HeldSet | None:
        """``None``: it is no whole set."""
        try:
            changed = _changed_of(path)
        except OSError:
            return None
        known = self._known.get(path)
        if known is not None and known[0] == changed:
            return known[1]
        created_ns = _read_creation(path / MANIFEST_NAME)
        if created_ns is None:
            return None
        seen = self._looks if known is None else known[1].age[0]
        held = HeldSet(path, (seen, created_ns), measure(path))
        self._known[path] = changed, held
        return held


def _read_creation(path: Path) -> int | None:
    """When a set was recorded, ``None`` if that is no set's manifest.

    Nothing else of it is looked at, and no link followed: the files may be those of a process
    that was taken over, and who looks may be root.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        is_regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        match = _CREATED.search(os.read(descriptor, _MOST_HEAD)) if is_regular else None
    finally:
        os.close(descriptor)
    return None if match is None else int(match[1])


def measure(path: Path) -> int:
    """What a file or a folder takes on its disk, in bytes; what vanishes meanwhile counts not."""
    try:
        size = path.lstat().st_blocks * _BLOCK_SIZE
        if path.is_symlink() or not path.is_dir():
            return size
        with os.scandir(path) as entries:
            return size + sum(_measure_entry(entry) for entry in entries)
    except OSError:
        return 0


def _measure_entry(entry: os.DirEntry[str]) -> int:
    if entry.is_dir(follow_symlinks=False):
        return measure(Path(entry.path))
    try:
        return entry.stat(follow_symlinks=False).st_blocks * _BLOCK_SIZE
    except FileNotFoundError:
        return 0


def _entries(folders: Sequence[Path], usage: Usage) -> Iterator[Path]:
    for folder in folders:
        try:
            yield from sorted(folder.iterdir())
        except FileNotFoundError:
            continue
        except OSError as error:
            usage.problems.append(f"{folder} cannot be read: {error.strerror}")


def _changed_of(path: Path) -> tuple[int, int]:
    """When a set was last changed, its cases or its mocks."""
    return max(one.stat().st_mtime_ns for one in _parts(path)), path.stat().st_ino


def _parts(path: Path) -> Iterator[Path]:
    yield path
    yield path / MANIFEST_NAME
