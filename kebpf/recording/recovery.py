"""Makes whole test sets of recordings that were cut off: what was complete, and nothing else."""

from __future__ import annotations

import errno
import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from kebpf.recording.errors import TestSetError, explain_writing
from kebpf.recording.facts import CUT_OFF
from kebpf.recording.flushing import flush_file, flush_folder
from kebpf.recording.journal import JOURNAL_NAME
from kebpf.recording.keeping import (
    REMOVED_MARK,
    RESERVE_NAME,
    UNFINISHED_MARK,
    holding_names,
    lock_folder,
    remove_folder,
)
from kebpf.recording.manifestfile import write_manifest
from kebpf.recording.mockfile import iter_offsets
from kebpf.recording.model import Manifest
from kebpf.recording.settling import iter_settled
from kebpf.recording.store import TestSet
from kebpf.recording.wreck import Wreck
from kebpf.recording.writer import (
    FILE_MODE,
    FOLDER_MODE,
    MANIFEST_NAME,
    MOCKS_NAME,
    TESTS_NAME,
)

_RECOVERED_MARK = ".recovered-"  # of the folder that becomes the set
_NAME_FILE = ".recovered-as"
_UNFINISHED = re.compile(rf"\.(.+){re.escape(UNFINISHED_MARK)}(\w+)")


@dataclass(frozen=True, slots=True)
class Recovered:
    """A set that was made of a recording that was cut off at ``cut_off_ns`` (Unix time).

    ``damaged`` cases were complete once, and are not in it: the disk changed them since.
    """

    folder: Path
    cases: int
    mocks: int
    cut_off_ns: int
    damaged: int = 0


@dataclass(slots=True)
class Recovery:
    """What `recover_all` found; ``problems`` are sentences on what it could not recover yet."""

    recovered: list[Recovered] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def recover_all(parent: Path) -> Recovery:
    """Of everything that was cut off in a folder; what is still being written is left alone.

    May itself be cut off at any moment, and done again.  Never raises for what it finds.
    """
    recovery = Recovery()
    try:
        _remove_rests(parent)
        found = sorted(path for path in parent.iterdir() if _UNFINISHED.fullmatch(path.name))
    except OSError as error:
        if parent.exists():
            recovery.problems.append(f"{parent} cannot be read: {error.strerror}")
        return recovery
    for path in found:
        try:
            recovered = recover(path)
        except TestSetError as error:
            recovery.problems.append(str(error))
        else:
            if recovered is not None:
                recovery.recovered.append(recovered)
    return recovery


def recover(unfinished: Path) -> Recovered | None:
    """Of one folder, which is gone afterwards.

    ``None``: nothing of it was complete, or it is still being written.  Raises ``TestSetError``,
    and changes nothing then.
    """
    try:
        lock = _lock(unfinished)
        if lock is None:
            return None
        try:
            return _recover(unfinished)
        finally:
            os.close(lock)
    except (OSError, ValueError) as error:
        doing = f"what was recorded in {unfinished} before it was cut off cannot be made a set yet"
        if isinstance(error, OSError):
            raise explain_writing(error, doing) from error
        raise TestSetError(f"{doing}: {error}") from error


def _lock(unfinished: Path) -> int | None:
    try:
        with holding_names(unfinished.parent):
            return lock_folder(unfinished)
    except FileNotFoundError:  # another was quicker
        return None


def _recover(unfinished: Path) -> Recovered | None:
    if not unfinished.exists():  # another was quicker
        return None
    if _is_done(unfinished):
        remove_folder(unfinished)
        return None
    journal = unfinished / JOURNAL_NAME
    if not journal.exists():
        return _finish_commit(unfinished)
    wreck = Wreck.read(unfinished, journal.read_bytes())
    if not wreck.cases:
        remove_folder(unfinished)
        return None
    (unfinished / RESERVE_NAME).unlink(missing_ok=True)
    built, final = _beside(unfinished, _RECOVERED_MARK), _choose_name(unfinished)
    try:
        manifest = _build(wreck, built, final.name)
        flush_folder(built)
        _write(unfinished / _NAME_FILE, final.name.encode(), unfinished)
    except OSError:
        shutil.rmtree(built, ignore_errors=True)  # the disk may be full
        raise
    built.rename(final)
    flush_file(final.parent)
    remove_folder(unfinished)
    cases, mocks = manifest.test_cases, manifest.mocks
    return Recovered(final, cases, mocks, manifest.extra[CUT_OFF]["time_ns"], wreck.damaged)


def _is_done(unfinished: Path) -> bool:
    """Whether the set was made, and only this folder not removed."""
    name = unfinished / _NAME_FILE
    if not name.exists() or _beside(unfinished, _RECOVERED_MARK).exists():
        return False
    return bool(text := name.read_text().strip()) and (unfinished.parent / text).exists()


def _finish_commit(unfinished: Path) -> Recovered | None:
    """The journal goes just before the set, whole by then, gets its name."""
    try:
        manifest = TestSet.open(unfinished).manifest
    except TestSetError:  # it was cut off while the journal was made
        remove_folder(unfinished)
        return None
    final = _choose_name(unfinished)
    unfinished.rename(final)
    flush_file(final.parent)
    return Recovered(final, manifest.test_cases, manifest.mocks, manifest.created_ns)


def _build(wreck: Wreck, built: Path, name: str) -> Manifest:
    """The whole folder of the set, under a name of its own as yet."""
    owner = wreck.folder.stat()
    if built.exists():
        shutil.rmtree(built)
    for folder in (built, built / TESTS_NAME):
        folder.mkdir(FOLDER_MODE)
        _own(folder, owner)
    for case, entry in wreck.cases.items():
        path = built / TESTS_NAME / f"{case}.yaml"
        _put(wreck.folder / TESTS_NAME / path.name, path)
        if path.stat().st_size != entry.size:  # what was added later may not be all of it
            os.truncate(path, entry.size)
    manifest = wreck.make_manifest()
    manifest.name, manifest.test_cases = name, len(wreck.cases)
    manifest.mocks = _build_mocks(wreck, built / MOCKS_NAME)
    _write(built / MANIFEST_NAME, write_manifest(manifest).encode(), wreck.folder)
    return manifest


def _build_mocks(wreck: Wreck, path: Path) -> int:
    """The set's file of mocks: the same file if all of it stays; how many there are."""
    source, is_gapless = wreck.mocks, wreck.is_gapless
    with source.open("rb") as file:
        if not (is_gapless and not _has_changes(wreck, file)):
            try:
                return _copy_settled(wreck, file, path)
            except OSError as error:
                path.unlink(missing_ok=True)
                if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not is_gapless:
                    raise
    # There is no room for a copy, then: the mocks of cases that are missing answer nobody.
    _put(source, path)
    os.truncate(path, wreck.extents[-1].end if wreck.extents else 0)
    with path.open("rb") as file:
        return sum(1 for _ in iter_offsets(file))


def _has_changes(wreck: Wreck, file: BinaryIO) -> bool:
    return any(
        is_new
        for extent in wreck.extents
        for _, is_new in iter_settled(file, extent.start, extent.end, wreck.cases)
    )


def _copy_settled(wreck: Wreck, file: BinaryIO, path: Path) -> int:
    count = 0
    with os.fdopen(_create(path, wreck.folder.stat()), "wb") as target:
        for extent in wreck.extents:
            for record, _ in iter_settled(file, extent.start, extent.end, wreck.cases):
                target.write(record)
                count += bool(record)
    return count


def _put(source: Path, target: Path) -> None:
    """The same file at another place, or a copy where a file has one place only."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.EACCES):
            raise
        shutil.copy2(source, target)
        _own(target, source.stat())


def _write(path: Path, data: bytes, like: Path) -> None:
    with os.fdopen(_create(path, like.stat()), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _create(path: Path, owner: os.stat_result) -> int:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, FILE_MODE)
    _own(path, owner)
    return descriptor


def _own(path: Path, owner: os.stat_result) -> None:
    """It belongs to whom the recording belonged to."""
    if (owner.st_uid, owner.st_gid) != (os.geteuid(), os.getegid()):
        os.chown(path, owner.st_uid, owner.st_gid)


def _beside(unfinished: Path, mark: str) -> Path:
    """``.NAME`` with another mark."""
    return unfinished.with_name(unfinished.name.replace(UNFINISHED_MARK, mark))


def _choose_name(unfinished: Path) -> Path:
    """The name it was to have, or the first with a number behind it that is free."""
    match = _UNFINISHED.fullmatch(unfinished.name)
    name = match[1] if match else unfinished.name.lstrip(".")
    final, number = unfinished.with_name(name), 1
    while os.path.lexists(final):
        number += 1
        final = unfinished.with_name(f"{name}-{number}")
    return final


def _remove_rests(parent: Path) -> None:
    for path in parent.glob(f".*{REMOVED_MARK}*"):
        shutil.rmtree(path, ignore_errors=True)
