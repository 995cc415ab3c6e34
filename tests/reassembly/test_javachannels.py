"""Which sockets are an agent's, and whose connection its reports are of."""

from __future__ import annotations

import pytest

from kebpf.capture.events import Open, Transport, decode_run
from kebpf.capture.tlsevents import Plain
from kebpf.reassembly.connection import Connection
from kebpf.reassembly.javachannels import JavaChannels
from kebpf.reassembly.javareports import ReportError
from kebpf.reassembly.stream import Piece
from tests.capture.records import Socket
from tests.reassembly.javaframes import PLAIN, make_report, make_start

OWN = ("127.0.0.1", 5000)
ENDS = (("10.0.0.1", 40000), ("10.0.0.2", 443))


def make_connection(number: int, socket: Socket, *ends: tuple[str, int]) -> Connection:
    (event,) = decode_run(socket.open(local=ends[0], remote=ends[1]))
    assert isinstance(event, Open)
    return Connection(number, event, event.role)


def make_channel(pid: int = 100) -> Connection:
    return make_connection(1, Socket(transport=Transport.UDP, pid=pid), OWN, OWN)


def make_piece(data: bytes | None) -> Piece:
    return Piece(0, 1, 5_000, 12, data)


def test_only_a_report_makes_a_socket_an_agents() -> None:
    channels, channel = JavaChannels(), make_channel()
    assert channels.begins(channel, make_piece(make_start()))
    assert not channels.begins(channel, make_piece(b"a program's own datagram"))
    assert not channels.begins(channel, make_piece(None))
    other = make_connection(2, Socket(), *ENDS)
    assert not channels.begins(other, make_piece(make_start()))


def test_reports_are_of_the_connection_that_has_these_ends_now() -> None:
    channels, channel = JavaChannels(), make_channel()
    first, second = (make_connection(number, Socket(), *ENDS) for number in (2, 3))
    found = []
    for size, step in enumerate((first, second)):
        channels.open_connection(step)
        report = make_report(PLAIN, b"x", offset=size, ends=ENDS)
        found += channels.take(channel, make_piece(report))
    channels.close_connection(first)  # late: another has its ends already
    found += channels.take(channel, make_piece(make_report(PLAIN, b"x", offset=2, ends=ENDS)))
    channels.close_connection(second)
    found += channels.take(channel, make_piece(make_report(PLAIN, b"x", offset=3, ends=ENDS)))
    assert [connection for _, connection in found] == [first, second, second, None]
    assert all(isinstance(event, Plain) and event.data == b"x" for event, _ in found)


def test_processes_are_apart_and_forgotten() -> None:
    channels = JavaChannels()
    one, other = make_channel(100), make_channel(200)
    report = make_piece(make_report(PLAIN, b"abc"))
    events = [event for each in (one, other) for event, _ in channels.take(each, report)]
    assert [event.head.pid for event in events] == [100, 200]
    assert all(isinstance(event, Plain) and event.offset == 0 for event in events)
    channels.forget_process(100)
    ((event, _),) = channels.take(one, report)
    assert isinstance(event, Plain)
    assert event.data == b"abc"


def test_damage_is_said_so() -> None:
    with pytest.raises(ReportError):
        JavaChannels().take(make_channel(), make_piece(make_start()[:20]))
