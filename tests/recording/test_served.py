"""What a target serves beside HTTP: counted while it makes no calls, known once it does."""

from __future__ import annotations

from kebpf.capture.events import SocketRole, Transport, decode_run
from kebpf.protocols.base import Mark, Sender
from kebpf.reassembly.tracker import Tracker
from kebpf.recording.builder import RecordingBuilder
from kebpf.recording.model import RecordedExchange
from kebpf.recording.served import LONGEST_PAUSE_NS, Served, ServedConnection, describe_served
from kebpf.recording.watcher import Watcher
from tests.capture.records import Socket
from tests.recording.doubles import MemoryWriter

GET = b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n"
VALUE = b"$5\r\nvalue\r\n"
REQUEST = b"GET /carts/7 HTTP/1.1\r\nHost: shop\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ncart"
C, S = Sender.CLIENT, Sender.SERVER


class Made:
    """A builder behind a watcher behind a tracker, fed by records of sockets on one clock."""

    def __init__(self) -> None:
        self.exchanges: list[RecordedExchange] = []
        self.writer = MemoryWriter()
        self.builder = RecordingBuilder(self.writer, "made")
        self.watcher = Watcher(self._add, 0)
        self.tracker = Tracker(self.watcher)
        self.time_ns = 0

    def _add(self, recorded: RecordedExchange) -> None:
        self.exchanges.append(recorded)
        self.builder.add(recorded)

    def served(self, port: int) -> Socket:
        one = Socket(address=port, tid=port)
        self.feed(one, one.open(SocketRole.SERVER, ("10.0.0.1", port), ("10.0.0.9", 51000)))
        return one

    def called(self) -> Socket:
        one = Socket(address=1, tid=1)
        self.feed(one, one.open(SocketRole.CLIENT, ("10.0.0.1", 40000), ("10.0.0.2", 6379)))
        return one

    def receive(self, one: Socket, data: bytes) -> None:
        one.time_ns = self.time_ns
        self.feed(one, one.receive(data))

    def send(self, one: Socket, data: bytes) -> None:
        one.time_ns = self.time_ns
        self.feed(one, one.send(data))

    def feed(self, one: Socket, record: bytes) -> None:
        for event in decode_run(record):
            self.tracker.feed(event)
        self.time_ns = max(self.time_ns, one.time_ns)

    def finish(self) -> None:
        self.tracker.finish({})
        self.builder.finish()


def test_redis_that_is_served_is_counted_only() -> None:
    made = Made()
    for port in (6379, 6380):
        one = made.served(port)
        for _ in range(3):
            made.receive(one, GET)
            made.send(one, VALUE)
    assert made.watcher.count_served() == {"redis": (2, 2 * 3 * len(GET + VALUE))}
    made.finish()
    assert (made.exchanges, dict(made.watcher.unparsed), made.builder.stats.left_out) == (
        [],
        {},
        {},
    )


def test_http_is_parsed_beside_it() -> None:
    made = Made()
    redis, http = made.served(6379), made.served(8080)
    made.receive(redis, GET)
    made.receive(http, REQUEST)
    made.send(http, RESPONSE)
    made.finish()
    assert [one.exchange.protocol for one in made.exchanges] == ["http"]
    assert len(made.writer.cases) == 1


def test_what_is_served_after_the_first_call_is_parsed() -> None:
    made = Made()
    made.called()
    redis = made.served(6379)
    made.receive(redis, GET)
    made.send(redis, VALUE)
    (recorded,) = made.exchanges
    assert recorded.exchange.request["command"] == ["GET", "key"]
    assert made.watcher.count_served() == {}


def test_a_call_of_a_datagram_socket_wakes_too() -> None:
    made = Made()
    redis, names = made.served(6379), Socket(address=9, transport=Transport.UDP)
    made.receive(redis, GET)
    made.feed(names, names.open(SocketRole.UNKNOWN, remote=("10.0.0.53", 53)))
    assert made.watcher.open_requests() == []
    made.send(names, b"?" * 12)
    assert [one.connection for one in made.watcher.open_requests()] == [1]


def test_a_call_is_not_given_to_another_request_than_its_own() -> None:
    """The request that called began while nothing was known of any call."""
    made = Made()
    redis, http = made.served(6379), made.served(8080)
    made.receive(redis, GET)
    made.receive(http, REQUEST)
    upstream = made.called()
    assert len(made.watcher.open_requests()) == 2
    made.send(upstream, GET)
    made.receive(upstream, VALUE)
    made.send(http, RESPONSE)
    made.send(redis, VALUE)
    made.finish()
    assert len(made.writer.cases) == 1
    (mock,) = made.writer.mocks
    assert (mock.case, made.writer.cases[0].calls) == (None, [])  # of one of two: none can tell


def test_a_call_while_only_redis_was_served_belongs_to_no_case() -> None:
    made = Made()
    redis, http = made.served(6379), made.served(8080)
    made.receive(redis, GET)
    upstream = made.called()
    made.send(upstream, GET)
    made.receive(upstream, VALUE)
    made.send(redis, VALUE)
    made.receive(http, REQUEST)
    made.send(http, RESPONSE)
    made.finish()
    assert made.writer.cases[0].calls == []


class TestTurns:
    def make(self) -> ServedConnection:
        return ServedConnection("redis", Served())

    def test_asleep_it_gives_nothing(self) -> None:
        one = self.make()
        for number in range(3):
            assert one.receive_data(C, b"ask", Mark(10 * number)) == []
            assert one.receive_data(S, b"say", Mark(10 * number + 5)) == []
        assert (one.open_since, one.held_since, one.finish(Mark(99))) == (None, None, [])

    def test_a_turn_lasts_to_the_last_answer_before_the_next(self) -> None:
        one = self.make()
        one.receive_data(C, b"ask", Mark(1, 7))
        one.wake()
        assert one.open_since == Mark(1, 7)
        one.receive_data(C, b"and ask", Mark(2))
        one.receive_data(S, b"say", Mark(3))
        assert one.held_since == Mark(1, 7)
        one.receive_gap(S, 5, Mark(4))
        (exchange,) = one.receive_data(C, b"ask", Mark(5))
        assert (exchange.request_start, exchange.response_end) == (Mark(1, 7), Mark(4))
        (exchange,) = one.finish(Mark(9))
        assert (exchange.request_start, exchange.response_end) == (Mark(5), Mark(9))

    def test_silence_ends_an_answered_turn(self) -> None:
        one = self.make()
        one.wake()
        one.receive_data(C, b"ask", Mark(1))
        assert one.release_idle(Mark(LONGEST_PAUSE_NS + 2)) == []
        one.receive_data(S, b"say", Mark(2))
        assert one.release_idle(Mark(LONGEST_PAUSE_NS + 1)) == []
        (exchange,) = one.release_idle(Mark(LONGEST_PAUSE_NS + 2))
        assert exchange.response_end == Mark(2)
        assert one.held_since is None

    def test_the_server_s_end_ends_it(self) -> None:
        one = self.make()
        one.wake()
        one.receive_data(C, b"ask", Mark(1))
        assert one.receive_eof(C, Mark(2)) == []
        assert len(one.receive_eof(S, Mark(3))) == 1


def test_the_sentence() -> None:
    assert describe_served("redis", 12, 84_233_112) == (
        "12 connections served redis (84,233,112 bytes, only counted): only HTTP makes test cases"
    )
