"""What is left of a recording that was cut off: which cases are whole, and where the mocks are."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO
from zlib import crc32

from kebpf.recording.casefile import read_case, write_case
from kebpf.recording.facts import CUT_OFF
from kebpf.recording.journal import Entry, Extent, cases_of, read_journal, sum_up
from kebpf.recording.manifestfile import manifest_of_tree
from kebpf.recording.mockfile import MockFileError, iter_names, read_mock
from kebpf.recording.model import Manifest
from kebpf.recording.writer import MOCKS_NAME, TESTS_NAME


@dataclass(slots=True)
class Wreck:
    """What is left of a recording: the cases that are whole, and where the mocks are."""

    folder: Path
    mocks: Path
    entries: list[Entry]
    extents: list[Extent]  # those that are as they were written, in order
    cases: dict[str, Entry]
    damaged: int
    is_gapless: bool  # all mocks that were ever noted are as they were written

    @classmethod
    def read(cls, folder: Path, journal: bytes) -> Wreck:
        """What lines of the journal that are damaged said is judged by the files alone.

        Raises ``OSError``.
        """
        entries, bad_lines = read_journal(journal)
        written = cases_of(entries)
        mocks, noted = _find_mocks(folder, entries)
        with mocks.open("rb") as file:
            extents = [one for one in noted if sum_up(file, one.start, one.end) == one.crc]
            if bad_lines:
                extents = sorted([*extents, *_unnoted_extents(file, noted)], key=_start_of)
            gapless = _is_gapless(extents, noted)
            names = None if gapless else set(_names_of(file, extents))
        paths = folder / TESTS_NAME
        whole = {
            name: entry
            for name, entry in written.items()
            if _is_whole(paths / f"{name}.yaml", entry, names)
        }
        damaged = len(written) - len(whole)
        if bad_lines:
            dropped = {entry.name for entry in entries if entry.kind == "drop"}
            known = written.keys() | dropped
            others = sorted(path for path in paths.glob("*.yaml") if path.stem not in known)
            whole |= _judge_cases(others, mocks, extents)
        return cls(folder, mocks, entries, extents, whole, damaged, gapless)

    @property
    def cut_off_ns(self) -> int:
        """When it was last known to go on."""
        if not self.entries:
            return (self.folder / TESTS_NAME).stat().st_mtime_ns
        return self.entries[-1].time_ns

    def make_manifest(self) -> Manifest:
        """By the last facts there are; of what came after them only cases and mocks are counted.

        Raises ``ValueError``.
        """
        facts = next((entry.facts for entry in reversed(self.entries) if entry.facts), {})
        if facts:
            manifest = manifest_of_tree(facts)
        else:  # that line is damaged
            manifest = Manifest("", self.cut_off_ns, "", "", [], "", [])
        cut_off: dict[str, object] = {"time_ns": self.cut_off_ns}
        if self.damaged:
            cut_off["damaged_cases"] = self.damaged
        return replace(manifest, extra=manifest.extra | {CUT_OFF: cut_off})


def _find_mocks(folder: Path, entries: list[Entry]) -> tuple[Path, list[Extent]]:
    """The file that the newest entries are about, and what it must hold by them."""
    path = folder / MOCKS_NAME
    rewrites = [at for at, entry in enumerate(entries) if entry.kind == "rewrite"]
    if rewrites:
        entries = entries[rewrites[-1] :]
        begun = entries[0].mocks
        for one in (path, folder / f".{MOCKS_NAME}"):  # it may not have got its name yet
            if one.exists():
                with one.open("rb") as file:
                    if sum_up(file, begun.start, begun.end) == begun.crc:
                        path = one
                        break
    return path, [entry.mocks for entry in entries if entry.mocks.end > entry.mocks.start]


def _unnoted_extents(file: BinaryIO, noted: list[Extent]) -> Iterator[Extent]:
    """Whole mocks where no line that can be read says what there must be."""
    size = file.seek(0, io.SEEK_END)
    noted = sorted(noted, key=_start_of)
    ends = [0, *(extent.end for extent in noted)]
    starts = [*(extent.start for extent in noted), size]
    for begin, until in zip(ends, starts, strict=True):
        end = _walk(file, begin, until)
        if end > begin:
            yield Extent(begin, end, 0)


def _walk(file: BinaryIO, offset: int, until: int) -> int:
    """Where the last whole mock ends."""
    while offset < until:
        file.seek(offset)
        try:
            if read_mock(file) is None or file.tell() > until:
                break
        except MockFileError:
            break
        offset = file.tell()
    return offset


def _judge_cases(paths: list[Path], mocks: Path, extents: list[Extent]) -> dict[str, Entry]:
    """Cases of which nothing is noted: one that reads back as it stands was written to its end."""
    with mocks.open("rb") as file:
        names = set(_names_of(file, extents)) if paths else set()
    found = {}
    for path in paths:
        data = path.read_bytes()
        try:
            case = read_case(data)
            is_whole = write_case(case).encode() == data and names.issuperset(case.calls)
        except ValueError:
            continue
        if is_whole:
            found[path.stem] = Entry("case", 0, Extent(0, 0, 0), path.stem, len(data), crc32(data))
    return found


def _start_of(extent: Extent) -> int:
    return extent.start


def _is_gapless(extents: list[Extent], noted: list[Extent]) -> bool:
    """Whether all mocks that were ever noted are as they were written."""
    end = 0
    for extent in extents:
        if extent.start != end:
            return False
        end = extent.end
    return all(extent.end <= end for extent in noted)


def _names_of(file: BinaryIO, extents: list[Extent]) -> Iterator[str]:
    """The names of the mocks in there."""
    for extent in extents:
        file.seek(extent.start)
        data = file.read(extent.end - extent.start)
        yield from iter_names(io.BytesIO(data))


def _is_whole(path: Path, entry: Entry, names: set[str] | None) -> bool:
    """Whether a case is as it was written and, of ``names``, all its mocks are there.

    What was added at its end afterwards, and not noted, does not count.
    """
    try:
        with path.open("rb") as file:
            data = file.read(entry.size)
    except OSError:
        return False
    if len(data) != entry.size or crc32(data) != entry.crc:
        return False
    return names is None or names.issuperset(read_case(data).calls)
