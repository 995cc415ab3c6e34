"""Whatever cuts a recording off: what was complete becomes a set, and nothing else."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kebpf.recording.errors import TestSetError
from kebpf.recording.facts import CUT_OFF
from kebpf.recording.journal import JOURNAL_NAME
from kebpf.recording.keeping import RESERVE_NAME
from kebpf.recording.model import Tier
from kebpf.recording.recovery import Recovered, recover_all
from kebpf.recording.settling import settle_mock
from kebpf.recording.store import TestSet
from kebpf.recording.writer import MANIFEST_NAME, MOCKS_NAME, TESTS_NAME, TestSetWriter
from tests.recording.builders import make_manifest
from tests.recording.cutting import (
    Moment,
    add_one,
    case_name,
    case_of,
    mocks_of,
    write_unfinished,
)

#: How often a process is really killed; ``make kills`` asks for more.
KILLS = int(os.environ.get("KEBPF_KILLS", "6"))
EXAMPLES = 15 if KILLS < 50 else 2000
CASES = 6


def check_set(folder: Path, numbers: list[int], bound: int = CASES) -> None:
    """It holds just these cases, as they were written, with all their calls and no other's."""
    test_set = TestSet.open(folder)
    assert test_set.cases() == [case_of(number) for number in numbers]
    test_set.check_calls()
    assert CUT_OFF in test_set.manifest.extra
    assert test_set.manifest.name == folder.name
    names = {case_name(number) for number in numbers}
    mocks = {mock.name: mock for _, mock in test_set.iter_mocks()}
    for number in range(bound):
        first, second, both, _ = mocks_of(number)
        known = [name for name in both.candidates if name in names]
        for own in (first, second):
            assert mocks.get(own.name) == (own if number in numbers else None)
        if known and both.name in mocks:
            tier = Tier.CASE if known == both.candidates else Tier.BACKGROUND
            assert (mocks[both.name].candidates, mocks[both.name].tier) == (known, tier)
        else:
            assert both.name not in mocks


def recover_one(parent: Path) -> Recovered:
    """The one thing there is to recover; there is nothing else then."""
    found = recover_all(parent)
    assert found.problems == []
    (recovered,) = found.recovered
    assert [path.name for path in parent.iterdir()] == [recovered.folder.name]
    assert recover_all(parent).recovered == []
    return recovered


@contextmanager
def copy_of(folder: Path) -> Iterator[Path]:
    """The same recording, to be damaged."""
    with TemporaryDirectory() as parent:
        yield Path(shutil.copytree(folder, Path(parent, folder.name)))


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Moment]]:
    return write_unfinished(tmp_path_factory.mktemp("unfinished"), CASES)


def test_all_that_was_added_is_in_the_set(unfinished: tuple[Path, list[Moment]]) -> None:
    with copy_of(unfinished[0]) as folder:
        begun_ns = time.time_ns()
        recovered = recover_one(folder.parent)
        assert (recovered.folder.name, recovered.cases, recovered.damaged) == ("set", CASES, 0)
        assert begun_ns - 600 * 10**9 < recovered.cut_off_ns <= begun_ns
        check_set(recovered.folder, list(range(CASES)))
        assert recovered.mocks == 4 * CASES
        manifest = TestSet.open(recovered.folder).manifest
        assert (manifest.kernel, manifest.ports) == ("6.1", [8000])
        assert manifest.extra[CUT_OFF] == {"time_ns": recovered.cut_off_ns}
        names = {path.name for path in recovered.folder.iterdir()}
        assert names == {MANIFEST_NAME, MOCKS_NAME, TESTS_NAME}


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.data())
def test_any_part_may_be_missing_at_its_end(
    unfinished: tuple[Path, list[Moment]], data: st.DataObject
) -> None:
    """A power cut keeps the files up to anywhere; a kill is a case of that."""
    source, moments = unfinished
    sizes = [(source / name).stat().st_size for name in (JOURNAL_NAME, MOCKS_NAME)]
    journal = data.draw(st.integers(0, sizes[0]), "journal")
    mocks = data.draw(st.integers(0, sizes[1]), "mocks")
    torn = data.draw(st.sets(st.integers(0, CASES - 1), max_size=2), "torn cases")
    with copy_of(source) as folder:
        os.truncate(folder / JOURNAL_NAME, journal)
        os.truncate(folder / MOCKS_NAME, mocks)
        for number in torn:
            path = folder / TESTS_NAME / f"{case_name(number)}.yaml"
            os.truncate(path, data.draw(st.integers(0, path.stat().st_size - 1)))
        complete = [
            number
            for number, moment in enumerate(moments)
            if moment.journal <= journal and moment.mocks <= mocks and number not in torn
        ]
        if complete:
            check_set(recover_one(folder.parent).folder, complete)
        else:
            assert recover_all(folder.parent).recovered == []
            assert list(folder.parent.iterdir()) == []


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.data())
def test_nothing_damaged_is_taken_for_whole(
    unfinished: tuple[Path, list[Moment]], data: st.DataObject
) -> None:
    """Any bytes of any file are others; a damaged journal costs no case that is whole."""
    source, _ = unfinished
    files = [JOURNAL_NAME, MOCKS_NAME, f"{TESTS_NAME}/{case_name(3)}.yaml"]
    name = data.draw(st.sampled_from(files))
    with copy_of(source) as folder:
        content = bytearray((folder / name).read_bytes())
        at = data.draw(st.integers(0, len(content) - 1))
        piece = data.draw(st.binary(min_size=1, max_size=40))
        content[at : at + len(piece)] = piece
        (folder / name).write_bytes(content)
        found = recover_all(folder.parent)
        assert found.problems == []
        (recovered,) = found.recovered
        kept = TestSet.open(recovered.folder).cases()
        assert kept == [case_of(case.order - 1) for case in kept]
        if name == MOCKS_NAME:
            originals = {one.name: one for number in range(CASES) for one in mocks_of(number)}
            for _, mock in TestSet.open(recovered.folder).iter_mocks():
                before = originals[mock.name]
                assert (mock.request, mock.response) == (before.request, before.response)
            assert len(kept) >= CASES - 1 - len(piece) // 8
        else:
            assert len(kept) == CASES or (name != JOURNAL_NAME and len(kept) == CASES - 1)


def test_a_journal_that_is_all_garbage_costs_no_case(
    unfinished: tuple[Path, list[Moment]],
) -> None:
    with copy_of(unfinished[0]) as folder:
        size = (folder / JOURNAL_NAME).stat().st_size
        (folder / JOURNAL_NAME).write_bytes(random.Random(1).randbytes(size) + b"\n")
        assert recover_one(folder.parent).cases == CASES


def test_what_is_being_written_is_left_alone(tmp_path: Path) -> None:
    writer = TestSetWriter(tmp_path / "set", durable=True)
    writer.mark(make_manifest())
    add_one(writer, 0)
    assert recover_all(tmp_path).recovered == []
    add_one(writer, 1)
    writer.commit(make_manifest())
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    names = {path.name for path in (tmp_path / "set").iterdir()}
    assert names == {MANIFEST_NAME, MOCKS_NAME, TESTS_NAME}
    manifest = TestSet.open(tmp_path / "set").manifest
    assert (manifest.test_cases, manifest.mocks, manifest.extra) == (2, 8, {})


def test_a_case_that_was_taken_back_is_gone_with_its_mocks(tmp_path: Path) -> None:
    writer = TestSetWriter(tmp_path / "set", durable=True)
    writer.mark(make_manifest())
    for number in range(4):
        add_one(writer, number)
    writer.drop_case(case_name(1))
    writer.leave()
    check_set(recover_one(tmp_path).folder, [0, 2, 3])


@pytest.mark.parametrize("died_at", ["", "rename", "fsync"])
def test_mocks_that_were_written_anew_and_cases_that_were_extended(
    tmp_path: Path, died_at: str
) -> None:
    """Also if that is cut off: before the new file is noted, and before it has its name."""

    def write() -> None:
        writer = TestSetWriter(tmp_path / "set", durable=True)
        writer.mark(make_manifest())
        for number in range(4):
            add_one(writer, number)
        writer.drop_case(case_name(1))
        names = {case_name(number) for number in (0, 2, 3)}
        writer.rewrite_mocks(lambda mock: settle_mock(mock, names))
        add_one(writer, 4)
        writer.extend_case(case_name(0), "kept_open: true\n")
        with (next(tmp_path.iterdir()) / TESTS_NAME / f"{case_name(2)}.yaml").open("a") as file:
            file.write("kept_open: tr")  # all that got there of what was never noted

    if died_at:
        assert _dies_at(write, died_at, 0)
        check_set(recover_one(tmp_path).folder, [0, 2, 3], 4)
    else:
        assert not _dies_at(write, "link", 0)
        recovered = recover_one(tmp_path)
        cases = TestSet.open(recovered.folder).cases()
        assert cases == [replace(case_of(0), is_kept_open=True), *map(case_of, (2, 3, 4))]
        TestSet.open(recovered.folder).check_calls()
        assert recovered.mocks == 5 * 4 - 2


def test_a_name_that_is_taken_meanwhile(tmp_path: Path) -> None:
    write_unfinished(tmp_path, 2)
    (tmp_path / "set").mkdir()
    (recovered,) = recover_all(tmp_path).recovered
    assert recovered.folder == tmp_path / "set-2"
    assert TestSet.open(recovered.folder).manifest.name == "set-2"


def test_where_nothing_was_complete_nothing_is_left(tmp_path: Path) -> None:
    writer = TestSetWriter(tmp_path / "set", durable=True)
    writer.mark(make_manifest())
    writer.add_mock(mocks_of(0)[0])
    writer.leave()
    assert len(list(tmp_path.iterdir())) == 1
    assert recover_all(tmp_path).recovered == []
    TestSetWriter(tmp_path / "set", durable=True).leave()
    assert list(tmp_path.iterdir()) == []


def test_a_clock_that_is_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter(range(10**18, 0, -(3600 * 10**9)))
    monkeypatch.setattr("kebpf.recording.keeping.time.time_ns", lambda: next(times))
    write_unfinished(tmp_path, 5)
    check_set(recover_one(tmp_path).folder, [0, 1, 2, 3, 4], 5)


@pytest.mark.parametrize("name", ["rename", "unlink", "link", "fsync", "rmdir", "open"])
def test_a_recovery_that_is_cut_off_itself_is_done_again(
    unfinished: tuple[Path, list[Moment]], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every single call of the system that changes something, one after the other."""
    for after in range(200):
        with copy_of(unfinished[0]) as folder:
            # dangling mocks: those of the last case, which is torn
            os.truncate(folder / TESTS_NAME / f"{case_name(CASES - 1)}.yaml", 10)
            is_over = not _dies_at(lambda: recover_all(folder.parent), name, after)
            found = recover_all(folder.parent)
            assert found.problems == []
            assert [path.name for path in folder.parent.iterdir()] == ["set"]
            check_set(folder.parent / "set", list(range(CASES - 1)))
        if is_over:
            return
    raise AssertionError("it never got to the end")


def _dies_at(work: Callable[[], object], name: str, after: int) -> bool:
    """Whether a child that did the work was killed at a call of ``os``, after so many of them."""
    pid = os.fork()
    if pid == 0:
        real, left = getattr(os, name), after

        def call(*args: object, **options: object) -> object:
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **options)

        setattr(os, name, call)
        try:
            work()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("seed", range(KILLS))
def test_a_writer_that_is_killed(tmp_path: Path, seed: int) -> None:
    """All that it says was added is in the set, and at most the one after that."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _write_for_ever(tmp_path / "set", writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as said:
        least = random.Random(seed).randrange(1, 150)
        numbers = [int(said.readline()) for _ in range(least)]
        time.sleep(random.Random(seed).random() * 0.002)  # at any point of its work
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        numbers += [int(line) for line in said]
    recovered = recover_one(tmp_path)
    assert recovered.cases - len(numbers) in (0, 1)
    check_set(recovered.folder, list(range(recovered.cases)), recovered.cases + 2)


def _write_for_ever(folder: Path, said: int) -> None:
    try:
        writer = TestSetWriter(folder, durable=True)
        writer.mark(make_manifest())
        for number in range(100_000):
            add_one(writer, number)
            os.write(said, b"%d\n" % number)
            if number % 10 == 9:
                writer.mark(make_manifest())
    finally:
        os._exit(1)


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """A file system of its own."""
    folder.mkdir()
    options = f"size={size}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.kernel
@pytest.mark.parametrize("size", [200 << 10, 204 << 10, 208 << 10, 300 << 10])
def test_a_disk_that_is_full(tmp_path: Path, size: int) -> None:
    """Wherever it ends: the recording stops with a sentence, what is complete becomes a set."""
    with small_disk(tmp_path / "disk", size) as disk:
        writer = TestSetWriter(disk / "set", durable=True)
        writer.mark(make_manifest())
        number = 0
        with pytest.raises(TestSetError, match="the disk is full; free some space"):
            for number in range(1000):
                add_one(writer, number)
        assert number > 3
        (recovered,) = recover_all(disk).recovered
        test_set = TestSet.open(recovered.folder)
        assert test_set.cases() == [case_of(one) for one in range(number)]
        test_set.check_calls()
        assert [path.name for path in disk.iterdir()] == ["set"]


@pytest.mark.kernel
def test_a_disk_that_cannot_be_written(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        write_unfinished(disk, 3)
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        with pytest.raises(TestSetError, match="Read-only file system; choose a folder"):
            TestSetWriter(disk / "other", durable=True)
        found = recover_all(disk)
        assert found.recovered == []
        assert [text.rpartition(": ")[2] for text in found.problems] == [
            "Read-only file system; choose a folder you may write to or run as its owner"
        ]
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        check_set(recover_one(disk).folder, [0, 1, 2], 3)


def test_the_room_that_is_kept_free(tmp_path: Path) -> None:
    folder, _ = write_unfinished(tmp_path, 1)
    assert (folder / RESERVE_NAME).stat().st_blocks * 512 >= 64 << 10
