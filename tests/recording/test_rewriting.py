"""A changed set takes the old one's place whole; what was not changed is the same file."""

from __future__ import annotations

import ctypes
import errno
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kebpf.recording import rewriting
from kebpf.recording.errors import TestSetError
from kebpf.recording.revision import Finding, Place, RevisedSet
from kebpf.recording.rewriting import rewrite_set
from kebpf.recording.store import TestSet, TestSetWriter
from tests.recording.builders import make_case, make_manifest, make_mock

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def write_set(folder: Path, mocks: int = 3, size: int = 1) -> TestSet:
    writer = TestSetWriter(folder, None)
    for number in range(1, mocks + 1):
        writer.add_mock(make_mock(f"m{number}", case="one", response={"rows": [["x" * size]]}))
    for order, name in enumerate(("one", "two", "three"), 1):
        writer.add_case(make_case(name, order=order))
    writer.commit(make_manifest())
    return TestSet.open(folder)


def revise(test_set: TestSet) -> RevisedSet:
    """A class in case one and in its second mock; case two set apart."""
    revised = RevisedSet(test_set)
    for place in (Place("one", "/body/n"), Place("m2", "/parameters/1", is_call=True)):
        revised.generalise(Finding(place, "one", None, "{integer:1-2}", 4, 3))
    revised.set_apart("two", "the status was 200 and is 503")
    return revised


def identify(folder: Path) -> dict[str, tuple[int, bytes]]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_ino, path.read_bytes())
        for path in files
    }


def test_the_changes_are_there_and_the_rest_is_untouched(tmp_path: Path) -> None:
    test_set = write_set(tmp_path / "set")
    (tmp_path / "set" / "notes.txt").write_text("a person's own")
    before = identify(tmp_path / "set")
    rewrite_set(test_set, revise(test_set))
    after = identify(tmp_path / "set")
    assert {name for name in before if before[name] == after.get(name)} == {
        "notes.txt",
        "tests/three.yaml",
    }
    again = TestSet.open(tmp_path / "set")
    assert [case.name for case in again.cases()] == ["one", "three"]
    assert again.cases()[0].generated == {"/body/n": "{integer:1-2}"}
    assert [entry["in"] for entry in again.cases()[0].verified] == ["response", "m2"]
    [apart] = again.apart()
    assert (apart.name, apart.set_apart) == ("two", "the status was 200 and is 503")
    mocks = {mock.name: mock.generated for _, mock in again.iter_mocks()}
    assert mocks == {"m1": {}, "m2": {"/parameters/1": "{integer:1-2}"}, "m3": {}}
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    text = (tmp_path / "set" / "set-apart" / "two.yaml").read_text()
    assert text.endswith("\nset_apart: the status was 200 and is 503\n")
    assert (again.manifest.test_cases, list(again.manifest.set_apart)) == (2, ["two"])


def test_a_set_is_whole_only_with_the_cases_set_apart(tmp_path: Path) -> None:
    test_set = write_set(tmp_path / "set")
    rewrite_set(test_set, revise(test_set))
    (tmp_path / "set" / "set-apart" / "two.yaml").unlink()
    with pytest.raises(TestSetError, match="counts 1 set apart and there are 0"):
        TestSet.open(tmp_path / "set")


@needs_root
def test_modes_and_owner_are_those_of_the_set(tmp_path: Path) -> None:
    test_set = write_set(tmp_path / "set")
    for path in (tmp_path / "set", *(tmp_path / "set").rglob("*")):
        os.chown(path, 12345, 12346)
    rewrite_set(test_set, revise(test_set))
    for path in (tmp_path / "set", *(tmp_path / "set").rglob("*")):
        facts = path.stat()
        assert (facts.st_uid, facts.st_gid) == (12345, 12346), path
        assert facts.st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def refuse(number: int) -> Callable[..., int]:
    def renameat2(*_: Any) -> int:
        ctypes.set_errno(number)
        return -1

    return renameat2


def test_a_file_system_without_exchange_gets_two_renames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewriting, "_renameat2", refuse(errno.EINVAL))
    test_set = write_set(tmp_path / "set")
    rewrite_set(test_set, revise(test_set))
    assert [case.name for case in TestSet.open(tmp_path / "set").cases()] == ["one", "three"]
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_what_cannot_be_written_leaves_the_old_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewriting, "_renameat2", refuse(errno.ENOSPC))
    test_set = write_set(tmp_path / "set")
    before = identify(tmp_path / "set")
    with pytest.raises(TestSetError, match="the disk is full"):
        rewrite_set(test_set, revise(test_set))
    assert identify(tmp_path / "set") == before
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_mocks_are_never_held_all_at_once(tmp_path: Path) -> None:
    test_set = write_set(tmp_path / "set", mocks=40, size=1 << 20)
    revised = revise(test_set)
    tracemalloc.start()
    rewrite_set(test_set, revised)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20
    assert (tmp_path / "set" / "mocks.msgpack").stat().st_size > 40 << 20
