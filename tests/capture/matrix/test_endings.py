"""Sockets whose end no tracepoint tells: their lives are ended, and nothing of them is missed."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kebpf.capture.endings import EndWatch
from kebpf.capture.events import Close
from kebpf.capture.probes import Probes
from tests.capture.doors import DOORS
from tests.capture.matrix.accounts import assert_whole
from tests.capture.peers import datagram_peer, read_all, stream_peer
from tests.capture.tap import Tap, tap_command

pytestmark = pytest.mark.kernel

SHORT_LIVES = Path(__file__).with_name("short_lives.py")
ROOM = 16  # connections at a time


@pytest.fixture(params=DOORS)
def narrow_probes(request: pytest.FixtureRequest) -> Iterator[Probes]:
    """With room for few connections."""
    made = Probes(request.param, ring_size=8 << 20, connections=ROOM)
    made.attach()
    yield made
    made.close()


def command(*words: object) -> list[str]:
    return [sys.executable, "-I", *map(str, (SHORT_LIVES, *words))]


def run_rounds(probes: Probes, held: Tap, rounds: int) -> None:
    """Looks twice after each round of the program's, all of whose sockets are closed then."""
    now = 0.0
    watch = EndWatch(probes, clock=lambda: now)
    held.start()
    for _ in range(rounds):
        assert held.read_line() == "round"
        for _ in range(2):
            now += 10.0
            watch.look()
        held.drain()
        held.go_on()


def test_many_short_unix_connections(narrow_probes: Probes, tmp_path: Path) -> None:
    """Ten times as many as there is room for."""
    place, rounds = str(tmp_path / "s"), 20

    def serve(sock: socket.socket, into: bytearray) -> None:
        read_all(sock, into)
        sock.sendall(bytes(into) * 2)

    with (
        stream_peer(serve, count=rounds * ROOM // 2, path=place) as peer,
        tap_command(narrow_probes, command("connections", place, rounds, ROOM // 2)) as held,
    ):
        run_rounds(narrow_probes, held, rounds)
        capture = held.finish()
    assert narrow_probes.counts()["unfollowed_bytes"] == 0
    assert len(capture.connections) == len(peer.received) == rounds * ROOM // 2
    by_egress = {seen.egress: seen for seen in capture.connections}
    for sent in map(bytes, peer.received):
        assert_whole(capture, by_egress[sent], sent, sent * 2)
        assert by_egress[sent].connection.is_closed
        assert not by_egress[sent].connection.is_joined
    assert narrow_probes.untold_lives() == []
    ends = [close.head.connection for close in capture.closes]
    assert len(ends) == len(set(ends)) == len(capture.connections)


def test_many_pairs(narrow_probes: Probes) -> None:
    rounds = 10
    with tap_command(narrow_probes, command("pairs", rounds, ROOM // 2)) as held:
        run_rounds(narrow_probes, held, rounds)
        capture = held.finish()
    assert narrow_probes.counts()["unfollowed_bytes"] == 0
    sent = [f"pair {number}".encode() for number in range(rounds * ROOM // 2)]
    assert sorted(seen.egress for seen in capture.connections if seen.egress) == sorted(sent)
    assert sorted(seen.ingress for seen in capture.connections if seen.ingress) == sorted(sent)
    assert len(capture.closes) == 2 * len(sent)


def test_many_datagram_sockets(narrow_probes: Probes) -> None:
    rounds = 10
    count = rounds * ROOM // 2
    with (
        datagram_peer("127.0.0.1", count) as peer,
        tap_command(narrow_probes, command("datagrams", peer.port, rounds, ROOM // 2)) as held,
    ):
        run_rounds(narrow_probes, held, rounds)
        capture = held.finish()
    assert narrow_probes.counts()["unfollowed_bytes"] == 0
    assert sorted(seen.egress for seen in capture.connections) == sorted(map(bytes, peer.received))
    assert {seen.ingress for seen in capture.connections} == {b"answer"}
    assert len(capture.closes) == len(capture.connections) == count


def test_a_socket_that_comes_back_was_joined(narrow_probes: Probes) -> None:
    """It waits in a message, in nobody's hands: a life ends, and the next begins in its middle."""
    with tap_command(narrow_probes, command("lend")) as held:
        run_rounds(narrow_probes, held, 1)
        capture = held.finish()
    lives = [seen for seen in capture.connections if b"here" in seen.egress]
    assert [seen.egress for seen in lives] == [b"before it is here", b"and here again"]
    assert [seen.connection.is_joined for seen in lives] == [False, True]
    assert len({seen.connection.opened.inode for seen in lives}) == 1


def test_a_socket_held_by_another_target_goes_on(narrow_probes: Probes) -> None:
    with tap_command(narrow_probes, command("inherit")) as held:
        run_rounds(narrow_probes, held, 1)
        capture = held.finish()
    assert [seen.egress for seen in capture.connections if seen.egress] == [b"the parent the child"]


def test_an_end_is_of_one_life(narrow_probes: Probes) -> None:
    """Of an entry that is another's by now, nothing is removed."""
    with tap_command(narrow_probes, command("pairs", 1, 1)) as held:
        held.start()
        assert held.read_line() == "round"
        lives = narrow_probes.untold_lives()
        assert len(lives) == 2
        first = lives[0]
        narrow_probes.end_life(type(first)(first.socket, first.generation + 1, first.inode))
        assert narrow_probes.untold_lives() == lives
        narrow_probes.end_life(first)
        narrow_probes.end_life(first)
        assert narrow_probes.untold_lives() == lives[1:]
        held.go_on()
        capture = held.finish()
    assert [close.head.generation for close in capture.closes if isinstance(close, Close)] == [
        first.generation
    ]
