"""Messages against bytes written out from section 55.7, and against our own writer."""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kebpf.protocols.base import Mark, ProtocolError
from kebpf.protocols.postgres import messages as m
from kebpf.protocols.postgres.framing import (
    BACKEND_KINDS,
    FRONTEND_KINDS,
    MAX_FRAME_SIZE,
    FrameReader,
)
from kebpf.protocols.postgres.parser import parse_backend, parse_frontend, parse_untyped
from kebpf.protocols.postgres.replies import description_bytes
from kebpf.protocols.postgres.writer import write

FRONTEND_BYTES: list[tuple[bytes, Any]] = [
    (b"Q\0\0\0\x0dselect 1\0", m.Query("select 1")),
    (b"P\0\0\0\x16s\0select $1\0\0\1\0\0\0\x17", m.Parse("s", "select $1", [23])),
    (
        b"B\0\0\0\x1bp\0s\0\0\1\0\1\0\2\0\0\0\1\x05\xff\xff\xff\xff\0\1\0\1",
        m.Bind("p", "s", [1], [b"\x05", None], [1]),
    ),
    (b"D\0\0\0\x07Ss\0", m.Describe("S", "s")),
    (b"E\0\0\0\x0ap\0\0\0\0\x05", m.Execute("p", 5)),
    (b"C\0\0\0\x06P\0", m.Close("P", "")),
    (b"S\0\0\0\4", m.Sync()),
    (b"H\0\0\0\4", m.Flush()),
    (b"X\0\0\0\4", m.Terminate()),
    (b"d\0\0\0\6ab", m.CopyData(b"ab")),
    (b"c\0\0\0\4", m.CopyDone()),
    (b"f\0\0\0\6x\0", m.CopyFail("x")),
]
BACKEND_BYTES: list[tuple[bytes, Any]] = [
    (b"R\0\0\0\x08\0\0\0\0", m.Authentication(0)),
    (b"K\0\0\0\x0c\0\0\0\7\1\2\3\4", m.BackendKeyData(7, b"\1\2\3\4")),
    (b"Z\0\0\0\5T", m.ReadyForQuery("T")),
    (
        b"T\0\0\0\x1a\0\1c\0\0\0\0\0\0\0\0\0\0\x17\0\4\xff\xff\xff\xff\0\0",
        m.RowDescription([m.Column("c", 0, 0, 23, 4, -1, 0)]),
    ),
    (b"D\0\0\0\x0f\0\2\0\0\0\1a\xff\xff\xff\xff", m.DataRow([b"a", None])),
    (b"C\0\0\0\x0dSELECT 1\0", m.CommandComplete("SELECT 1")),
    (b"E\0\0\0\x0eSERROR\0M\0\0", m.ErrorResponse({"S": "ERROR", "M": ""})),
    (b"A\0\0\0\x0c\0\0\0\1c\0p\0", m.NotificationResponse(1, "c", "p")),
    (b"G\0\0\0\x09\1\0\1\0\1", m.CopyResponse("in", 1, [1])),
    (b"t\0\0\0\x0a\0\1\0\0\0\x17", m.ParameterDescription([23])),
    (b"V\0\0\0\x08\xff\xff\xff\xff", m.FunctionCallResponse(None)),
]


def frames(data: bytes, kinds: bytes) -> list[tuple[bytes, bytes]]:
    reader = FrameReader(kinds)
    reader.feed(data)
    found = []
    while frame := reader.next_frame():
        found.append((frame.kind, frame.payload))
    return found


@pytest.mark.parametrize(("raw", "message"), FRONTEND_BYTES)
def test_client_messages(raw: bytes, message: Any) -> None:
    ((kind, payload),) = frames(raw, FRONTEND_KINDS)
    assert parse_frontend(kind, payload) == message
    assert write(message) == raw


@pytest.mark.parametrize(("raw", "message"), BACKEND_BYTES)
def test_server_messages(raw: bytes, message: Any) -> None:
    ((kind, payload),) = frames(raw, BACKEND_KINDS)
    assert parse_backend(kind, payload) == message
    assert write(message) == raw


def test_untyped_messages() -> None:
    raw = b"\0\0\0\x10\0\3\0\0user\0u\0\0"
    assert parse_untyped(raw[4:]) == m.StartupMessage([("user", "u")])
    assert write(m.StartupMessage([("user", "u")])) == raw
    assert parse_untyped(b"\x04\xd2\x16\x2f") == m.SSLRequest()
    assert parse_untyped(b"\x04\xd2\x16\x30") == m.GSSENCRequest()
    assert parse_untyped(b"\x04\xd2\x16\x2e\0\0\0\1KEY!") == m.CancelRequest(1, b"KEY!")
    with pytest.raises(ProtocolError):
        parse_untyped(b"\0\2\0\0user\0")


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
VALUE = st.none() | st.binary(max_size=12)
FORMAT = st.sampled_from([0, 1])
OID = st.integers(0, 2**32 - 1)
FRONTEND = st.one_of(
    st.builds(m.Query, TEXT),
    st.builds(m.Parse, TEXT, TEXT, st.lists(OID, max_size=4)),
    st.builds(
        m.Bind,
        TEXT,
        TEXT,
        st.lists(FORMAT, max_size=3),
        st.lists(VALUE, max_size=4),
        st.lists(FORMAT, max_size=3),
    ),
    st.builds(m.FunctionCall, OID, st.lists(FORMAT), st.lists(VALUE, max_size=3), FORMAT),
    st.builds(m.CopyFail, TEXT),
)
BACKEND = st.one_of(
    st.builds(m.DataRow, st.lists(VALUE, max_size=5)),
    st.builds(m.ParameterStatus, TEXT, TEXT),
    st.builds(m.NotificationResponse, OID, TEXT, TEXT),
    st.builds(m.CopyResponse, st.sampled_from(["in", "out", "both"]), FORMAT, st.lists(FORMAT)),
    st.builds(m.NegotiateProtocolVersion, OID, st.lists(TEXT, max_size=3)),
    st.builds(m.ErrorResponse, st.dictionaries(st.sampled_from("SVCMDHP"), TEXT)),
)


@given(FRONTEND)
def test_client_messages_go_both_ways(message: Any) -> None:
    ((kind, payload),) = frames(write(message), FRONTEND_KINDS)
    assert parse_frontend(kind, payload) == message


@given(BACKEND)
def test_server_messages_go_both_ways(message: Any) -> None:
    ((kind, payload),) = frames(write(message), BACKEND_KINDS)
    assert parse_backend(kind, payload) == message


@given(st.sampled_from(sorted(set(FRONTEND_KINDS + BACKEND_KINDS))), st.binary(max_size=80))
@settings(max_examples=500)
def test_garbage_payloads_give_messages_or_errors(kind: int, payload: bytes) -> None:
    for parse in (parse_frontend, parse_backend):
        try:
            assert parse(bytes([kind]), payload) is not None
        except ProtocolError:
            continue


@pytest.mark.parametrize("size", [0, 3, MAX_FRAME_SIZE + 1, 2**31 - 1, 2**32 - 1])
def test_an_impossible_length_is_refused_at_once(size: int) -> None:
    with pytest.raises(ProtocolError):
        frames(b"D" + size.to_bytes(4, "big"), BACKEND_KINDS)


def read_steps(pieces: list[bytes], lost: int) -> list[object]:
    """Frames, what is left after each piece, and how it ended; piece number ``lost`` is missing."""
    reader, seen = FrameReader(BACKEND_KINDS), list[object]()
    try:
        for number, piece in enumerate(pieces):
            if number == lost:
                seen.append(reader.skip(len(piece), Mark(number)))
            else:
                reader.feed(piece, Mark(number))
            while frame := reader.next_frame():
                seen.append(frame)
            seen.append(reader.buffered_size)
    except ProtocolError as error:
        seen.append(str(error))
    return seen


@given(
    st.lists(st.sampled_from([whole for whole, _ in BACKEND_BYTES] + [b"D\0\0\0\3", b"Q"])),
    st.lists(st.integers(0, 200), max_size=5),
    st.integers(0, 8),
)
def test_whole_frames_are_taken_as_any(frames: list[bytes], cuts: list[int], lost: int) -> None:
    data = b"".join(frames)
    points = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [data[one:other] for one, other in pairwise(points)]
    short = read_steps(pieces, lost)
    with mock.patch.object(FrameReader, "_take_whole", return_value=None):
        assert read_steps(pieces, lost) == short


@given(
    st.lists(st.tuples(st.sampled_from(b"DTC"), st.binary(max_size=40)), max_size=8),
    st.lists(st.integers(0, 200), max_size=8),
)
def test_frames_are_the_same_however_their_bytes_come_cut(
    wanted: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    data = b"".join(struct.pack("!BI", kind, len(body) + 4) + body for kind, body in wanted)
    points = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    reader, seen = FrameReader(BACKEND_KINDS), []
    for one, other in pairwise(points):
        reader.feed(data[one:other], Mark(one))
        while frame := reader.next_frame():
            seen.append((frame.kind[0], frame.payload))
    assert seen == wanted
    assert reader.buffered_size == 0


@given(
    st.lists(st.tuples(st.text("ab", max_size=2), st.integers(1, 3)), min_size=1, max_size=3),
    st.sampled_from([(), (0,), (1,), (0, 1, 0)]),
)
def test_a_description_is_that_of_its_columns_in_their_formats(
    columns: list[tuple[str, int]], formats: tuple[int, ...]
) -> None:
    documents = [
        {"name": name, "type_oid": oid, "table_oid": 5, "column": 2, "type_size": 4}
        | {"type_modifier": -1, "format": 0}
        for name, oid in columns
    ]
    spread = [*(formats * 3 if len(formats) == 1 else formats), 0, 0, 0]
    body = struct.pack("!H", len(columns)) + b"".join(
        name.encode() + b"\0" + struct.pack("!IhIhih", 5, 2, oid, 4, -1, one)
        for (name, oid), one in zip(columns, spread, strict=False)
    )
    whole = b"T" + struct.pack("!I", len(body) + 4) + body
    assert description_bytes(documents, formats) == whole
    assert description_bytes([dict(reversed(one.items())) for one in documents], formats) == whole
