"""Reports of a Java agent, from literal bytes: whole, lost in parts, and damaged."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import kebpf.capture
from kebpf.capture.events import Direction, Open, decode_run
from kebpf.capture.tlsevents import Library, Mark, Plain, TlsCode
from kebpf.reassembly import javareports
from kebpf.reassembly.javareports import JavaReports, Report, ReportError, is_channel, is_report
from kebpf.reassembly.stream import Piece
from tests.capture.records import Socket
from tests.reassembly.javaframes import (
    EGRESS,
    END,
    INGRESS,
    MARK,
    PLAIN,
    STARTED,
    make_report,
    make_start,
)

PID = 4711
RECORD = b"\x17\x03\x03\x00\x40" + bytes(range(24))


def make_piece(data: bytes | None) -> Piece:
    return Piece(0, len(data or b""), 5_000, 12, data)


def take(*frames: bytes) -> list[Report]:
    reports = JavaReports(PID)
    return [one for frame in frames for one in reports.take(make_piece(frame))]


def test_a_start_says_that_a_process_is_read() -> None:
    (report,) = take(make_start())
    assert isinstance(report.event, TlsCode)
    assert (report.event.library, report.event.is_read) == (Library.JAVA, True)
    assert (report.event.head.pid, report.event.head.time_ns) == (PID, 5_000)


def test_an_agent_that_changed_nothing_reads_nothing() -> None:
    (report,) = take(make_start(changed=0))
    assert isinstance(report.event, TlsCode)
    assert not report.event.is_read


def test_plaintext_is_that_of_its_thread_and_time_and_names_the_connection() -> None:
    ends = (("10.0.0.1", 40000), ("10.0.0.2", 443))
    (report,) = take(make_report(PLAIN, b"GET /", ends=ends))
    assert report.ends == ends
    plain = report.event
    assert isinstance(plain, Plain)
    assert (plain.data, plain.offset, plain.head.direction) == (b"GET /", 0, Direction.EGRESS)
    assert (plain.key, plain.head.tid, plain.head.time_ns) == ((PID, 7, 0), 12, 5_000)


def test_addresses_are_written_as_those_of_connections() -> None:
    ends = ("::ffff:10.0.0.1", 1), ("2001:db8:0:0:0:0:0:1", 65535)
    (report,) = take(make_report(PLAIN, b"x", ends=ends))
    assert report.ends == (("10.0.0.1", 1), ("2001:db8::1", 65535))


def test_the_record_that_carries_plaintext_comes_before_it() -> None:
    events = [one.event for one in take(make_report(PLAIN, b"GET /", record=RECORD))]
    assert [type(one) for one in events] == [Mark, Plain]
    assert isinstance(events[0], Mark)
    assert events[0].data == RECORD


def test_a_record_alone_is_a_mark_of_as_many_bytes_as_it_had() -> None:
    (report,) = take(make_report(MARK, record=RECORD[:12]))
    assert isinstance(report.event, Mark)
    assert report.event.data == RECORD[:12]


@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 50), st.booleans()), max_size=30),
    st.booleans(),
)
def test_whatever_is_lost_what_comes_is_in_its_place_and_the_rest_is_told(
    sent: list[tuple[bool, int, bool]], with_end: bool
) -> None:
    """The oracle is the list of what was sent; ``is_lost`` frames never come."""
    reports, positions = JavaReports(PID), [0, 0]
    reports.take(make_piece(make_start()))
    wanted: tuple[list[int], list[int]] = ([], [])
    got: tuple[list[int], list[int]] = ([], [])
    events: list[Report] = []
    for number, (is_out, size, is_lost) in enumerate(sent):
        frame = make_report(
            PLAIN, bytes([number]) * size, direction=int(is_out), offset=positions[is_out]
        )
        positions[is_out] += size
        wanted[is_out].extend([-1 if is_lost else number] * size)
        events += [] if is_lost else reports.take(make_piece(frame))
    for direction in Direction if with_end else ():
        frame = make_report(END, direction=direction, offset=positions[direction])
        events += reports.take(make_piece(frame))
    for one in events:
        assert isinstance(one.event, Plain)
        place = got[one.event.head.direction]
        assert one.event.offset == len(place)
        place.extend([-1] * one.event.size if one.event.data is None else list(one.event.data))
    for direction in Direction:
        known, all_sent = got[direction], wanted[direction]
        assert known == all_sent[: len(known)]
        assert all(one == -1 for one in all_sent[len(known) :])
        assert not with_end or known == all_sent
    assert reports.lost_size == sum(part.count(-1) for part in got)


def test_bytes_of_several_threads_at_once_are_in_no_known_order() -> None:
    (report,) = take(make_report(PLAIN, b"ab", flags=1))
    assert isinstance(report.event, Plain)
    assert (report.event.data, report.event.size) == (None, 2)


def test_sessions_and_directions_are_counted_apart() -> None:
    reports = take(
        make_report(PLAIN, b"abc", session=1),
        make_report(PLAIN, b"def", session=2),
        make_report(PLAIN, b"ghi", session=1, direction=INGRESS),
    )
    assert [one.event.data for one in reports if isinstance(one.event, Plain)] == [
        b"abc", b"def", b"ghi",
    ]  # fmt: skip


def test_a_session_older_than_the_recording_begins_where_it_is_first_seen() -> None:
    first, gap, second = take(
        make_report(PLAIN, b"abc", offset=100), make_report(PLAIN, b"def", offset=105)
    )
    events = [one.event for one in (first, gap, second)]
    assert [(one.offset, one.data) for one in events if isinstance(one, Plain)] == [
        (0, b"abc"), (3, None), (5, b"def"),
    ]  # fmt: skip


def test_after_a_new_start_all_is_counted_anew() -> None:
    (_, _, _, again) = take(
        make_start(), make_report(PLAIN, b"abc"), make_start(), make_report(PLAIN, b"abc")
    )
    assert isinstance(again.event, Plain)
    assert (again.event.offset, again.event.data) == (0, b"abc")


def test_sessions_used_least_lately_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes of them then is in no place that is known."""
    monkeypatch.setattr(javareports, "MOST_SESSIONS", 2)
    frames = [make_report(PLAIN, b"ab", session=session) for session in (1, 2)]
    frames += [make_report(PLAIN, b"cd", session=session, offset=2) for session in (1, 3, 1, 2)]
    events = [one.event for one in take(make_start(), *frames)]
    gaps = [one.session for one in events if isinstance(one, Plain) and one.data is None]
    assert gaps == [3, 2]


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        make_start()[:79],
        make_report(PLAIN, b"abc", magic=b"kebpfJS\x02"),
        make_report(PLAIN, b"abc", size=4),
        make_report(PLAIN, b"abc", direction=2),
        make_report(PLAIN, b"abc", record=bytes(46)),
        make_report(STARTED, b"\xff"),
        make_report(STARTED, b"17"),
    ],
)
def test_damage_is_said_so(frame: bytes) -> None:
    with pytest.raises(ReportError):
        take(frame)


@given(st.lists(st.tuples(st.integers(0, 110), st.integers(0, 255)), max_size=6), st.binary())
def test_garbage_gives_reports_or_an_error_and_nothing_else(
    changes: list[tuple[int, int]], tail: bytes
) -> None:
    ends = (("10.0.0.1", 80), ("10.0.0.2", 81))
    frame = bytearray(make_report(PLAIN, b"abc", ends=ends) + tail)
    for place, value in changes:
        frame[place % len(frame)] = value
    with contextlib.suppress(ReportError):
        take(bytes(frame))


def test_what_was_lost_and_what_a_later_agent_says_is_passed_over() -> None:
    assert JavaReports(PID).take(make_piece(None)) == []
    assert take(make_report(99, b"news")) == []


def open_socket(transport: int, local: tuple[str, int], remote: tuple[str, int]) -> Open:
    made = Socket(transport=transport).open(local=local, remote=remote)
    (event,) = decode_run(made)
    assert isinstance(event, Open)
    return event


@pytest.mark.parametrize(
    ("transport", "local", "remote", "is_one"),
    [
        (2, ("127.0.0.1", 5000), ("127.0.0.1", 5000), True),
        (2, ("127.0.0.1", 5000), ("127.0.0.1", 5001), False),
        (2, ("10.0.0.1", 5000), ("10.0.0.1", 5000), False),
        (2, ("0.0.0.0", 0), ("0.0.0.0", 0), False),
        (1, ("127.0.0.1", 5000), ("127.0.0.1", 5000), False),
    ],
)
def test_a_channel_is_a_loopback_socket_that_speaks_with_itself(
    transport: int, local: tuple[str, int], remote: tuple[str, int], is_one: bool
) -> None:
    assert is_channel(open_socket(transport, local, remote)) is is_one


def test_a_report_is_known_by_how_it_begins() -> None:
    assert is_report(make_start())
    assert not is_report(b"kebpfJS\x02" + bytes(100))


def test_the_layout_is_that_of_the_agent() -> None:
    """Numbers that both sides must have, read off the agent's source."""
    source = Path(kebpf.capture.__path__[0], "java/sun/security/ssl/KebpfSender.java").read_text()
    assert "STARTED = 1, PLAIN = 2, MARK = 3, END = 4;" in source
    assert f"0x{javareports.MAGIC.hex()}L" in source
    assert f"RECORD_SIZE = {javareports.RECORD_SIZE}" in source
    assert f"HEAD_SIZE = {javareports.HEAD.size}" in source
    assert EGRESS == Direction.EGRESS
