"""A test set is whole or not there; each kind of damage is told in a sentence."""

from __future__ import annotations

import os
import stat
import subprocess
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import msgpack
import pytest
import yaml

from kebpf.recording.store import TestSet, TestSetError, TestSetWriter
from tests.recording.builders import make_case, make_manifest, make_mock, make_response

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def write_set(folder: Path, cases: int = 2, mocks: int = 3) -> Path:
    writer = TestSetWriter(folder, None)
    for number in range(1, mocks + 1):
        writer.add_mock(make_mock(f"mock-{number:06}"))
    for number in range(cases, 0, -1):
        writer.add_case(make_case(f"get-root-{number}", order=number))
    writer.commit(make_manifest())
    return folder


def test_a_set_comes_back_as_written(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b" / "set"
    writer = TestSetWriter(folder, None)
    mocks = [make_mock(f"mock-{n}", request={"n": n, "big": 1 << 80, "b": b"\xff"}) for n in "123"]
    cases = [make_case("one", order=1), make_case("two", order=2, response=make_response(b"\xff"))]
    for mock in mocks:
        writer.add_mock(mock)
    for case in reversed(cases):
        writer.add_case(case)
    writer.commit(make_manifest())
    test_set = TestSet.open(folder)
    assert test_set.cases() == cases
    found = list(test_set.iter_mocks())
    assert [mock for _, mock in found] == mocks
    assert [test_set.mock_at(offset) for offset, _ in reversed(found)] == mocks[::-1]
    assert (test_set.manifest.test_cases, test_set.manifest.mocks) == (2, 3)
    assert test_set.manifest.command == ["python", "app.py"]


def test_a_mock_is_read_from_the_file_that_was_last_gone_through(tmp_path: Path) -> None:
    old = write_set(tmp_path / "old", mocks=1)
    test_set = TestSet.open(old)
    ((offset, before),) = test_set.iter_mocks()
    writer = TestSetWriter(tmp_path / "new", None)
    writer.add_mock(make_mock("another"))
    writer.commit(make_manifest())
    assert test_set.mock_at(offset) == before
    (tmp_path / "new" / "mocks.msgpack").rename(old / "mocks.msgpack")
    assert test_set.mock_at(offset) == before
    ((offset, after),) = test_set.iter_mocks()
    assert (test_set.mock_at(offset), after.name) == (after, "another")


def test_the_files_are_plain_yaml_and_messagepack(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set")
    head = yaml.safe_load((folder / "test-set.yaml").read_text())
    assert (head["version"], head["test_cases"], head["mocks"]) == (1, 2, 3)
    with (folder / "mocks.msgpack").open("rb") as file:
        objects = list(msgpack.Unpacker(file))
    assert [entry["name"] for entry in objects[1::2]] == [f"mock-00000{n}" for n in (1, 2, 3)]
    assert sorted(path.name for path in folder.iterdir()) == [
        "mocks.msgpack",
        "test-set.yaml",
        "tests",
    ]


@needs_root
def test_modes_and_owner_are_the_invoking_users(tmp_path: Path) -> None:
    folder = tmp_path / "kebpf" / "set"
    writer = TestSetWriter(folder, (1234, 2345))
    writer.add_case(make_case())
    writer.add_mock(make_mock())
    writer.commit(make_manifest())
    for path in (folder.parent, folder, *folder.rglob("*")):
        status = path.stat()
        assert (status.st_uid, status.st_gid) == (1234, 2345)
        assert stat.S_IMODE(status.st_mode) == (0o700 if path.is_dir() else 0o600)


def test_nothing_is_there_before_commit_and_nothing_stays_after_abort(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    writer = TestSetWriter(folder, None)
    writer.add_case(make_case())
    assert not folder.exists()
    writer.abort()
    writer.abort()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(TestSetError, match="closed before"):
        writer.commit(make_manifest())


def test_abort_after_commit_keeps_the_set(tmp_path: Path) -> None:
    writer = TestSetWriter(tmp_path / "set", None)
    writer.commit(make_manifest())
    writer.abort()
    assert TestSet.open(tmp_path / "set").cases() == []


def test_an_existing_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    with pytest.raises(TestSetError, match="already exists; choose another name"):
        TestSetWriter(tmp_path / "set", None)


def test_a_folder_made_meanwhile_is_left_alone(tmp_path: Path) -> None:
    writer = TestSetWriter(tmp_path / "set", None)
    (tmp_path / "set").mkdir()
    with pytest.raises(TestSetError, match="meanwhile"):
        writer.commit(make_manifest())
    assert list(tmp_path.iterdir()) == [tmp_path / "set"]


def test_a_parent_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TestSetError, match="cannot be written: Not a directory"):
        TestSetWriter(tmp_path / "file" / "set", None)


def test_what_cannot_be_stored_adds_nothing(tmp_path: Path) -> None:
    writer = TestSetWriter(tmp_path / "set", None)
    deep: list[object] = []
    for _ in range(2000):
        deep = [deep]
    with pytest.raises(ValueError, match=r".+"):
        writer.add_mock(make_mock(request={"deep": deep}))
    with pytest.raises(ValueError, match=r".+"):
        writer.add_case(make_case(request={"deep": deep}))
    with pytest.raises(ValueError, match=r".+"):
        writer.add_mock(make_mock(request={"set": {1, 2}}))
    writer.commit(make_manifest())
    assert TestSet.open(tmp_path / "set").manifest.mocks == 0


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("needs root and the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("what", ["mock", "case", "commit"])
def test_a_full_disk_is_told_and_leaves_nothing(tiny_disk: Path, what: str) -> None:
    writer = TestSetWriter(tiny_disk / "set", None)
    body = os.urandom(400_000)
    with pytest.raises(TestSetError, match="the disk is full; free some space"):
        if what == "mock":
            writer.add_mock(make_mock(response={"body": body}))
        elif what == "case":
            writer.add_case(make_case(response=make_response(body)))
        else:
            _fill(tiny_disk / "other")
            writer.add_mock(make_mock())
            writer.commit(make_manifest())
    assert [path.name for path in tiny_disk.iterdir() if path.name != "other"] == []


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            return


def _remove(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def _replace(name: str, old: str, new: str) -> Callable[[Path], object]:
    def apply(folder: Path) -> None:
        path = folder / name
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    return apply


def _write(name: str, data: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(data)


def _cut(name: str, size: int) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-size])


CASE = "tests/get-root-1.yaml"
DAMAGE: list[tuple[Callable[[Path], object], str]] = [
    (_remove("test-set.yaml"), r"holds no test-set.yaml.*record one with"),
    (_remove("mocks.msgpack"), r"mocks.msgpack is missing: .* record again"),
    (_remove(CASE), r"counts 2 test cases and there are 1; .*correct 'test_cases'"),
    (_write("test-set.yaml", b"a: [\n"), r"test-set.yaml, line 2: not valid YAML"),
    (_write("test-set.yaml", b"a: 1\n"), r"test-set.yaml: 'name' is missing"),
    (_write("test-set.yaml", b""), r"does not hold a manifest"),
    (_write("test-set.yaml", b"\xff\xfe\x00"), r"not valid YAML"),
    (_replace("test-set.yaml", "version: 1", "version: 7"), r"newer kebpf \(format 7.*update"),
    (_replace("test-set.yaml", "mocks: 3", "mocks: many"), r"test-set.yaml: .*many"),
    (_replace("test-set.yaml", "mocks: 3", "mocks: 4"), r"counts 4 mocks and there are 3"),
    (_cut("mocks.msgpack", 1), r"mocks.msgpack, byte \d+: the last mock is cut off"),
    (_write("mocks.msgpack", b"\xce\x00"), r"byte 0: no mock starts here"),
    (_write("mocks.msgpack", b"hello world"), r"byte 0: no mock starts here"),
    (_write(CASE, b"a: 'b\n\nc: d: e\n"), r"get-root-1.yaml, line \d: not valid YAML"),
    (_write(CASE, b"[]"), r"does not hold a test case"),
    (
        _replace(CASE, "order: 1", "orde: 1"),
        r"get-root-1.yaml, line \d+: orde: no such field .is it 'order'",
    ),
    (
        _replace(CASE, "order: 1", "order: x"),
        r"get-root-1.yaml, line \d+: order: a whole number is expected, not 'x'",
    ),
    (
        _replace(CASE, "request:", "request: 3\nother:"),
        r"line 5: request: a mapping is expected, not 3",
    ),
    (_replace(CASE, "name: get-root-1", "name: get-root-2"), r"has the name 'get-root-2' too"),
    (
        _replace(CASE, "json: {}", "text: 5"),
        r"response/body/text: a text is expected, not 5: put it in quotes",
    ),
    (_replace(CASE, "json: {}", "base64: '***'"), r"base64 of a body is damaged"),
    (_replace(CASE, "json: {}", "yaml: {}"), r"response/body/yaml: no such field .there are: json"),
    (_replace(CASE, "!body", "!other"), r"line \d+: not valid YAML"),
    (_write("mocks.msgpack", (b"\xce\x00\x00\x00\x01\xc1") * 3), r"damaged mock"),
    (_write("mocks.msgpack", (b"\xce\x00\x00\x00\x01\x80") * 3), r"damaged mock"),
]


@pytest.mark.parametrize(("damage", "text"), DAMAGE)
def test_damage_is_told_in_one_sentence(
    tmp_path: Path, damage: Callable[[Path], object], text: str
) -> None:
    folder = write_set(tmp_path / "set")
    damage(folder)
    with pytest.raises(TestSetError, match=text) as caught:
        test_set = TestSet.open(folder)
        test_set.cases()
        list(test_set.iter_mocks())
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def test_a_missing_an_empty_and_a_wrong_folder_are_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for name, text in [("none", "there is no"), ("empty", "is empty"), ("file", "not a folder")]:
        with pytest.raises(TestSetError, match=text):
            TestSet.open(tmp_path / name)


def test_any_byte_cut_from_the_mocks_is_noticed(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set", mocks=1)
    whole = (folder / "mocks.msgpack").read_bytes()
    for size in range(len(whole)):
        (folder / "mocks.msgpack").write_bytes(whole[:size])
        with pytest.raises(TestSetError):
            TestSet.open(folder)


def test_mocks_are_streamed(tmp_path: Path) -> None:
    writer = TestSetWriter(tmp_path / "set", None)
    for number in range(64):
        writer.add_mock(make_mock(f"m{number}", response={"body": bytes(1 << 20)}))
    writer.commit(make_manifest())
    tracemalloc.start()
    count = sum(1 for _ in TestSet.open(tmp_path / "set").iter_mocks())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 64
    assert peak < 8 << 20


@pytest.mark.parametrize("more", [[], ["m2"], ["m2", "m3"]])
def test_a_case_that_names_a_mock_that_is_not_there(more: list[str], tmp_path: Path) -> None:
    writer = TestSetWriter(tmp_path / "set", None)
    for name in ("m" * 200, "m2", "m3"):
        writer.add_mock(make_mock(name))
    writer.add_case(make_case(calls=["m" * 200, *more]))
    writer.commit(make_manifest())
    TestSet.open(tmp_path / "set").check_calls()
    [path] = (tmp_path / "set" / "tests").iterdir()
    path.write_text(path.read_text().replace("m" * 200, "gone"))
    with pytest.raises(TestSetError, match=r"the call 'gone', which mocks\.msgpack does not hold"):
        TestSet.open(tmp_path / "set").check_calls()
