"""The response found by a request's bytes is that of the decoded mock, or nothing is found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebpf.protocols.base import Document
from kebpf.recording.mockfile import MockReader, pack_mock
from kebpf.recording.model import Endpoint, Mock, Tls
from kebpf.recording.peeking import MOST_RESPONSES, MOST_SIZE, ResponseFinder, pack_request
from tests.recording.builders import make_mock

from .test_mockfile import documents

# What stands after a response in a record, where no response ends.
DECOYS = [b"\xa6timing\x92", "timing", "\xa6timing\x92", b"\xa7request\x80\xa8response\x80"]
decoys = st.dictionaries(st.sampled_from("ab"), st.sampled_from(DECOYS))


def find(mock: Mock, request: Document, finder: ResponseFinder | None = None) -> Document | None:
    record, packed = pack_mock(mock), pack_request(request)
    assert packed is not None
    return (finder or ResponseFinder()).find(record + b"\xce next", len(record), packed)


@given(documents | decoys, st.none() | documents | decoys, documents | decoys)
def test_only_the_very_request_finds_the_response(
    request: Document, response: Document | None, other: Document
) -> None:
    mock = make_mock(request=request, response=response)
    finder = ResponseFinder()
    for _ in range(2):  # decoded, and kept
        assert repr(find(mock, request, finder)) in {repr(response), "None"}
        found = find(mock, other, finder)
        assert found is None or repr(other) == repr(request)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"name": "x" * 200},
        {"destination": Endpoint("unix", "/" + 90 * "deep/" + "socket")},
        {"protocol": "dns", "destination": Endpoint("udp", "::1", 53)},
        {"tls": Tls("db.example"), "is_by_reader": True},
        {"tls": Tls("db.example"), "is_by_reader": True, "tasks": [1, 2]},  # 16 fields
    ],
)
def test_usual_records_are_found(changes: dict[str, Any]) -> None:
    mock = make_mock(request={"sql": "SELECT 1"}, response={"rows": [["1"]]}, **changes)
    found = find(mock, {"sql": "SELECT 1"})
    assert found == (None if len(str(mock.destination)) > 255 else {"rows": [["1"]]})


@pytest.mark.parametrize(
    ("recorded", "asked"),
    [(1, True), (1, 1.0), (0, False), ("a", b"a"), ([], {}), (None, ""), ("1", 1), (0.0, -0.0)],
)
def test_types_count(recorded: object, asked: object) -> None:
    mock = make_mock(request={"x": recorded}, response={"rows": []})
    assert find(mock, {"x": asked}) is None
    assert find(mock, {"x": recorded}) == {"rows": []}


def test_equal_responses_are_decoded_once() -> None:
    finder = ResponseFinder()
    mocks = [make_mock(f"m{n}", request={"n": n}, response={"rows": [[1]]}) for n in range(2)]
    first, second = (find(mock, mock.request, finder) for mock in mocks)
    assert first == {"rows": [[1]]}
    assert first is second


def test_large_responses_are_left_to_who_decodes_and_few_are_kept() -> None:
    finder = ResponseFinder()
    mock = make_mock(request={}, response={"data": b"x" * MOST_SIZE})
    assert find(mock, {}, finder) is None
    for n in range(2 * MOST_RESPONSES):
        assert find(make_mock(request={}, response={"n": n}), {}, finder) == {"n": n}
    assert len(finder._known) <= MOST_RESPONSES


@given(st.binary(max_size=30), st.integers(0, 400), st.integers(0, 255))
def test_damage_finds_nothing_or_what_is_written_there(tail: bytes, at: int, byte: int) -> None:
    record = bytearray(pack_mock(make_mock(request={"a": 1}, response={"b": 2})) + tail)
    record[at % len(record)] = byte
    packed = pack_request({"a": 1})
    assert packed is not None
    found = ResponseFinder().find(bytes(record), len(record), packed)
    assert found is None or isinstance(found, dict)


def test_a_reader_gives_whole_records_of_usual_size(tmp_path: Path) -> None:
    path = tmp_path / "mocks"
    small, large = pack_mock(make_mock()), pack_mock(make_mock(request={"x": "x" * 5000}))
    path.write_bytes(small + large)
    reader = MockReader(path)
    found = reader.record_at(0)
    assert found is not None
    assert found[0][: found[1]] == small
    assert reader.record_at(len(small)) is None
    assert reader.record_at(3) is None
    assert reader.record_at(len(small + large)) is None


def test_what_cannot_be_stored_has_no_bytes() -> None:
    assert pack_request({"x": object()}) is None
    assert pack_request({"x": "\udc80"}) is None
