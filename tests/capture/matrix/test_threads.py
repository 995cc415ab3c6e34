"""Several threads on one socket at one time: exact where it can be known, else a counted gap."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from kebpf.capture.events import Data, Process, ProcessChange
from kebpf.capture.probes import Probes
from tests.capture.matrix.accounts import IN, OUT, assert_accounted, assert_whole
from tests.capture.peers import Peer, Serve, read_all, reply_with, stream_peer
from tests.capture.programs import make_bytes
from tests.capture.tap import Capture, Seen, tap_command

pytestmark = pytest.mark.kernel

CONTESTED = "by several threads at once, whose order is not known"
BODY = make_bytes(400_001)
REPLY = make_bytes(300_001, 2)


def run_threads(
    probes: Probes, program: Path, folder: Path, words: tuple[str, ...], serve: Serve
) -> tuple[Capture, Peer]:
    """Runs threads.c to its end."""
    file = folder / "body"
    file.write_bytes(BODY)
    with (
        stream_peer(serve) as peer,
        tap_command(probes, [str(program), f"4:{peer.port}", str(file), *words]) as held,
    ):
        held.start()
        capture = held.finish(closed=1)
    assert capture.report == {"received": len(REPLY)}
    return capture, peer


def test_threads_are_told_with_their_makers(probes: Probes, programs: Path, tmp_path: Path) -> None:
    words = ("writers", "4", "100000")
    capture, _ = run_threads(probes, programs / "threads", tmp_path, words, reply_with(REPLY))
    told = [event for event in capture.events if isinstance(event, Process)]
    makers = {one.child: one.head.tid for one in told if one.change is ProcessChange.THREAD}
    ended = {one.head.tid for one in told if one.change is ProcessChange.THREAD_EXIT}
    movers = {event.head.tid for event in capture.events if isinstance(event, Data)}
    assert len(movers - {capture.pid}) == 4
    assert movers - {capture.pid} == makers.keys() == ended
    assert set(makers.values()) == {capture.pid}


def assert_only_contested(seen: Seen) -> None:
    """What is missing is said to be so because nobody knows its order."""
    connection = seen.connection
    expected = {CONTESTED: connection.gap_size} if connection.gap_size else {}
    assert connection.missing_payload == expected


def answer_at_once(sock: socket.socket, into: bytearray) -> None:
    """Speaks all the while it listens."""
    for at in range(0, len(REPLY), 5_000):
        sock.sendall(REPLY[at : at + 5_000])
        into += sock.recv(5_000)
    sock.shutdown(socket.SHUT_WR)
    while len(into) < len(BODY):
        into += sock.recv(65_536)


def test_one_reads_while_another_writes(probes: Probes, programs: Path, tmp_path: Path) -> None:
    words = ("duplex", "2", "3000")
    capture, peer = run_threads(probes, programs / "threads", tmp_path, words, answer_at_once)
    assert peer.only == BODY
    assert_whole(capture, capture.only, BODY, REPLY)


@pytest.mark.parametrize("part", [1_000, 100_000])
def test_several_write_at_once(probes: Probes, programs: Path, tmp_path: Path, part: int) -> None:
    words = ("writers", "4", str(part))
    serve = reply_with(REPLY)
    capture, peer = run_threads(probes, programs / "threads", tmp_path, words, serve)
    assert len(peer.only) == 4 * len(BODY)
    assert_accounted(capture, capture.only, peer.only, REPLY)
    assert capture.only.gaps(IN) == []
    assert_only_contested(capture.only)


def run_on_unix(
    probes: Probes, program: Path, folder: Path, words: tuple[str, ...]
) -> tuple[Capture, Peer]:
    """The same to a Unix socket, whose other side answers at the end."""
    file, place = folder / "body", str(folder / "s")
    file.write_bytes(BODY)
    with (
        stream_peer(reply_with(REPLY), path=place) as peer,
        tap_command(probes, [str(program), f"u:{place}", str(file), *words]) as held,
    ):
        held.start()
        capture = held.finish()
    assert capture.report == {"received": len(REPLY)}
    return capture, peer


@pytest.mark.parametrize("part", [1_000, 100_000])
def test_several_write_at_once_to_a_unix_socket(
    probes: Probes, programs: Path, tmp_path: Path, part: int
) -> None:
    words = ("writers", "4", str(part))
    capture, peer = run_on_unix(probes, programs / "threads", tmp_path, words)
    assert len(peer.only) == 4 * len(BODY)
    assert_accounted(capture, capture.only, peer.only, REPLY)
    assert capture.only.gaps(IN) == []
    assert_only_contested(capture.only)


@pytest.mark.parametrize("how", ["turns", "heard"])
@pytest.mark.parametrize("part", [1_000, 50_000])
def test_several_write_to_a_unix_socket_in_turn(
    probes: Probes, programs: Path, tmp_path: Path, part: int, how: str
) -> None:
    """What threads hand on in order is whole, also while another sleeps in a read."""
    words = (how, "3", str(part))
    capture, peer = run_on_unix(probes, programs / "threads", tmp_path, words)
    assert peer.only == BODY
    movers = {event.head.tid for event in capture.events if isinstance(event, Data)}
    assert len(movers) >= 3
    assert_whole(capture, capture.only, BODY, REPLY)


@pytest.mark.parametrize("part", [100, 16_000])
def test_several_read_at_once(probes: Probes, programs: Path, tmp_path: Path, part: int) -> None:
    words = ("readers", "4", str(part))

    def serve(sock: socket.socket, into: bytearray) -> None:
        read_all(sock, into)
        for at in range(0, len(REPLY), 777):
            sock.sendall(REPLY[at : at + 777])

    capture, peer = run_threads(probes, programs / "threads", tmp_path, words, serve)
    assert peer.only == BODY
    assert_accounted(capture, capture.only, BODY, REPLY)
    assert capture.only.gaps(OUT) == []
    assert_only_contested(capture.only)
