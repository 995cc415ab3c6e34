"""Connections that are not read, or not parsed: what is known of them all the same."""

from __future__ import annotations

import struct

import pytest

from kebpf.capture.events import Direction, Kind, Transport
from kebpf.capture.tlsevents import Library
from kebpf.capture.tlswatch import make_note
from kebpf.recording.model import Role, Tls
from kebpf.recording.unread import UNREAD
from kebpf.recording.watcher import HTTP2, LONGEST_UNREAD_NS, MOST_RESYNC_ATTEMPTS
from tests.capture.records import Socket, make_record
from tests.recording.test_watcher import (
    DAY_NS,
    IN,
    OUT,
    REDIS_GET,
    REQUEST,
    RESPONSE,
    Made,
    serve,
)

TLS_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(506)
TLS_DATA = b"\x17\x03\x03\x00\x20" + bytes(32)


def record_of(size: int) -> bytes:
    """A record of TLS 1.3 with so much plaintext (RFC 8446, section 5.2)."""
    return b"\x17\x03\x03" + (size + 17).to_bytes(2, "big") + bytes(size + 17)


class PlainSession:
    """A TLS session's events, as the probes give them."""

    def __init__(self) -> None:
        self.moved = [0, 0]

    def code(self) -> bytes:
        """From the beginning on its library's calls are seen."""
        note = bytearray(make_note(100, Library.OPENSSL, True, "OpenSSL 9"))
        struct.pack_into("<Q", note, 8, 1)
        return bytes(note)

    def send(self, data: bytes, on: Socket) -> bytes:
        return self._move(OUT, data, on)

    def receive(self, data: bytes, on: Socket) -> bytes:
        return self._move(IN, data, on)

    def _move(self, direction: Direction, data: bytes, on: Socket) -> bytes:
        offset = self.moved[direction]
        self.moved[direction] += len(data)
        tail = struct.pack("<QQQIIIIQ", 0x1000, 5, offset, len(data), len(data), 0, 0, 0)
        return make_record(on.head(Kind.PLAIN, direction) + tail + data)


class TestEncrypted:
    """TLS is counted, and nothing of it becomes an exchange."""

    REASON = (
        "encrypted (TLS) and not read: {} (no TLS library that can be watched was found in shop)"
    )

    @pytest.mark.parametrize("size", [1, 2, 3, 5, 500])
    def test_from_its_start(self, size: int) -> None:
        one = Socket()
        made = Made().feed(one.open(), one.send(TLS_HELLO[:size]), one.send(TLS_HELLO[size:]))
        made.feed(one.receive(TLS_DATA), one.send(TLS_DATA), one.close())
        assert [one.exchange.problem for one in made.finish().exchanges] == [UNREAD]
        assert made.unparsed == {self.REASON.format("10.0.0.2:80"): 1}

    def test_that_the_target_serves(self) -> None:
        one = Socket()
        made = Made().feed(serve(one), one.receive(TLS_HELLO), one.send(TLS_DATA), one.close())
        assert made.exchanges == []
        assert made.unparsed == {self.REASON.format("clients of port 8080"): 1}

    def test_from_its_middle(self) -> None:
        one = Socket()
        made = Made().feed(
            one.open(before=(500, 500)), one.receive(TLS_DATA), one.send(TLS_DATA), one.close()
        )
        (unread,) = made.exchanges
        assert (unread.exchange.problem, unread.exchange.request_start.tid) == (UNREAD, 101)
        assert made.unparsed == {self.REASON.format("10.0.0.2:80"): 1}

    def test_each_question_asked_in_secret_keeps_its_case_out(self) -> None:
        """As soon as it is certain that its plaintext does not come."""
        one = Socket()
        made = Made().feed(one.open(), one.send(TLS_HELLO))
        starts = []
        for _ in range(2):
            made.feed(one.send(TLS_DATA), one.send(TLS_DATA))
            starts.append(one.time_ns - 1000)
            made.feed(one.receive(TLS_DATA))
        first_ns = DAY_NS + starts[0]
        assert made.watcher.settle(first_ns + LONGEST_UNREAD_NS - 1) == first_ns
        assert made.exchanges == []
        made.watcher.settle(first_ns + LONGEST_UNREAD_NS)
        found = [one.exchange.request_start.time_ns - DAY_NS for one in made.exchanges]
        assert found == starts
        made.feed(one.send(TLS_DATA), one.close()).finish()
        assert [one.exchange.problem for one in made.exchanges] == [UNREAD] * 3

    def test_whoever_wants_nothing_read_is_told_so(self) -> None:
        one, made = Socket(), Made()
        made.watcher.unread.is_off = True
        made.feed(one.open(), one.send(TLS_HELLO), one.send(TLS_DATA), one.close()).finish()
        assert made.unparsed == {"encrypted (TLS) and not read: 10.0.0.2:80 (--no-tls)": 1}

    def test_nothing_is_said_of_greetings_alone(self) -> None:
        one, made = Socket(), Made()
        made.feed(one.open(), one.send(TLS_HELLO), one.close()).finish()
        assert (made.unparsed, made.exchanges) == ({}, [])

    def test_what_is_read_is_no_secret(self) -> None:
        """Plaintext by its connection's socket; its protocol is found in it."""
        one, session = Socket(), PlainSession()
        made = Made().feed(session.code(), one.open(), one.send(TLS_HELLO), one.send(TLS_DATA))
        made.feed(session.send(REQUEST, one), one.receive(TLS_DATA))
        made.feed(session.receive(RESPONSE, one), one.close()).finish()
        found = made.only
        assert (found.exchange.request["target"], found.exchange.problem) == ("/carts/7", None)
        assert found.tls == Tls("", "", "")
        assert made.unparsed == {}

    def test_an_answer_whose_read_began_before_is_a_gap(self) -> None:
        """Such a call is not seen to end: the next answer is not taken for its."""
        one, session = Socket(), PlainSession()
        made = Made().feed(session.code(), one.open(before=(500, 500)))
        for number in range(3):
            made.feed(one.send(TLS_DATA), session.send(REQUEST, one), one.receive(TLS_DATA))
            if number:
                made.feed(session.receive(RESPONSE, one))
        made.feed(one.close()).finish()
        problems = [one.exchange.problem for one in made.exchanges]
        assert problems[0] == "an unknown number of bytes of the response were lost"
        assert problems[-1] is None

    @pytest.mark.parametrize("size", [20, 40_000])
    def test_answers_that_are_not_read_are_gaps_each(self, size: int) -> None:
        """Until the first that is: of many Writes the Reads may be seen to begin later."""
        one, session = Socket(), PlainSession()
        made = Made().feed(session.code(), one.open(before=(500, 500)))
        for number in range(5):
            made.feed(one.send(TLS_DATA), session.send(REQUEST, one))
            made.feed(*[one.receive(TLS_DATA)] * (size // 20 if number < 3 else 1))
            if number > 2:
                made.feed(session.receive(RESPONSE, one))
        made.feed(one.close()).finish()
        lost = "an unknown number of bytes of the response were lost"
        assert [one.exchange.problem for one in made.exchanges] == [lost] * 4 + [None]
        assert made.unparsed == {}

    def test_the_rest_of_an_answer_whose_beginning_was_not_read_is_no_answer(self) -> None:
        """A Read that was under way when the probes were put took the beginning."""
        one, session = Socket(), PlainSession()
        answer = b"$40\r\n" + b"x" * 20 + b"+OK\r\n" + b"y" * 15 + b"\r\n"
        made = Made().feed(session.code(), one.open(before=(500, 500)))
        made.feed(session.send(REDIS_GET, one), one.send(record_of(len(REDIS_GET))))
        made.feed(one.receive(record_of(len(answer))), session.receive(answer[25:], one))
        made.feed(session.send(REDIS_GET, one), one.send(record_of(len(REDIS_GET))))
        made.feed(one.receive(record_of(len(answer))), session.receive(answer, one))
        first, second = (one.exchange for one in made.feed(one.close()).finish().exchanges)
        assert first.problem == "replies were lost"
        assert second.problem is None
        assert second.response is not None
        assert second.response["reply"]["value"] == answer[5:-2].decode()

    def test_a_brief_program_that_began_before_its_probes_keeps_its_case_out(self) -> None:
        """Its question was not read, and its answer alone says nothing."""
        one, session = Socket(), PlainSession()
        made = Made().feed(one.open(), one.send(TLS_HELLO), one.send(TLS_DATA), one.send(TLS_DATA))
        made.feed(make_note(100, Library.OPENSSL, True, "OpenSSL 9"), one.receive(TLS_DATA))
        made.feed(session.receive(RESPONSE, one), one.close()).finish()
        assert [one.exchange.problem for one in made.exchanges] == [UNREAD]
        assert made.unparsed == {"joined in the middle, no message start seen": 1}

    def test_http_2_is_opaque_and_said_to_be_so(self) -> None:
        one, session = Socket(), PlainSession()
        made = Made().feed(session.code(), serve(one), one.receive(TLS_HELLO))
        preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        made.feed(session.receive(preface, one), session.send(b"\0\0\0\4\0", one), one.close())
        assert made.watcher.count_served() == {HTTP2: (1, len(preface) + 5)}

    def test_a_first_byte_that_only_looks_like_it(self) -> None:
        one = Socket()
        made = Made().feed(one.open(), one.send(b"\x16"), one.receive(b"ok"), one.close())
        assert made.only.exchange.protocol == "opaque"
        assert made.unparsed == {}


class TestUnparsed:
    """What the target asks where nothing is parsed is known to have been asked."""

    PIPELINED = "requests were pipelined around a loss, so responses can no longer be paired"

    def problems(self, made: Made) -> list[tuple[int, str | None]]:
        """By when they were asked."""
        found = [one.exchange for one in made.exchanges if one.role is Role.CLIENT]
        return [(one.request_start.time_ns - DAY_NS, one.problem) for one in found]

    @pytest.mark.parametrize("is_secret", [False, True])
    def test_each_question_on_a_connection_that_was_given_up(self, is_secret: bool) -> None:
        one, session = Socket(), PlainSession()
        made = Made().feed(session.code(), one.open(before=(500, 500)))

        def ask() -> int:
            if is_secret:
                made.feed(session.send(REQUEST, one))
            made.feed(one.send(record_of(len(REQUEST)) if is_secret else REQUEST))
            return one.time_ns

        def answer() -> None:
            made.feed(one.receive(record_of(len(RESPONSE)) if is_secret else RESPONSE))
            if is_secret:
                made.feed(session.receive(RESPONSE, one))

        ask()
        ask()
        answer()
        assert made.unparsed == {self.PIPELINED: 1}
        given_up = len(made.exchanges)
        asked = []
        for _ in range(3):
            asked.append(ask())
            answer()
        made.feed(one.close()).finish()
        assert self.problems(made)[given_up:] == [(when, self.PIPELINED) for when in asked]

    def test_each_question_in_a_protocol_that_is_not_known(self) -> None:
        """Also before it is given up."""
        one, asked = Socket(), []
        made = Made().feed(one.open(before=(500, 500)))
        for _ in range(MOST_RESYNC_ATTEMPTS + 2):
            made.feed(one.send(b"\0 question"))
            asked.append(one.time_ns)
            made.feed(one.receive(b"\0 answer"))
        problem = "joined in the middle, no message start seen"
        assert self.problems(made.finish()) == [(when, problem) for when in asked]
        assert made.unparsed == {problem: 1}

    def test_what_is_never_answered_is_no_question(self) -> None:
        """A service's standard output may be a connection to the host's journal."""
        one = Socket(transport=Transport.UNIX_STREAM)
        journal = (b"", b"/run/systemd/journal/stdout")
        made = Made().feed(one.open(remote=("0.0.0.0", 0), paths=journal, before=(0, 500)))
        made.feed(*[one.send(b"a line\n") for _ in range(100)]).finish()
        assert made.exchanges == []

    def test_what_may_have_been_a_start_when_the_answer_came(self) -> None:
        one = Socket()
        made = Made().feed(one.open(before=(500, 500)), one.send(b"GE"), one.receive(b"\0"))
        made.feed(one.send(REQUEST), one.receive(RESPONSE), one.close())
        first, second = made.finish().exchanges
        assert first.exchange.problem == "joined in the middle, no message start seen"
        assert (second.exchange.request["target"], second.exchange.problem) == ("/carts/7", None)
