"""A folder of sets below a quota: what goes, what never does, and when what is written must end."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebpf.recording.keeping import REMOVED_MARK
from kebpf.recording.quota import HeldSet, QuotaKeeper, choose_headroom, decide, measure
from kebpf.recording.store import TestSet
from kebpf.recording.writer import TestSetWriter
from tests.recording.builders import make_manifest
from tests.recording.cutting import add_one


def held(age: int, size: int) -> HeldSet:
    return HeldSet(Path(str(age)), (0, age), size)


SETS = st.lists(st.integers(1, 100), max_size=8).map(
    lambda sizes: [held(age, size) for age, size in enumerate(sizes)]
)


@given(SETS, st.integers(0, 300), st.integers(0, 400))
def test_no_more_is_dropped_than_must_be_and_the_oldest_first(
    sets: list[HeldSet], other_size: int, allowed: int
) -> None:
    decision = decide(reversed(sets), other_size, allowed)
    count = len(decision.dropped)
    assert decision.dropped == sets[:count]
    left = other_size + sum(one.size for one in sets[count:])
    assert decision.must_end == (left > allowed)
    if left > allowed:
        assert count == len(sets), "only when there is nothing left to drop"
    if count:
        assert left + sets[count - 1].size > allowed, "one less would not have done"


def make_set(folder: Path, name: str, created_ns: int, cases: int = 20) -> Path:
    writer = TestSetWriter(folder / name)
    for number in range(cases):
        add_one(writer, number)
    manifest = make_manifest(name)
    manifest.created_ns = created_ns
    writer.commit(manifest)
    return folder / name


def test_a_size_is_what_du_says(tmp_path: Path) -> None:
    make_set(tmp_path, "set", 1)
    (tmp_path / "set" / "link").symlink_to("/usr")
    said = subprocess.run(["du", "-sk", tmp_path / "set"], capture_output=True, text=True)
    assert measure(tmp_path / "set") == int(said.stdout.split()[0]) * 1024
    assert measure(tmp_path / "none") == 0


def test_the_oldest_sets_of_all_folders_go(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "bank").mkdir()
    make_set(tmp_path / "shop", "b", 2_000)
    make_set(tmp_path / "bank", "a", 1_000)
    size = measure(make_set(tmp_path / "shop", "c", 3_000))
    folders = [tmp_path / "shop", tmp_path / "bank", tmp_path / "not-yet"]
    keeper = QuotaKeeper(int(2.5 * size), headroom=0)
    usage = keeper.look(folders)
    assert [path.name for path in usage.dropped] == ["a"]
    assert (usage.used, usage.must_end, usage.problems) == (2 * size, False, [])
    assert usage.used == sum(measure(path) for path in (tmp_path / "shop").iterdir())
    assert keeper.look(folders).dropped == []
    assert [TestSet.open(tmp_path / "shop" / name).name for name in "bc"] == ["b", "c"]
    assert list((tmp_path / "bank").iterdir()) == []


def test_a_clock_that_was_set_back_makes_no_new_set_an_old_one(tmp_path: Path) -> None:
    make_set(tmp_path, "older", 5_000)
    size = measure(tmp_path / "older")
    keeper = QuotaKeeper(2 * size, headroom=0)
    assert keeper.look([tmp_path]).dropped == []
    make_set(tmp_path, "newer", 1_000)
    assert keeper.look([tmp_path]).dropped == []
    make_set(tmp_path, "newest", 1)
    assert [path.name for path in keeper.look([tmp_path]).dropped] == ["older"]


def test_what_is_being_written_stays_and_is_told_to_end(tmp_path: Path) -> None:
    writer = TestSetWriter(tmp_path / "set-2", durable=True)
    add_one(writer, 0)
    make_set(tmp_path, "set-1", 1)
    (growing,) = (path for path in tmp_path.iterdir() if path.name != "set-1")
    usage = QuotaKeeper(measure(growing), headroom=0).look([tmp_path])
    assert [path.name for path in usage.dropped] == ["set-1"]
    assert (usage.used, usage.must_end) == (measure(growing), False)
    usage = QuotaKeeper(measure(growing), headroom=measure(growing) // 10).look([tmp_path])
    assert (usage.dropped, usage.must_end) == ([], True)
    writer.commit(make_manifest())
    usage = QuotaKeeper(1, headroom=0).look([tmp_path])
    assert [path.name for path in usage.dropped] == ["set-2"]


def test_what_only_looks_like_a_set_is_not_read(tmp_path: Path) -> None:
    """By root, in a folder of another: nothing is followed, and nothing waited for."""
    make_set(tmp_path, "set", 1)
    for name in ("link", "pipe", "folder", "none"):
        (tmp_path / name).mkdir()
    (tmp_path / "link" / "test-set.yaml").symlink_to(tmp_path / "set" / "test-set.yaml")
    os.mkfifo(tmp_path / "pipe" / "test-set.yaml")
    (tmp_path / "folder" / "test-set.yaml").mkdir()
    usage = QuotaKeeper(1, headroom=0).look([tmp_path])
    assert [path.name for path in usage.dropped] == ["set"]
    assert usage.must_end


def test_what_is_half_removed_goes(tmp_path: Path) -> None:
    """Nobody takes it for a set meanwhile."""
    path = make_set(tmp_path, "set", 1)
    path.rename(tmp_path / f".set{REMOVED_MARK}00")
    (tmp_path / "notes.txt").write_text("a person's own")
    usage = QuotaKeeper(1 << 30, headroom=0).look([tmp_path])
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    assert usage.used == measure(tmp_path / "notes.txt")


@pytest.mark.kernel
def test_a_set_that_cannot_be_removed_is_said(tmp_path: Path) -> None:
    path = make_set(tmp_path, "set", 1)
    subprocess.run(["mount", "--bind", path, path], check=True)
    try:
        usage = QuotaKeeper(1, headroom=0).look([tmp_path])
        assert usage.problems == [f"{path} cannot be removed: Device or resource busy"]
        assert usage.dropped == [] and usage.used > 1
    finally:
        subprocess.run(["umount", path], check=True)


def test_there_is_room_for_what_is_written_between_two_looks() -> None:
    assert choose_headroom(16 << 20) == choose_headroom(40 << 20) == 4 << 20
    assert choose_headroom(5000 << 20) == 500 << 20
    assert choose_headroom(1 << 20) == 256 << 10
