"""Pairing of requests and responses: in order, after gaps, joined midway."""

from __future__ import annotations

from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kebpf.protocols.base import Mark, Sender
from kebpf.protocols.http1 import HTTP1
from kebpf.protocols.http1.pairer import MAX_HELD_SIZE, HttpPairer
from kebpf.protocols.http1.parser import MessageParser
from tests.protocols.http1.wire import (
    CHUNKED_RESPONSE,
    RFC_REQUEST,
    RFC_RESPONSE,
    C,
    Feed,
    S,
    cut,
    make_chunked_ok,
    make_get,
    make_ok,
    split_bytes,
)

POST = b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n"


class TestWhole:
    def test_rfc_example(self) -> None:
        feed = Feed().send((C, RFC_REQUEST), (S, RFC_RESPONSE))
        (exchange,) = feed.exchanges
        assert exchange.problem is None
        assert exchange.request["headers"] == [
            ["User-Agent", "curl/7.64.1"],
            ["Host", "www.example.com"],
            ["Accept-Language", "en, mi"],
        ]
        assert exchange.response is not None
        assert exchange.response["body"] == RFC_RESPONSE[-51:]
        assert exchange.response["reason"] == "OK"
        assert feed.finish().pairs() == [("/hello.txt", RFC_RESPONSE[-51:])]

    def test_byte_by_byte_is_the_same(self) -> None:
        whole = Feed().send((C, RFC_REQUEST), (S, CHUNKED_RESPONSE)).exchanges
        single = Feed().send(*split_bytes(C, RFC_REQUEST), *split_bytes(S, CHUNKED_RESPONSE))
        assert [(e.request, e.response) for e in single.exchanges] == [
            (e.request, e.response) for e in whole
        ]
        assert whole[0].response is not None
        assert whole[0].response["body"] == b"Wikipedia in \r\n\r\nchunks."
        assert whole[0].response["trailers"] == [["Expires", "never"], ["X-Sum", "1"]]

    def test_marks_say_where_and_when(self) -> None:
        first, second = make_get("/1"), make_get("/2")
        half = len(first) + 5
        both = first + second
        answers = make_ok(b"one") + make_ok(b"two")
        feed = Feed().send((C, both[:half]), (C, both[half:]), (S, answers[:-1]), (S, answers[-1:]))
        one, two = feed.exchanges
        assert (one.request_start, one.request_end) == (Mark(1, 7, 0), Mark(1, 7, 0))
        assert (two.request_start, two.request_end) == (Mark(1, 7, len(first)), Mark(2, 7, half))
        assert (one.response_start, one.response_end) == (Mark(3, 7, 0), Mark(3, 7, 0))
        assert two.response_start == Mark(3, 7, len(answers) // 2)
        assert two.response_end == Mark(4, 7, len(answers) - 1)

    def test_pipelined_requests_pair_in_order(self) -> None:
        requests = b"".join(make_get(f"/{n}") for n in range(5))
        answers = b"".join(make_ok(b"%d" % n) for n in range(5))
        assert Feed().send((C, requests), (S, answers)).pairs() == [
            (f"/{n}", b"%d" % n) for n in range(5)
        ]

    def test_responses_without_a_body(self) -> None:
        head = b"HEAD /h HTTP/1.1\r\nHost: h\r\n\r\n"
        feed = Feed().send(
            (C, head), (S, b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"),
            (C, make_get("/204")), (S, b"HTTP/1.1 204 No Content\r\n\r\n"),
            (C, make_get("/304")), (S, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"),
            (C, make_get("/end")), (S, make_ok(b"end")),
        )  # fmt: skip
        assert feed.pairs() == [("/h", b""), ("/204", b""), ("/304", b""), ("/end", b"end")]

    def test_interim_responses_belong_to_the_final_one(self) -> None:
        interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        feed = Feed().send((C, POST), (S, interim), (C, b"0123456789"), (S, make_ok(b"ok")))
        (exchange,) = feed.exchanges
        assert exchange.response is not None
        assert exchange.response["interim"] == [
            {"status": 100, "reason": "Continue", "headers": []},
            {"status": 103, "reason": "Early Hints", "headers": [["Link", "</a>"]]},
        ]
        assert exchange.request["body"] == b"0123456789"
        assert exchange.response_start == Mark(2, 7, 0)

    def test_close_delimited_ends_with_the_connection(self) -> None:
        feed = Feed().send((C, make_get("/")), (S, b"HTTP/1.0 200 OK\r\n\r\nabc"), (S, b"def"))
        assert feed.exchanges == []
        assert feed.close(S).pairs() == [("/", b"abcdef")]

    def test_early_response_waits_for_its_request(self) -> None:
        feed = Feed().send((C, POST), (S, make_ok(b"early")))
        assert feed.exchanges == []
        feed.send((C, b"0123456789"), (C, make_get("/2")), (S, make_ok(b"2")))
        assert feed.pairs() == [("/p", b"early"), ("/2", b"2")]


class TestSwitch:
    def test_websocket(self) -> None:
        ask = make_get("/ws", "Connection: Upgrade", "Upgrade: websocket")
        answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x02hi"
        feed = Feed().send((C, ask), (C, b"\x82\x00GET"), (S, answer), (C, b"\x00"), (S, b"\x00"))
        feed.close(S).finish()
        (exchange,) = feed.exchanges
        assert exchange.response is not None and exchange.response["status"] == 101
        assert exchange.problem is None
        assert feed.pairer.broken == "switched to websocket"

    def test_refused_upgrade_goes_on(self) -> None:
        ask = make_get("/h2", "Connection: Upgrade", "Upgrade: h2c")
        feed = Feed().send((C, ask + make_get("/2")), (S, make_ok(b"1") + make_ok(b"2")))
        assert feed.pairs() == [("/h2", b"1"), ("/2", b"2")]
        assert feed.pairer.broken is None

    def test_connect(self) -> None:
        ask = b"CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n\r\n"
        feed = Feed().send((C, ask), (S, b"HTTP/1.1 200 Established\r\n\r\n\x16\x03"))
        assert feed.pairs() == [("db:5432", b"")]
        assert [one.is_session for one in feed.exchanges] == [True]
        assert feed.pairer.broken == "switched to a tunnel"

    def test_refused_connect_goes_on(self) -> None:
        ask = b"CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n\r\n"
        no = b"HTTP/1.1 407 No\r\nContent-Length: 2\r\n\r\nno"
        feed = Feed().send((C, ask), (S, no), (C, make_get("/2")), (S, make_ok(b"2")))
        assert feed.pairs() == [("db:5432", b"no"), ("/2", b"2")]
        assert not any(one.is_session for one in feed.exchanges)


class LossyFeed:
    """A feed that loses the given ranges ``(start, size)`` of each direction."""

    def __init__(self, gaps: dict[Sender, tuple[int, int]], late: bool, piece_size: int) -> None:
        self.feed = Feed()
        self.sent = dict.fromkeys(Sender, 0)
        self._gaps, self._late, self._piece_size = gaps, late, piece_size
        self._lost = dict.fromkeys(Sender, 0)

    def say(self, sender: Sender, data: bytes) -> None:
        for at in range(0, len(data), self._piece_size):
            self._say_piece(sender, data[at : at + self._piece_size])

    def _say_piece(self, sender: Sender, data: bytes) -> None:
        start, size = self._gaps.get(sender, (1 << 30, 0))
        begin = self.sent[sender]
        low = max(0, min(len(data), start - begin))
        high = max(low, min(len(data), start + size - begin))
        self.sent[sender] += len(data)
        if data[:low]:
            self._flush(sender)
            self.feed.send((sender, data[:low]))
        self._lost[sender] += high - low
        if data[high:]:
            self._flush(sender)
            self.feed.send((sender, data[high:]))
        elif not self._late:
            self._flush(sender)

    def _flush(self, sender: Sender) -> None:
        if self._lost[sender]:
            self.feed.send((sender, self._lost[sender]))
            self._lost[sender] = 0


class TestGap:
    def test_inside_a_body_marks_only_its_message(self) -> None:
        body = b"x" * 5000
        head, rest = make_ok(body)[:-5000], body[:3766]
        feed = Feed().send(
            (C, make_get("/1")), (S, head + rest), (S, 1234),
            (C, make_get("/2")), (S, make_ok(b"2")),
        )  # fmt: skip
        assert feed.problems() == ["1,234 bytes of the response were lost", None]
        assert feed.pairs() == [("/2", b"2")]

    def test_inside_a_chunk_keeps_the_framing(self) -> None:
        wire = make_chunked_ok(b"y" * 100, b"z")
        at = wire.index(b"y") + 10
        feed = Feed().send((C, make_get("/1")), (S, wire[:at]), (S, 1), (S, wire[at + 1 :]))
        assert feed.problems() == ["1 byte of the response was lost"]
        assert feed.send((C, make_get("/2")), (S, make_ok(b"2"))).pairs() == [("/2", b"2")]

    def test_in_a_request_body(self) -> None:
        feed = Feed().send((C, POST + b"01234"), (C, 5), (S, make_ok(b"")))
        assert feed.problems() == ["5 bytes of the request were lost"]

    def test_over_the_end_of_a_response_resumes_with_the_next_request(self) -> None:
        feed = Feed().send(
            (C, make_get("/1")), (S, make_ok(b"x" * 99)[:50]), (S, 2000), (S, b"tail"),
            (C, make_get("/2")), (S, make_ok(b"2")),
        )  # fmt: skip
        assert feed.problems() == ["2,000 bytes of the response were lost", None]
        assert feed.pairs() == [("/2", b"2")]

    def test_unknown_size(self) -> None:
        feed = Feed().send((C, make_get("/1")), (S, 0), (C, make_get("/2")), (S, make_ok(b"2")))
        assert feed.problems() == ["an unknown number of bytes of the response were lost", None]

    def test_whole_response_lost_and_noticed_late(self) -> None:
        """The gap is only known with the bytes after it, which answer another request."""
        lost = len(make_ok(b"1"))
        feed = Feed().send(
            (C, make_get("/1")), (C, make_get("/2")), (S, lost), (S, make_ok(b"2")),
            (C, make_get("/3")), (S, make_ok(b"3")),
        )  # fmt: skip
        assert feed.pairs() == [("/3", b"3")]
        assert feed.problems()[0] == f"{lost} bytes of the response were lost"
        assert "doubtful" in str(feed.problems()[1])

    def test_whole_exchange_lost(self) -> None:
        feed = Feed().send(
            (C, make_get("/1")), (S, make_ok(b"1")),
            (C, 40), (C, make_get("/3")), (S, 40), (S, make_ok(b"3")),
            (C, make_get("/4")), (S, make_ok(b"4")),
        )  # fmt: skip
        assert feed.pairs() == [("/1", b"1"), ("/4", b"4")]
        assert "40 bytes of a request were lost" in feed.problems()

    def test_lost_request_whose_response_was_seen(self) -> None:
        feed = Feed().send(
            (S, make_ok(b"lost")), (C, 40), (C, make_get("/2")), (S, make_ok(b"2"))
        )  # fmt: skip
        assert feed.pairs() == [("/2", b"2")]

    def test_pipelined_connection_is_given_up(self) -> None:
        requests = b"".join(make_get(f"/{n}") for n in range(3))
        feed = Feed().send((C, requests), (S, 30), (S, make_ok(b"1") + make_ok(b"2")))
        feed.send((C, make_get("/4")), (S, make_ok(b"3")), (S, make_ok(b"4")))
        assert feed.pairs() == []
        assert len(feed.exchanges) == 3
        assert "pipelined" in str(feed.pairer.broken)

    def test_requests_that_overlap_after_a_loss_are_not_paired(self) -> None:
        feed = Feed().send((C, 9), (C, make_get("/1")), (C, make_get("/2")), (S, make_ok(b"?")))
        assert feed.pairs() == []
        assert "pipelined" in str(feed.pairer.broken)

    @given(
        st.dictionaries(
            st.sampled_from([C, S]), st.tuples(st.integers(0, 420), st.integers(1, 400))
        ),
        st.booleans(),
        st.integers(1, 200),
    )
    @settings(max_examples=300)
    def test_never_pairs_wrongly(
        self, gaps: dict[Sender, tuple[int, int]], late: bool, piece_size: int
    ) -> None:
        """Gaps anywhere in a conversation by turns; ``late``: known only with what follows."""
        feed = LossyFeed(gaps, late, piece_size)
        for n in range(8):
            answer = make_ok(b"%d" % n) if n % 3 else make_chunked_ok(b"%d" % n, b"GET / ")
            feed.say(C, make_get(f"/{n}"))
            feed.say(S, answer)
        feed.feed.finish()
        pairs = feed.feed.pairs()
        assert all(body.removesuffix(b"GET / ") == target[1:].encode() for target, body in pairs)
        is_hit = any(start < feed.sent[sender] for sender, (start, _) in gaps.items())
        assert (len(pairs) == 8) is not is_hit


class TestJoined:
    def test_resumes_at_the_next_request(self) -> None:
        feed = Feed(joined=True).send(
            (S, b"end of a body"), (C, b"rest of an upload"), (S, make_ok(b"whose?")),
            (C, make_get("/1")), (S, make_ok(b"1")),
        )  # fmt: skip
        assert feed.pairs() == [("/1", b"1")]
        assert feed.problems() == [None]

    def test_server_that_goes_on_with_something_else(self) -> None:
        feed = Feed(joined=True).send(
            (C, make_get("/1")), (S, b"not a status line"), (C, make_get("/2")), (S, make_ok(b"2"))
        )  # fmt: skip
        assert feed.pairs() == [("/2", b"2")]
        assert "doubtful" in str(feed.problems()[0])

    def test_false_start_is_forgotten(self) -> None:
        feed = Feed(joined=True).send((C, b"A"), (C, make_get("/1")), (S, make_ok(b"1")))
        assert feed.problems() == [None]
        assert feed.pairs() == [("/1", b"1")]

    def test_nothing_seen_nothing_said(self) -> None:
        assert Feed(joined=True).send((S, b"rest")).close(S).close(C).finish().exchanges == []


class TestBroken:
    def test_cut_off_response(self) -> None:
        feed = Feed().send((C, make_get("/1")), (S, make_ok(b"abc")[:-1])).close(S)
        assert feed.problems() == ["the response was cut off"]

    def test_no_response(self) -> None:
        feed = Feed().send((C, make_get("/1"))).close(S)
        assert feed.problems() == [
            "the server closed the connection before the response was complete"
        ]

    def test_recording_ends(self) -> None:
        feed = Feed().send((C, POST + b"123"))
        assert feed.finish().problems() == ["the recording ended before the request was complete"]

    def test_cut_off_request(self) -> None:
        feed = Feed().send((C, POST + b"123")).close(C)
        assert feed.problems() == ["a request was cut off"]

    def test_cut_off_head(self) -> None:
        assert Feed().send((C, POST[:20])).finish().problems() == ["a request was cut off"]

    def test_malformed_request_then_a_good_one(self) -> None:
        feed = Feed().send(
            (C, b"GET / HTTP/1.1\r\nno colon\r\n\r\n"), (S, b"HTTP/1.1 400 Bad\r\n\r\n")
        )
        feed.send((C, make_get("/2")), (S, make_ok(b"2")))
        assert feed.problems()[0] == "a request is malformed: a header line is not Name: value"
        assert feed.pairs() == [("/2", b"2")]

    def test_malformed_response(self) -> None:
        feed = Feed().send((C, make_get("/1")), (S, b"250 OK\r\n"), (C, make_get("/2")))
        feed.send((S, make_ok(b"2")))
        assert feed.problems() == ["the response is malformed: not a status line", None]

    def test_unasked_response(self) -> None:
        feed = Feed().send((S, b"HTTP/1.1 408 Timeout\r\nConnection: close\r\n\r\n")).close(S)
        assert feed.problems() == ["the server sent a response without a request"]

    def test_response_handed_over_before_its_request(self) -> None:
        pairer = HTTP1.make_pairer()
        assert pairer.receive_data(S, make_ok(b"1"), Mark(5)) == []
        (exchange,) = pairer.receive_data(C, make_get("/1"), Mark(4))
        assert exchange.problem is None

    def test_held_bytes_have_a_cap(self) -> None:
        feed = Feed()
        for _ in range(20):
            feed.send((S, b"x" * (MAX_HELD_SIZE // 10)))
        assert "wait for their turn" in str(feed.problems()[0])


POINTS = st.lists(st.integers(0, 10_000), max_size=12)


class TestProperties:
    @given(POINTS, POINTS)
    def test_chunking_never_matters(self, one: list[int], two: list[int]) -> None:
        requests = POST + b"0123456789" + make_get("/2") + RFC_REQUEST
        answers = b"HTTP/1.1 100 Continue\r\n\r\n" + make_ok(b"p") + CHUNKED_RESPONSE + RFC_RESPONSE
        whole = Feed().send((C, requests), (S, answers)).exchanges
        assert len(whole) == 3
        feed = Feed().send(*((C, piece) for piece in cut(requests, one)))
        feed.send(*((S, piece) for piece in cut(answers, two)))
        assert [(e.request, e.response, e.problem) for e in feed.exchanges] == [
            (e.request, e.response, e.problem) for e in whole
        ]

    @given(
        st.lists(
            st.tuples(
                st.sampled_from([C, S]),
                st.one_of(
                    st.binary(max_size=40),
                    st.integers(0, 50),
                    st.sampled_from(
                        [make_get("/"), make_ok(b"x"), CHUNKED_RESPONSE, POST, POST[:9], b"\r\n"]
                    ),
                    st.sampled_from([make_get("/u", "Upgrade: x"), b"HTTP/1.1 101 S\r\n\r\n"]),
                ),
            ),
            max_size=30,
        ),
        st.booleans(),
    )
    @settings(max_examples=300)
    def test_garbage_gives_exchanges_and_nothing_else(
        self, pieces: list[tuple[object, bytes | int]], joined: bool
    ) -> None:
        feed = Feed(joined=joined)
        for sender, piece in pieces:
            feed.send((sender, piece))  # type: ignore[arg-type]
        feed.close(S).close(C).finish()
        for exchange in feed.exchanges:
            assert HTTP1.describe(exchange.request)
            HTTP1.identity(exchange.request)
            HTTP1.view(exchange.request)
        assert feed.finish().exchanges == feed.exchanges


@pytest.mark.parametrize("size", [1, 7, 8, 100])
def test_bodies_over_the_cap_are_problems(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kebpf.protocols.http1.parser.MAX_BODY_SIZE", 7)
    feed = Feed().send((C, make_get("/")), *split_bytes(S, make_ok(b"x" * size)))
    assert (feed.problems() == [None]) is (size <= 7)
    assert feed.exchanges[0].response is not None
    assert len(feed.exchanges[0].response["body"]) == min(size, 7)


POSTED = b"POST /p HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"
SCRIPT = [
    *((C, data) for data in (make_get("/1"), make_get("/2"), POSTED, POSTED[:-2], POSTED[-2:])),
    (C, make_get("/head").replace(b"GET", b"HEAD")),
    (C, make_get("/up", "Upgrade: h2c")),
    (C, make_get("h:443").replace(b"GET", b"CONNECT")),
    (C, make_get("/1") + make_get("/2")),
    (C, b"\r\n" + make_get("/blank")),
    (C, make_get("/lines").replace(b"\r\n", b"\n")),
    (C, b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"),
    (C, b"POST / HTTP/1.1\r\nContent-Length: 1, 2\r\n\r\na"),
    *((S, data) for data in (make_ok(b"one"), make_ok(b""), make_ok(b"three")[:-2], b"ee")),
    (S, make_ok(b"one") + make_ok(b"two")),
    (S, b"HTTP/1.1 100 Continue\r\n\r\n"),
    (S, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n"),
    (S, b"HTTP/1.1 204 No Content\r\n\r\n"),
    (S, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"),
    (S, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
    (S, b"HTTP/1.1 200 OK\r\n\r\nuntil the end"),
    (S, make_chunked_ok(b"a", b"b")),
    *((sender, data) for sender in (C, S) for data in (b"garbage\r\n\r\n", 2)),
]


def follow(
    script: list[tuple[Sender, bytes | int]], joined: bool, close: Sender | None
) -> list[str]:
    """All that can be seen of a pairer, after every step."""
    feed, seen = Feed(HttpPairer(joined)), []
    for step in script:
        feed.send(step)
        seen.append(f"{feed.exchanges} {feed.pairer.broken} {feed.pairer.open_since}")  # type: ignore[attr-defined]
    if close is not None:
        feed.close(close).send(*script[:2])
    return [*seen, str(feed.finish().exchanges)]


@given(st.lists(st.sampled_from(SCRIPT), max_size=10), st.booleans(), st.sampled_from([None, C, S]))
def test_the_short_way_gives_what_the_long_way_gives(
    script: list[tuple[Sender, bytes | int]], joined: bool, close: Sender | None
) -> None:
    short = follow(script, joined, close)
    with mock.patch.object(MessageParser, "read_whole", return_value=None):
        assert follow(script, joined, close) == short


def test_whole_messages_go_the_short_way() -> None:
    with mock.patch.object(MessageParser, "next_event", side_effect=AssertionError):
        feed = Feed().send(
            (C, POSTED), (S, make_ok(b"one")), (C, make_get("/2")), (S, make_ok(b""))
        )
    assert feed.pairs() == [("/p", b"one"), ("/2", b"")]
