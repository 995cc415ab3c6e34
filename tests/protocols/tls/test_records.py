"""Records of real conversations, however they are cut, and what is none."""

from __future__ import annotations

import ssl
from pathlib import Path

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebpf.protocols.base import ProtocolError
from kebpf.protocols.tls.records import (
    APPLICATION_DATA,
    HANDSHAKE,
    HEADER_SIZE,
    MARK_SIZE,
    MOST_RECORD_SIZE,
    RecordReader,
    find_record,
)
from tests.protocols.tls.greeting import Conversation, make_client_context, make_server_context


@pytest.fixture(scope="module", params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def talk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Conversation:
    folder: Path = tmp_path_factory.mktemp("tls")
    context = make_server_context(folder, ["http/1.1"])
    talk = Conversation(context, make_client_context(request.param, ["http/1.1"]), "shop.example")
    talk.shake_hands()
    assert talk.say(0, b"question" * 10) == b"question" * 10
    assert talk.say(1, b"answer" * 5000) == (b"answer" * 5000)[: 1 << 14]
    return talk


def split(data: bytes) -> list[tuple[int, bytes]]:
    """By dpkt: type and body of each record."""
    found = []
    while data:
        size = int.from_bytes(data[3:5], "big")
        kind = dpkt.ssl.TLSRecord(data[: HEADER_SIZE + size]).type
        found.append((kind, data[HEADER_SIZE : HEADER_SIZE + size]))
        data = data[HEADER_SIZE + size :]
    return found


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("cut", [1, 2, 7, 100, 1 << 20])
def test_records_of_a_conversation(talk: Conversation, side: int, cut: int) -> None:
    reader, data = RecordReader(), talk.sent[side]
    pieces = [data[at : at + cut] for at in range(0, len(data), cut)]
    records = [record for piece in pieces for record in reader.receive_data(piece)]
    expected = split(data)
    assert [(one.kind, one.size) for one in records] == [
        (kind, len(body)) for kind, body in expected
    ]
    for one, (kind, body) in zip(records, expected, strict=True):
        assert one.body == (body if kind == HANDSHAKE else body[:MARK_SIZE])
        assert one.mark == (body[:MARK_SIZE] if len(body) >= MARK_SIZE else None)
    assert reader.is_between
    assert len({one.mark for one in records if one.mark}) == sum(bool(one.mark) for one in records)


def test_a_long_record_is_not_kept() -> None:
    reader = RecordReader()
    head = bytes([APPLICATION_DATA, 3, 3]) + MOST_RECORD_SIZE.to_bytes(2, "big")
    (record,) = reader.receive_data(head + bytes(MOST_RECORD_SIZE - 1))
    assert (record.size, record.body) == (MOST_RECORD_SIZE, bytes(MARK_SIZE))
    assert not reader.is_between
    assert reader.receive_data(b"\0") == []
    assert reader.is_between


@pytest.mark.parametrize(
    "data",
    [
        b"GET / ",
        b"\x16\x04\x01\0\x10",
        b"\x17\x03\x05\0\x10",
        b"\x17\x03\x03\0\0",
        b"\x17\x03\x03\xff\xff",
    ],
)
def test_what_is_no_record(data: bytes) -> None:
    assert find_record(data) is False
    with pytest.raises(ProtocolError):
        RecordReader().receive_data(data)


def test_too_few_bytes_to_say() -> None:
    assert find_record(b"") is find_record(b"\x17\x03\x03\0") is None
    assert find_record(b"\x17\x04") is False


@given(st.binary(max_size=200), st.integers(1, 50))
def test_garbage_is_refused_or_records(data: bytes, cut: int) -> None:
    reader = RecordReader()
    try:
        for at in range(0, len(data), cut):
            reader.receive_data(data[at : at + cut])
    except ProtocolError:
        pass
