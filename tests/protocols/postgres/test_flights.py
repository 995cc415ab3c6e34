"""Whole messages at once are the messages one by one, and the answers are the same bytes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebpf.protocols.base import Document, Miss
from kebpf.protocols.postgres import messages as m
from kebpf.protocols.postgres.flights import MAX_FLIGHT_SIZE, read_flight
from kebpf.protocols.postgres.session import PostgresServer
from kebpf.protocols.postgres.writer import write, write_all

# Section 55.7 of the manual: messages as their bytes.
SYNC = b"S\0\0\0\4"
QUERY = b"Q\0\0\0\x0dSELECT 1\0"
EXECUTE = b"E\0\0\0\x09\0\0\0\0\0"

READS = "SELECT abalance FROM accounts WHERE aid = {};"
COLUMN = {
    "name": "abalance",
    "type_oid": 23,
    "table_oid": 1,
    "column": 3,
    "type_size": 4,
    "type_modifier": -1,
    "format": 0,
}
SHARED: list[Document] = [
    {"columns": [COLUMN], "rows": [["1"], [None]], "tag": "SELECT 2", "suspended": False},
    {"columns": [COLUMN], "rows": [[b"\xff"]], "tag": "SELECT 1", "suspended": False},
    {"columns": None, "rows": [], "tag": "INSERT 0 1", "suspended": False},
]
NOTICE = {"severity": "NOTICE", "code": "00000", "message": "told"}
ERROR = {"severity": "ERROR", "code": "22012", "message": "division by zero"}
RESPONSES: list[Document] = [
    *({"results": [one], "error": None, "notices": []} for one in SHARED),
    {"results": SHARED[:2], "error": None, "notices": []},
    {"results": SHARED[:1], "error": None, "notices": [NOTICE]},
    {"results": [], "error": ERROR, "notices": []},
    {"results": SHARED[:1], "error": ERROR, "notices": []},
    {"results": SHARED[:1], "notices": [], "parameters": {"TimeZone": "UTC"}},
    {"results": [{**SHARED[2], "tag": "COMMIT"}], "notices": []},
]

names = st.sampled_from(["", "s", "p"])
texts = st.sampled_from(
    [
        *(READS.format(n) for n in (1, 22, "$1", "'x'")),
        "BEGIN",
        "COMMIT",
        "SELECT 1",
        "SELECT 2; SELECT 3",
        "COPY t FROM STDIN",
        "FETCH 5 FROM c",
        "",
    ]
)
formats = st.sampled_from([[], [0], [1]])
messages = st.one_of(
    st.builds(m.Query, texts),
    st.builds(m.Parse, names, texts, st.sampled_from([[], [23]])),
    st.builds(
        m.Bind,
        names,
        names,
        st.just([]),
        st.lists(st.none() | st.binary(max_size=3), max_size=2),
        formats,
    ),
    st.builds(m.Describe, st.sampled_from("SP"), names),
    st.builds(m.Execute, names, st.sampled_from([0, 1])),
    st.builds(m.Close, st.sampled_from("SP"), names),
    st.builds(m.CopyData, st.binary(max_size=4)),
    st.builds(m.CopyDone),
    st.just(m.Flush()),
    st.just(m.Sync()),
)


class Recording:
    """Answers the nth call with the nth response, the very same object each time round."""

    def __init__(self) -> None:
        self.calls: list[Document] = []

    def answer(self, request: Document) -> Document | Miss:
        self.calls.append(request)
        return RESPONSES[len(self.calls) % len(RESPONSES)]

    def session(self, request: Document) -> Document | None:
        return None

    def peek(self, request: Document) -> bool:
        return True


def start() -> tuple[PostgresServer, Recording]:
    recording = Recording()
    server = PostgresServer(recording, [])
    server.receive_data(write(m.StartupMessage([("user", "u"), ("database", "d")])))
    return server, recording


def serve(pieces: Sequence[bytes]) -> tuple[bytes, list[Document]]:
    server, recording = start()
    return b"".join(map(server.receive_data, pieces)), recording.calls


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[begin:end] for begin, end in itertools.pairwise(ends)]


@given(st.lists(messages, max_size=8))
def test_whole_messages_are_read(sent: list[m.FrontendMessage]) -> None:
    for _ in range(2):  # read, and known
        found = read_flight(write_all(sent))
        assert found is not None
        assert list(found) == sent


@given(st.lists(messages, min_size=1, max_size=4), st.integers(1, 10_000))
def test_what_is_not_whole_is_not_read(sent: list[m.FrontendMessage], at: int) -> None:
    data = write_all(sent)
    ends = {len(write_all(sent[:n])) for n in range(len(sent) + 1)}
    size = at % len(data)
    assert (read_flight(data[:size]) is None) == (size not in ends)


@given(st.lists(messages, max_size=10), st.lists(st.integers(0, 10_000), max_size=6))
def test_any_cut_gives_equal_bytes(sent: list[m.FrontendMessage], places: list[int]) -> None:
    data = write_all(sent)
    bytewise = serve([data[at : at + 1] for at in range(len(data))])
    for pieces in ([data], cut(data, places), [write(one) for one in sent]):
        assert serve(pieces) == bytewise


@given(st.lists(messages, max_size=3), st.binary(min_size=1, max_size=9))
def test_garbage_ends_as_it_does_byte_by_byte(
    sent: list[m.FrontendMessage], garbage: bytes
) -> None:
    data = write_all(sent) + garbage
    assert serve([data]) == serve([data[at : at + 1] for at in range(len(data))])


@pytest.mark.parametrize(
    ("data", "count"),
    [(b"", 0), (SYNC, 1), (QUERY, 1), (EXECUTE + SYNC, 2), (QUERY + SYNC + QUERY, 3)],
)
def test_literal_bytes(data: bytes, count: int) -> None:
    found = read_flight(data)
    assert found is not None
    assert len(found) == count
    assert write_all(found) == data


@pytest.mark.parametrize(
    "data", [b"S", SYNC[:4], b"y\0\0\0\4", b"S\0\0\0\3", b"S\0\0\0\5x", b"D\0\0\0\6X\0"]
)
def test_wrong_messages_are_left_to_the_reader(data: bytes) -> None:
    assert read_flight(data) is None


def test_large_flights_are_left_to_the_reader() -> None:
    assert read_flight(SYNC * MAX_FLIGHT_SIZE) is None
