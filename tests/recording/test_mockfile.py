"""Mocks come back as they were, and any damage is an error of the one known kind."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebpf.recording.mockfile import MockFileError, iter_offsets, pack_mock, read_mock
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


def test_what_has_no_place_is_refused() -> None:
    with pytest.raises(ValueError, match="set has no place"):
        pack_mock(make_mock(request={"set": {1}}))
