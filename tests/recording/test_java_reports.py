"""What a Java agent reports, from records made by hand to exchanges."""

from __future__ import annotations

from kebpf.capture.events import PROCESS_TAIL, Kind, ProcessChange, Transport, decode_run
from kebpf.capture.tlsevents import TLS_CODE_TAIL, Library
from kebpf.reassembly.tracker import Tracker
from kebpf.recording.model import RecordedExchange, Role
from kebpf.recording.watcher import Watcher
from tests.capture.records import Socket, make_record
from tests.reassembly.javaframes import (
    EGRESS,
    INGRESS,
    MARK,
    PLAIN,
    STARTED,
    make_report,
    make_start,
)

OWN = ("127.0.0.1", 5000)
LOCAL, REMOTE = ("10.0.0.1", 40000), ("10.0.0.2", 443)
ENDS = (LOCAL, REMOTE)
HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(253)) * 2
SECRET = b"\x17\x03\x03\x00\x40" + bytes(range(100, 164))
OTHER = b"\x17\x03\x03\x00\x40" + bytes(64)  # that nobody saw on the wire
ANSWER = b"\x17\x03\x03\x00\x40" + bytes(range(64))
REQUEST = b"GET /carts/7 HTTP/1.1\r\nHost: shop\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ncart"


class Made:
    """A watcher behind a tracker, and an agent's socket."""

    def __init__(self) -> None:
        self.exchanges: list[RecordedExchange] = []
        self.watcher = Watcher(self.exchanges.append, 0)
        self.tracker = Tracker(self.watcher)
        self.channel = Socket(0xFFFF8888AAAA0000, transport=Transport.UDP, time_ns=1_000)
        self.wire = Socket(time_ns=1_000_000)
        self.feed(self.channel.open(local=OWN, remote=OWN))

    def feed(self, *records: bytes) -> Made:
        for record in records:
            for event in decode_run(record):
                self.tracker.feed(event)
        return self

    def report(self, *frames: bytes) -> Made:
        """The agent's, later than all on the wire so far."""
        for frame in frames:
            self.feed(self.channel.send(frame))
            self.channel.time_ns = max(self.channel.time_ns, self.wire.time_ns)
        return self

    def shake_hands(self) -> Made:
        wire = self.wire
        return self.feed(
            wire.open(local=LOCAL, remote=REMOTE), wire.send(HELLO), wire.send(SECRET),
            wire.receive(ANSWER),
        )  # fmt: skip

    def finish(self) -> Made:
        self.feed(self.wire.close())
        self.tracker.finish({})
        return self


def test_a_socket_that_names_its_connection() -> None:
    made = Made().report(make_start()).shake_hands().report(
        make_report(PLAIN, REQUEST, direction=EGRESS, ends=ENDS),
        make_report(PLAIN, RESPONSE, direction=INGRESS, ends=ENDS),
    )  # fmt: skip
    (recorded,) = made.finish().exchanges
    assert (recorded.role, recorded.remote.port) == (Role.CLIENT, 443)
    assert recorded.exchange.response is not None
    assert recorded.exchange.response["body"] == b"cart"
    assert recorded.tls is not None
    assert not made.watcher.unparsed


def test_an_engine_is_found_by_its_records_whichever_come_first() -> None:
    for marks in ([SECRET], [ANSWER], [SECRET, ANSWER]):
        made = Made().report(make_start())
        if marks == [SECRET]:  # it is wrapped before it is sent
            made.report(make_report(MARK, record=SECRET[:29]))
        made.shake_hands()
        made.report(*(make_report(MARK, record=mark[:29]) for mark in marks))
        made.report(
            make_report(PLAIN, REQUEST, direction=EGRESS, record=OTHER[:29]),
            make_report(PLAIN, RESPONSE, direction=INGRESS),
        )
        (recorded,) = made.finish().exchanges
        assert recorded.exchange.problem is None


def test_a_report_that_was_lost_leaves_no_whole_exchange() -> None:
    made = Made().report(make_start()).shake_hands().report(
        make_report(PLAIN, REQUEST[:10], direction=EGRESS, ends=ENDS),
        make_report(PLAIN, REQUEST[15:], direction=EGRESS, offset=15, ends=ENDS),
        make_report(PLAIN, RESPONSE, direction=INGRESS, ends=ENDS),
    )  # fmt: skip
    made.finish()
    assert all(one.exchange.problem is not None for one in made.exchanges)


def test_without_reports_it_is_said_what_would_read_it() -> None:
    made = Made()
    head = made.wire.head(Kind.TLS_CODE)
    note = make_record(head + TLS_CODE_TAIL.pack(Library.JAVA, 0, b"Java"))
    ended = make_record(made.wire.head(Kind.PROCESS) + PROCESS_TAIL.pack(0, ProcessChange.EXIT))
    made.feed(note).shake_hands().feed(ended).finish()  # a process's end is told before theirs
    assert all(one.exchange.problem is not None for one in made.exchanges)
    (reason,) = made.watcher.unparsed
    assert "10.0.0.2:443" in reason
    assert "which only an agent reads: --java-agent" in reason


def test_a_program_may_speak_with_itself() -> None:
    made = Made().feed(Made().channel.open(local=OWN, remote=OWN))
    made.feed(made.channel.send(b"hello, me")).finish()
    (recorded,) = made.exchanges
    assert recorded.exchange.protocol == "opaque"


def test_a_damaged_report_is_counted() -> None:
    made = Made().report(make_start(), make_report(STARTED, b"nonsense"))
    made.finish()
    assert made.watcher.unparsed == {"a Java agent's report that could not be read": 1}
