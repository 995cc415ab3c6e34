"""Mocks come back as they were, and any damage is an error of the one known kind."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebpf.recording.mockfile import (
    MockFileError,
    MockReader,
    iter_offsets,
    pack_mock,
    read_mock,
)
from kebpf.recording.model import Tls
from tests.recording.builders import make_mock

documents = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False)
        | st.text(st.characters(exclude_categories=["Cs"]))
        | st.binary(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner),
        max_leaves=10,
    ),
    max_size=4,
)


@given(st.lists(st.tuples(documents, st.none() | documents), max_size=4))
def test_mocks_read_back_exactly(pairs: list[tuple[dict[str, object], dict[str, object]]]) -> None:
    mocks = [make_mock(f"m{n}", request=one, response=two) for n, (one, two) in enumerate(pairs)]
    file = io.BytesIO(b"".join(map(pack_mock, mocks)))
    offsets = list(iter_offsets(file))
    file.seek(0)
    found = [read_mock(file) for _ in mocks]
    assert repr(found) == repr(mocks)
    assert read_mock(file) is None
    for offset, mock in zip(offsets, mocks, strict=True):
        file.seek(offset)
        assert repr(read_mock(file)) == repr(mock)


@given(st.binary(max_size=40), st.integers(0, 400), st.integers(0, 255))
def test_damage_is_a_mock_file_error_or_another_mock(tail: bytes, at: int, byte: int) -> None:
    data = bytearray(pack_mock(make_mock()) + tail)
    data[at % len(data)] = byte
    for read in (lambda file: list(iter_offsets(file)), read_mock):
        try:
            read(io.BytesIO(data))
        except MockFileError as error:
            assert 0 <= error.offset <= len(data)


@pytest.mark.parametrize("size", [0, 1700, 1900, 2047, 2048, 2049, 100_000])
def test_a_reader_finds_mocks_of_every_size_by_offset(tmp_path: Path, size: int) -> None:
    mocks = [make_mock(f"m{n}", request={"n": n, "data": b"x" * size}) for n in range(3)]
    path = tmp_path / "mocks"
    path.write_bytes(b"".join(map(pack_mock, mocks)))
    with path.open("rb") as file:
        offsets = list(iter_offsets(file))
    reader = MockReader(path)
    assert [reader.read_at(offset) for offset in reversed(offsets)] == mocks[::-1]
    assert reader.read_at(path.stat().st_size) is None


@pytest.mark.parametrize("size", [10, 5000])
def test_a_reader_tells_damage_with_its_place(tmp_path: Path, size: int) -> None:
    data = pack_mock(make_mock(request={"data": b"x" * size}))
    path = tmp_path / "mocks"
    path.write_bytes(data[:-1])
    with pytest.raises(MockFileError, match="cut off"):
        MockReader(path).read_at(0)
    with pytest.raises(MockFileError, match="no mock starts here") as caught:
        MockReader(path).read_at(3)
    assert caught.value.offset == 3


def test_a_reader_keeps_to_the_file_it_opened(tmp_path: Path) -> None:
    old, new = make_mock("old"), make_mock("new")
    path = tmp_path / "mocks"
    path.write_bytes(pack_mock(old))
    reader = MockReader(path)
    (tmp_path / "other").write_bytes(pack_mock(new))
    (tmp_path / "other").rename(path)
    assert reader.read_at(0) == old
    assert MockReader(path).read_at(0) == new


def test_who_sent_it_is_kept() -> None:
    mocks = [make_mock(is_by_reader=True, tasks=[1 << 61, 7]), make_mock(is_by_reader=False)]
    found = [read_mock(io.BytesIO(pack_mock(mock))) for mock in mocks]
    assert [mock.is_by_reader for mock in found if mock is not None] == [True, False]
    assert [mock.tasks for mock in found if mock is not None] == [[1 << 61, 7], []]


@pytest.mark.parametrize(
    "tls", [None, Tls(), Tls(sni="db.example"), Tls("db.example", "postgresql", "TLSv1.3")]
)
def test_how_it_was_encrypted_is_kept(tls: Tls | None) -> None:
    data = pack_mock(make_mock(tls=tls))
    mock = read_mock(io.BytesIO(data))
    assert mock is not None
    assert mock.tls == tls
    assert (b"\xa3tls" in data) == (tls is not None)


def test_what_has_no_place_is_refused() -> None:
    with pytest.raises(ValueError, match="set has no place"):
        pack_mock(make_mock(request={"set": {1}}))
