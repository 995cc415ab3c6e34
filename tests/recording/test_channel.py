"""Messages between recorder and assembler: all arrive, whole and as they were."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from kebpf.recording.channel import (
    Begin,
    Channel,
    ChannelClosedError,
    Drain,
    Failed,
    Finish,
    Message,
    Prepare,
    Prepared,
    Report,
)
from kebpf.recording.progress import Progress

Ends = tuple[Channel, Channel]


@pytest.fixture
def ends() -> Iterator[Ends]:
    ours, theirs = (Channel(end) for end in socket.socketpair())
    yield ours, theirs
    ours.close()
    theirs.close()


MESSAGES: list[Message] = [
    Prepare("a folder\n", "näme", events="log"),
    Prepared(["one", "two"]),
    Begin({"clock_offset_ns": 1, "pids": [2]}),
    Report(),
    Drain(),
    Finish(1.5, 2, 3),
    Failed("test set", "it \\ is so", 3),
    Progress(requests=7, left_out={"why": 1}),
]


def test_each_arrives_as_it_was_sent(ends: Ends) -> None:
    for message in MESSAGES:
        ends[0].send(message)
    assert [ends[1].receive() for _ in MESSAGES] == MESSAGES
    assert ends[1].receive(0) is None


def test_one_that_is_larger_than_the_sockets_buffer(ends: Ends) -> None:
    moved = [(1 << 63, number, 3, 4, 5, 6) for number in range(50_000)]
    child = os.fork()
    if child == 0:
        ends[0].send(Finish(0.0, 0, 0, moved))
        os._exit(0)
    message = ends[1].receive()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert isinstance(message, Finish)
    assert [tuple(one) for one in message.moved] == moved


def test_half_a_message_is_none(ends: Ends) -> None:
    ours, theirs = socket.socketpair()
    channel = Channel(theirs)
    with ours:
        ours.sendall(b'["Report"')
        assert channel.receive(0) is None
        ours.sendall(b", {}]\n")
        assert channel.receive() == Report()
    with pytest.raises(ChannelClosedError):
        channel.receive()
    channel.close()


def test_a_closed_end(ends: Ends) -> None:
    ends[0].send(Drain())
    ends[0].close()
    assert ends[1].receive() == Drain()
    with pytest.raises(ChannelClosedError):
        ends[1].receive(0)
    with pytest.raises(ChannelClosedError):
        ends[1].send(Report())
