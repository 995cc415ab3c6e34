"""Turns of an unknown protocol."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kebpf.protocols.base import Exchange, Mark, Sender
from kebpf.protocols.opaque import OPAQUE
from kebpf.protocols.opaque.pairer import MAX_TURN_SIZE
from tests.protocols.http1.wire import C, Feed, S

Said = tuple[bytes, bytes, str | None]


def listen(joined: bool = False) -> Feed:
    return Feed(OPAQUE.make_pairer(joined))


def said(exchanges: list[Exchange]) -> list[Said]:
    return [(e.request["data"], (e.response or {})["data"], e.problem) for e in exchanges]


class TestTurns:
    def test_questions_and_answers(self) -> None:
        feed = listen().send(
            (C, b"he"), (C, b"lo"), (S, b"wor"), (S, b"ld"), (C, b"2"), (S, b"two")
        )
        assert said(feed.exchanges) == [(b"helo", b"world", None)]
        assert said(feed.close(C).close(S).exchanges)[1:] == [(b"2", b"two", None)]
        assert feed.finish().exchanges[2:] == []

    def test_marks(self) -> None:
        (exchange,) = listen().send((C, b"ab"), (C, b"c"), (S, b"x"), (S, b"y")).close(S).exchanges
        assert (exchange.request_start, exchange.request_end) == (Mark(1, 7, 0), Mark(2, 7, 2))
        assert (exchange.response_start, exchange.response_end) == (Mark(3, 7, 0), Mark(4, 7, 1))

    def test_greeting(self) -> None:
        feed = listen().send((S, b"220 hi"), (C, b"QUIT"), (S, b"221 bye")).close(S)
        assert said(feed.exchanges) == [(b"", b"220 hi", None), (b"QUIT", b"221 bye", None)]
        assert [e.is_session for e in feed.exchanges] == [True, False]
        assert feed.exchanges[1].response == {"data": b"221 bye", "close": True}

    def test_one_way(self) -> None:
        assert said(listen().send((C, b"metric:1|c")).close(C).finish().exchanges) == [
            (b"metric:1|c", b"", None)
        ]

    def test_recording_ends(self) -> None:
        feed = listen().send((C, b"a"), (S, b"b")).finish()
        assert feed.problems() == ["the recording ended during this turn"]
        assert listen().finish().exchanges == []


class TestProblems:
    def test_gaps_name_their_size(self) -> None:
        feed = listen().send((C, b"a"), (S, 1234), (S, b"b"), (C, 1), (C, b"c"), (S, b"d"))
        feed.send((C, b"e"), (S, b"f")).close(S)
        assert feed.problems() == [
            "1,234 bytes of the response were lost; "
            "bytes of the client were lost during or after this turn",
            "1 byte of the request was lost",
            None,
        ]

    def test_unknown_size(self) -> None:
        feed = listen().send((C, 0), (S, b"b")).close(S)
        assert feed.problems() == ["an unknown number of bytes of the request were lost"]

    def test_joined_midway(self) -> None:
        feed = listen(joined=True).send((S, b"rest"), (C, b"a"), (S, b"b")).close(S)
        assert feed.problems() == ["the connection was joined during this turn", None]

    def test_turns_have_a_cap(self) -> None:
        feed = listen().send(*[(C, b"x" * 100_000)] * 11, (S, b"y")).close(S)
        assert feed.problems() == ["the request is over 1,048,576 bytes"]
        assert len(feed.exchanges[0].request["data"]) == MAX_TURN_SIZE


@given(st.lists(st.tuples(st.sampled_from([C, S]), st.binary(min_size=1, max_size=5))))
def test_every_byte_is_kept_in_order(pieces: list[tuple[Sender, bytes]]) -> None:
    feed = listen()
    for sender, data in pieces:
        feed.send((sender, data))
    feed.close(S)
    heard: dict[Sender, list[bytes]] = {
        C: [request for request, _, _ in said(feed.exchanges)],
        S: [response for _, response, _ in said(feed.exchanges)],
    }
    for sender, parts in heard.items():
        assert b"".join(parts) == b"".join(data for who, data in pieces if who is sender)
    assert all(problem is None for problem in feed.problems())
