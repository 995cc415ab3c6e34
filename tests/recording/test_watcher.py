"""From records made by hand, through the tracker, to exchanges of the real protocols."""

from __future__ import annotations

from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebpf.capture.events import (
    Direction,
    GapReason,
    SocketRole,
    Transport,
    decode_run,
)
from kebpf.reassembly.tracker import Tracker
from kebpf.recording.builder import BEGAN_BEFORE, OpenRequest
from kebpf.recording.model import Endpoint, RecordedExchange, Role
from kebpf.recording.watcher import (
    LONGEST_UNSEEN_NS,
    MOST_HEAD_SIZE,
    MOST_RESYNC_ATTEMPTS,
    Watcher,
)
from tests.capture.records import Socket

IN, OUT = Direction.INGRESS, Direction.EGRESS
DAY_NS = 1_700_000_000_000_000_000

REQUEST = b"GET /carts/7 HTTP/1.1\r\nHost: shop\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ncart"
REDIS_GET = b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n"
REDIS_VALUE = b"$5\r\nvalue\r\n"
# a query for example.org, type A (RFC 1035, section 4.1), and its answer
QUERY = bytes.fromhex("123401000001000000000000076578616d706c65036f72670000010001")
ANSWER = bytes.fromhex(
    "123481800001000100000000076578616d706c65036f72670000010001c00c00010001000000780004c0000207"
)


class Made:
    """A watcher behind a tracker, fed by records."""

    def __init__(self, listening: tuple[int, ...] = ()) -> None:
        self.exchanges: list[RecordedExchange] = []
        self.unseen: list[RecordedExchange] = []  # requests of which only the answer came
        self.watcher = Watcher(self._take, DAY_NS)
        self.tracker = Tracker(self.watcher, listening)

    def _take(self, recorded: RecordedExchange) -> None:
        is_unseen = recorded.exchange.problem == BEGAN_BEFORE
        (self.unseen if is_unseen else self.exchanges).append(recorded)

    def feed(self, *records: bytes) -> Made:
        for record in records:
            for event in decode_run(record):
                self.tracker.feed(event)
        return self

    def finish(self) -> Made:
        self.tracker.finish({})
        return self

    @property
    def only(self) -> RecordedExchange:
        (one,) = self.exchanges
        return one

    @property
    def unparsed(self) -> dict[str, int]:
        return dict(self.watcher.unparsed)


def serve(one: Socket) -> bytes:
    return one.open(SocketRole.SERVER, ("10.0.0.1", 8080), ("10.0.0.9", 51000))


def test_a_request_that_the_target_serves() -> None:
    one = Socket()
    made = Made().feed(serve(one), one.receive(REQUEST))
    begun_ns = one.time_ns
    made.feed(one.send(RESPONSE))
    recorded = made.only
    exchange = recorded.exchange
    assert recorded.role is Role.SERVER
    assert recorded.local == Endpoint("tcp", "10.0.0.1", 8080)
    assert recorded.remote == Endpoint("tcp", "10.0.0.9", 51000)
    assert (recorded.pid, recorded.connection) == (100, 1)
    assert (exchange.protocol, exchange.request["target"]) == ("http", "/carts/7")
    assert exchange.response is not None
    assert exchange.response["body"] == b"cart"
    assert exchange.problem is None
    assert exchange.request_start.time_ns == begun_ns + DAY_NS
    assert exchange.request_start.tid == 101
    assert exchange.response_end is not None
    assert exchange.response_end.time_ns == one.time_ns + DAY_NS


def test_a_call_that_the_target_makes() -> None:
    one = Socket()
    made = Made().feed(
        one.open(remote=("10.0.0.2", 6379)), one.send(REDIS_GET), one.receive(REDIS_VALUE)
    )
    assert made.only.role is Role.CLIENT
    assert made.only.exchange.protocol == "redis"
    assert made.only.remote == Endpoint("tcp", "10.0.0.2", 6379)
    assert made.finish().unparsed == {}


@pytest.mark.parametrize("is_fast", [True, False])
def test_tasks_are_times_of_day(is_fast: bool) -> None:
    """Those of pieces and those that are told of: one and the same afterwards."""
    unseen = mock.Mock()
    found: list[RecordedExchange] = []
    tracker = Tracker(Watcher(found.append, DAY_NS, unseen))
    one = Socket(task=7_000)
    run = one.open() + one.send(b"*1\r\n$4\r\nPING\r\n") + one.receive(b"+PONG\r\n")
    run += one.task_made(8_000, 7_000) + one.close()
    if is_fast:
        tracker.feed_run(run)
    else:
        for event in decode_run(run):
            tracker.feed(event)
    assert found[0].exchange.request_start.task == DAY_NS + 7_000
    unseen.link_tasks.assert_called_once_with(100, DAY_NS + 8_000, DAY_NS + 7_000)


def test_a_unix_path() -> None:
    one = Socket(transport=Transport.UNIX_STREAM)
    made = Made().feed(
        one.open(remote=("0.0.0.0", 0), paths=(b"", b"/run/redis.sock"), family=1),
        one.send(REDIS_GET),
        one.receive(REDIS_VALUE),
    )
    assert made.only.remote == Endpoint("unix", "/run/redis.sock")


@given(st.data())
def test_chunking_never_matters(data: st.DataObject) -> None:
    def cut(text: bytes) -> list[bytes]:
        bounds = sorted(data.draw(st.sets(st.integers(1, len(text) - 1), max_size=6)))
        return [text[a:b] for a, b in zip([0, *bounds], [*bounds, len(text)], strict=True)]

    one = Socket()
    made = Made().feed(serve(one))
    made.feed(*map(one.receive, cut(REQUEST)), *map(one.send, cut(RESPONSE)))
    assert made.only.exchange.request["target"] == "/carts/7"
    assert made.only.exchange.problem is None


def test_a_pair_of_sockets_without_names_is_internal() -> None:
    one = Socket(transport=Transport.UNIX_STREAM)
    made = Made().feed(one.open(family=1), one.send(b"wake up"), one.receive(b"yes")).finish()
    assert (made.exchanges, made.unparsed) == ([], {})


def test_what_is_none_of_the_protocols() -> None:
    one = Socket()
    made = Made().feed(one.open(), one.send(b"\0\1\2"), one.receive(b"\3"), one.close())
    assert made.only.exchange.protocol == "opaque"
    assert made.only.exchange.request == {"data": b"\0\1\2"}
    assert made.unparsed == {}


def test_what_stays_undecided_until_its_end_is_none_of_them() -> None:
    one = Socket()
    made = Made().feed(one.open(), one.send(b"GE"), one.receive(b"\0"), one.close())
    assert made.only.exchange.protocol == "opaque"


def test_a_head_has_a_cap() -> None:
    one = Socket()
    made = Made().feed(one.open(), one.receive(b"N" + bytes(10)))
    watch = made.watcher._watches[1]
    made.feed(one.send(b"A" * 100))
    size = 0
    while watch.pairer is None and size <= 2 * MOST_HEAD_SIZE:
        size += 10_000
        made.feed(one.receive(b"n" * 10_000))
    assert size <= MOST_HEAD_SIZE + 10_000
    assert watch.undecided == []


def test_datagrams_are_asked_about_datagram_protocols_only() -> None:
    one = Socket(transport=Transport.UDP)
    made = Made().feed(one.open(remote=("10.0.0.53", 53)), one.send(QUERY), one.receive(ANSWER))
    made.finish()
    assert made.only.exchange.protocol == "dns"
    assert made.only.remote == Endpoint("udp", "10.0.0.53", 53)
    other = Socket(transport=Transport.UDP)
    made = Made().feed(other.open(), other.send(REQUEST), other.receive(RESPONSE)).finish()
    assert {one.exchange.protocol for one in made.exchanges} == {"opaque"}


def test_an_answer_that_ends_with_its_connection() -> None:
    one = Socket()
    made = Made().feed(serve(one), one.receive(REQUEST), one.send(b"HTTP/1.0 200 OK\r\n\r\nall"))
    assert made.exchanges == []
    made.feed(one.end(OUT))
    assert made.only.exchange.response is not None
    assert made.only.exchange.response["body"] == b"all"
    assert made.only.exchange.problem is None


def test_what_is_cut_off_has_a_problem() -> None:
    one = Socket()
    made = Made().feed(serve(one), one.receive(REQUEST), one.send(RESPONSE[:-1])).finish()
    assert made.only.exchange.problem is not None


def test_a_gap_in_an_answer_is_its_problem_and_no_other_s() -> None:
    one = Socket()
    made = Made().feed(serve(one), one.receive(REQUEST), one.send(RESPONSE[:-4]))
    made.feed(one.gap(OUT, 4, GapReason.NO_BUFFER), one.receive(REQUEST), one.send(RESPONSE))
    first, second = made.exchanges
    assert first.exchange.problem is not None
    assert second.exchange.problem is None
    made.feed(one.close())
    assert made.watcher.missing_payload == {(100, "shop", "by sendfile"): 4}


class TestJoined:
    """Connections whose start was not seen: the next message that is whole is found."""

    def join(self, one: Socket) -> bytes:
        return one.open(SocketRole.SERVER, ("10.0.0.1", 8080), before=(300, 300))

    def test_between_two_requests(self) -> None:
        one = Socket()
        made = Made().feed(self.join(one), one.receive(REQUEST), one.send(RESPONSE))
        assert made.only.exchange.problem is None

    def test_within_an_answer(self) -> None:
        one = Socket()
        made = Made().feed(self.join(one), one.send(b"rest of it"), one.receive(REQUEST))
        made.feed(one.send(RESPONSE), one.close())
        assert made.only.exchange.request["target"] == "/carts/7"
        assert made.only.exchange.problem is None
        assert made.unparsed == {}

    def test_an_answer_tells_of_a_request_that_was_not_seen(self) -> None:
        one = Socket()
        made = Made().feed(self.join(one), one.send(b"some of it"), one.send(b"the rest"))
        end_ns = one.time_ns + DAY_NS
        made.feed(one.receive(REQUEST), one.send(RESPONSE))
        assert [recorded.role for recorded in made.unseen] == [Role.SERVER] * 2
        exchange = made.unseen[-1].exchange
        assert exchange.request_start.time_ns == 0
        assert exchange.response_end is not None and exchange.response_end.time_ns == end_ns

    def test_a_stream_without_end_is_no_request_for_ever(self) -> None:
        one = Socket()
        made = Made().feed(self.join(one), one.send(b"event"))
        one.time_ns += LONGEST_UNSEEN_NS + 1
        made.feed(one.send(b"event"))
        assert len(made.unseen) == 1

    def test_an_answer_to_the_target_tells_of_none(self) -> None:
        one = Socket()
        join = one.open(SocketRole.CLIENT, before=(300, 300))
        assert Made().feed(join, one.receive(b"the rest")).unseen == []

    def test_within_a_request(self) -> None:
        one = Socket()
        made = Made().feed(self.join(one), one.receive(b"rest of a body"), one.send(RESPONSE))
        made.feed(one.receive(REQUEST), one.send(RESPONSE), one.close())
        assert made.only.exchange.request["target"] == "/carts/7"
        assert made.only.exchange.problem is None

    def test_a_request_in_pieces(self) -> None:
        one = Socket()
        made = Made().feed(self.join(one), *(one.receive(bytes([byte])) for byte in REQUEST))
        made.feed(one.send(RESPONSE))
        assert made.only.exchange.problem is None

    def test_no_start_is_ever_seen(self) -> None:
        one = Socket()
        made = Made().feed(self.join(one))
        for _ in range(MOST_RESYNC_ATTEMPTS + 2):
            made.feed(one.receive(b"no start"), one.send(b"no answer"))
        made.feed(one.receive(REQUEST), one.send(RESPONSE), one.close())
        assert made.exchanges == []
        assert made.unparsed == {"joined in the middle, no message start seen": 1}

    def test_it_closes_before_one_is_seen(self) -> None:
        one = Socket()
        made = Made().feed(self.join(one), one.send(b"the last of an answer"), one.close())
        assert made.unparsed == {"joined in the middle, no message start seen": 1}

    def test_a_start_that_was_lost(self) -> None:
        """As if it had been joined: what comes behind the gap is no head."""
        one = Socket()
        made = Made().feed(serve(one), one.gap(IN, 5), one.receive(REQUEST[5:]))
        made.feed(one.send(RESPONSE), one.receive(REQUEST), one.send(RESPONSE), one.close())
        assert made.only.exchange.request["target"] == "/carts/7"
        assert made.only.exchange.problem is None

    def test_a_lost_start_holds_nothing(self) -> None:
        one = Socket()
        made = Made().feed(serve(one), one.gap(IN, 5), one.gap(OUT, 5))
        for _ in range(50):
            made.feed(one.send(bytes(10_000)))
        watch = made.watcher._watches[1]
        assert watch.undecided == []
        assert set(watch.heads.values()) == {b""}
        made.feed(one.close())
        assert sum(made.unparsed.values()) == 1


def test_requests_under_way() -> None:
    one, two = Socket(), Socket(address=2)
    made = Made().feed(serve(one), one.receive(REQUEST))
    since_ns = one.time_ns
    made.feed(two.open(), two.send(REQUEST))
    assert made.watcher.open_requests() == [OpenRequest(since_ns + DAY_NS, 1, 101, 100)]
    made.feed(one.send(RESPONSE))
    assert made.watcher.open_requests() == []


def test_who_speaks_first_decides_the_role_of_a_datagram_socket() -> None:
    one = Socket(transport=Transport.UDP)
    made = Made().feed(
        one.open(SocketRole.UNKNOWN, remote=("10.0.0.53", 53)), one.send(QUERY), one.receive(ANSWER)
    )
    assert made.finish().only.role is Role.CLIENT
