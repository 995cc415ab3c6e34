"""Where the memory of a socket is another's by now, the entry of the first counts no bytes."""

from __future__ import annotations

import os
import signal
import socket
import struct
from collections.abc import Callable, Iterator

import pytest

from kebpf.capture.events import Transport
from kebpf.capture.probes import Probes
from kebpf.kernel.bpf import Map
from tests.capture.doors import DOORS
from tests.capture.peers import read_all, stream_peer
from tests.capture.tap import tap

Change = Callable[[list[int]], None]

pytestmark = pytest.mark.kernel

CONNECTION = struct.Struct("=QQQQQQQQIIIIIIII")  # struct connection of bpf/maps.h
INODE, BASES, TRANSPORT = 1, slice(8, 10), 10


@pytest.fixture(params=DOORS)
def probes(request: pytest.FixtureRequest) -> Iterator[Probes]:
    made = Probes(request.param)
    made.attach()
    yield made
    made.close()


def of_another_stream(fields: list[int]) -> None:
    fields[BASES] = [(one + 200_177_572) % 2**32 for one in fields[BASES]]


def of_an_earlier_stream(fields: list[int]) -> None:
    fields[BASES] = [(one - 200_177_572) % 2**32 for one in fields[BASES]]


def of_a_unix_socket(fields: list[int]) -> None:
    fields[INODE] += 1
    fields[BASES] = [0, 0]
    fields[TRANSPORT] = Transport.UNIX_STREAM


def of_itself(fields: list[int]) -> None:
    pass


@pytest.mark.parametrize(
    "change", [of_itself, of_another_stream, of_an_earlier_stream, of_a_unix_socket]
)
def test_only_what_the_life_moved_is_told(probes: Probes, change: Change) -> None:
    def serve(sock: socket.socket, into: bytearray) -> None:
        sock.sendall(b"yes so")
        into += sock.recv(len(b"before after"), socket.MSG_WAITALL)
        sock.sendall(b"answer")
        read_all(sock, into)

    with stream_peer(serve) as peer, tap(probes, "talk_on", peer.port) as held:
        assert held.read_line() == "ready"
        held.start()
        while [one.moved for one in probes.open_connections()] != [(6, 5)]:
            held.drain()
        entries = Map(probes._loaded.maps["connections"], 8, CONNECTION.size)
        [(key, value)] = entries.items()
        fields = list(CONNECTION.unpack(value))
        change(fields)
        entries[key] = CONNECTION.pack(*fields)
        os.kill(held.pid, signal.SIGKILL)
        capture = held.finish(status=-signal.SIGKILL, closed=1)
        assert list(entries.items()) == []
    assert [close.moved for close in capture.closes] == [(6, 5)]


def test_an_entry_that_could_not_be_removed_has_no_second_end(probes: Probes) -> None:
    with tap(probes, "talk_to_self") as held:
        held.start()
        held.finish()
    lives = probes.untold_lives()
    assert len(lives) == 2
    entries = Map(probes._loaded.maps["connections"], 8, CONNECTION.size)
    for key, value in list(entries.items()):
        fields = list(CONNECTION.unpack(value))
        fields[TRANSPORT] = 0
        entries[key] = CONNECTION.pack(*fields)
    for life in lives:
        probes.end_life(life)
    assert list(entries.items()) == []
    assert not probes.ring.drain()
