"""Sockets that change hands: descriptors, processes, and programs that end in the middle."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kebpf.capture.events import SocketRole
from kebpf.capture.probes import Probes
from tests.capture.doors import DOORS
from tests.capture.matrix.accounts import IN, OUT, assert_pieces, assert_whole
from tests.capture.peers import read_all, stream_peer
from tests.capture.programs import make_bytes
from tests.capture.tap import Capture, Seen, tap_command

pytestmark = pytest.mark.kernel

TALKERS = Path(__file__).with_name("talkers.py")


def talker(name: str, *arguments: object) -> list[str]:
    """The command of a program of talkers.py."""
    return [sys.executable, "-I", str(TALKERS), name, *map(str, arguments)]


def ask(port: int, seed: int) -> bytes:
    """As a client of the target: all of its answer."""
    answer = bytearray()
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(str(seed).encode())
        read_all(sock, answer)
    return bytes(answer)


@pytest.mark.parametrize("name", ["fork_before", "fork_after"])
def test_servers_that_fork(probes: Probes, name: str) -> None:
    with tap_command(probes, talker(name, 9)) as held:
        held.start()
        port = int(held.read_line())
        answers = {seed: ask(port, seed) for seed in range(9)}
        capture = held.finish()
    assert len(capture.connections) == 9
    by_request = {int(seen.ingress): seen for seen in capture.connections}
    for seed, answer in answers.items():
        seen = by_request[seed]
        assert answer.startswith(make_bytes(20_001, seed))
        assert_whole(capture, seen, answer, str(seed).encode())
        child = int(answer[20_001:])
        assert child in capture.report["children"]
        assert {piece.tid for piece in seen.pieces[OUT]} == {child}
        assert seen.connection.role is SocketRole.SERVER


def only_inet(capture: Capture) -> Seen:
    """The one connection that is no pair of the program's own."""
    (seen,) = [one for one in capture.connections if one.connection.transport == "tcp"]
    return seen


def test_a_connection_handed_over(probes: Probes) -> None:
    def serve(sock: socket.socket, into: bytearray) -> None:
        into += sock.recv(6, socket.MSG_WAITALL)
        sock.sendall(b"onetwo")
        read_all(sock, into)

    with stream_peer(serve) as peer, tap_command(probes, talker("hand_over", peer.port)) as held:
        held.start()
        capture = held.finish()
    seen = only_inet(capture)
    assert peer.only == b"first second third"
    assert_whole(capture, seen, peer.only, b"onetwo")
    threads = [piece.tid for piece in seen.pieces[OUT]]
    assert threads == [capture.pid, capture.report["child"], capture.pid]


def test_one_number_for_many_connections(probes: Probes) -> None:
    count = 500

    def serve(sock: socket.socket, into: bytearray) -> None:
        read_all(sock, into)
        sock.sendall(into[:501])

    with (
        stream_peer(serve, count) as peer,
        tap_command(probes, talker("use_again", peer.port, count)) as held,
    ):
        held.start()
        capture = held.finish()
    assert capture.report == {"numbers": 1}
    assert len(capture.connections) == count
    for seed, seen in enumerate(capture.connections):
        content = make_bytes(1_001, seed)
        assert peer.received[seed] == content
        assert_whole(capture, seen, content, content[:501])


def test_one_connection_under_many_numbers(probes: Probes) -> None:
    with stream_peer() as peer, tap_command(probes, talker("duplicate", peer.port)) as held:
        held.start()
        capture = held.finish()
    assert peer.only.count(b";") == 7
    assert_whole(capture, capture.only, peer.only, b"")
    assert capture.only.ends == [OUT]


def test_a_program_started_by_vfork(probes: Probes) -> None:
    def serve(sock: socket.socket, into: bytearray) -> None:
        into += sock.recv(len(b"one and the other "), socket.MSG_WAITALL)
        sock.sendall(b"heard")
        read_all(sock, into)

    with stream_peer(serve) as peer, tap_command(probes, talker("execute", peer.port)) as held:
        held.start()
        capture = held.finish()
    seen = capture.only
    assert peer.only == b"one and the other and one again"
    assert_whole(capture, seen, peer.only, b"heard")
    threads = [piece.tid for piece in seen.pieces[OUT]]
    assert threads == [capture.pid, capture.report["child"], capture.pid]
    assert [piece.tid for piece in seen.pieces[IN]] == [capture.report["child"]]


@pytest.fixture(params=DOORS)
def narrow_probes(request: pytest.FixtureRequest) -> Iterator[Probes]:
    """They can follow one connection at a time."""
    made = Probes(request.param, ring_size=8 << 20, connections=1)
    made.attach()
    yield made
    made.close()


def test_connections_that_there_is_no_room_for_are_counted(narrow_probes: Probes) -> None:
    """The pair's two ends: one is followed, the other's bytes are known to be missing."""
    with tap_command(narrow_probes, talker("talk_to_itself")) as held:
        held.start()
        capture = held.finish()
    assert capture.report == {"received": [100_001, 90_001]}
    there, back = make_bytes(100_001), make_bytes(90_001, 2)
    assert_whole(capture, capture.only, there, back)
    assert narrow_probes.counts()["unfollowed_bytes"] == 100_001 + 90_001


@pytest.mark.parametrize(("how", "status"), [("exit", 0), ("kill", -signal.SIGKILL)])
def test_a_program_that_ends_in_the_middle(probes: Probes, how: str, status: int) -> None:
    """What the write that never returned had moved counts: the peer got it."""
    has_begun, may_read = threading.Event(), threading.Event()

    def serve(sock: socket.socket, into: bytearray) -> None:
        sock.recv(1, socket.MSG_PEEK)
        has_begun.set()
        assert may_read.wait(20)
        read_all(sock, into)

    with stream_peer(serve) as peer, tap_command(probes, talker("leave", peer.port, how)) as held:
        held.start()
        assert held.read_line() == "writing"
        assert has_begun.wait(20)
        if how == "exit":
            held.go_on()
        else:
            os.kill(held.pid, signal.SIGKILL)
        capture = held.finish(status)
        may_read.set()
    assert make_bytes(30_000_000).startswith(peer.only)
    assert_pieces(capture.only.pieces[OUT], peer.only)
    assert capture.only.connection.gap_size == 0
