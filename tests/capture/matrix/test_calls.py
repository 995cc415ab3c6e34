"""Every kind of call that moves bytes, on the real kernel: the streams are what the peer saw."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from kebpf.capture.probes import Door, Probes
from kebpf.reassembly.tracker import UNSEEN
from tests.capture.matrix.accounts import IN, OUT, assert_accounted, assert_whole
from tests.capture.matrix.mover import REPLY, REQUEST, Mover
from tests.capture.peers import read_all, reply_with, stream_peer
from tests.capture.programs import make_bytes
from tests.capture.tap import tap

pytestmark = pytest.mark.kernel


@pytest.fixture
def mover(probes: Probes, programs: Path, tmp_path: Path) -> Mover:
    return Mover(probes, programs, tmp_path)


@pytest.mark.parametrize(
    "sender",
    [
        "by_write",
        "by_send",
        "by_sendto",
        "by_send_more",
        "by_writev",
        "by_pwritev2",
        "by_sendmsg",
        "by_sendmmsg",
        "by_many_buffers",
        "by_zerocopy",
        "at_once",
    ],
)
def test_what_is_sent(mover: Mover, sender: str) -> None:
    capture, _ = mover.run(sender, "by_recv")
    assert_whole(capture, capture.only, REQUEST, REPLY)


@pytest.mark.parametrize(
    "receiver",
    [
        "by_read",
        "by_recv",
        "by_recvfrom",
        "by_readv",
        "by_preadv2",
        "by_recvmsg",
        "by_peeking",
        "by_waiting_for_all",
        "by_vectors",
        "by_vectors_without_waiting",
        "by_vectors_for_one",
        "at_once",
        "without_waiting",
    ],
)
def test_what_is_received(mover: Mover, receiver: str) -> None:
    capture, _ = mover.run("by_send", receiver)
    assert_whole(capture, capture.only, REQUEST, REPLY)


def test_dribbles_of_one_byte(mover: Mover) -> None:
    request, reply = REQUEST[:30_001], REPLY[:20_001]
    capture, _ = mover.run("by_dribbles", "by_dribbles", request, reply)
    assert_whole(capture, capture.only, request, reply)


@pytest.mark.parametrize(
    ("sender", "cause"), [("by_sendfile", "by sendfile"), ("by_splice", "by splice")]
)
def test_what_is_sent_without_a_buffer_is_a_gap(mover: Mover, sender: str, cause: str) -> None:
    capture, _ = mover.run(sender, "by_recv")
    seen, missing = capture.only, len(REQUEST) - 11
    assert_accounted(capture, seen, REQUEST, REPLY)
    assert seen.gaps(OUT) == [(10, missing)]
    assert seen.gaps(IN) == []
    assert seen.connection.missing_payload == {cause: missing}


def test_what_is_spliced_away_is_a_gap(mover: Mover) -> None:
    """Door A does not see it: the sequence numbers say how much it was."""
    capture, _ = mover.run("by_send", "by_splice")
    seen = capture.only
    assert_accounted(capture, seen, REQUEST, REPLY)
    assert seen.gaps(OUT) == []
    assert seen.gaps(IN) == [(10, len(REPLY) - 10)]
    cause = UNSEEN if mover.probes.door is Door.A else "by splice"
    assert seen.connection.missing_payload == {cause: len(REPLY) - 10}


@pytest.mark.parametrize("tail", [0, 10])
def test_what_io_uring_sends_is_a_gap(probes: Probes, tail: int) -> None:
    """Also at the very end of a stream, where no later byte shows that something was missing."""
    with stream_peer(reply_with(REPLY)) as peer, tap(probes, "uring", peer.port, tail) as held:
        held.start()
        capture = held.finish()
    seen, missing = capture.only, len(peer.only) - 10 - tail
    assert capture.report == {"sent": missing, "received": len(REPLY)}
    assert missing > 0
    assert_accounted(capture, seen, peer.only, REPLY)
    assert seen.gaps(OUT) == [(10, missing)]
    assert seen.gaps(IN) == []
    cause = "by io_uring" if probes.door is Door.A else UNSEEN
    assert seen.connection.missing_payload == {cause: missing}
    assert seen.ends == [OUT, IN]


def test_what_is_thrown_away_is_a_gap(mover: Mover) -> None:
    capture, _ = mover.run("by_send", "by_truncating")
    seen = capture.only
    assert_accounted(capture, seen, REQUEST, REPLY)
    sizes = [500 + number % 7 for number in range(len(REPLY) // 500)]
    expected, at = [], 0
    for number, size in enumerate(sizes):
        size = min(size, len(REPLY) - at)
        if number % 2 and size:
            expected.append((at, size))
        at += size
    assert seen.gaps(IN) == expected
    assert seen.connection.missing_payload == {
        "by reading with MSG_TRUNC": seen.connection.gap_size
    }


def test_vectors_with_a_timeout(mover: Mover) -> None:
    """Door A cannot tell its messages apart, as such a call may end unseen: it says so."""
    capture, _ = mover.run("by_send", "by_vectors_with_patience")
    seen = capture.only
    assert_accounted(capture, seen, REQUEST, REPLY)
    if mover.probes.door is Door.A:
        assert seen.gaps(IN) == [(0, len(REPLY))]
        assert seen.connection.missing_payload == {"by recvmmsg with a timeout": len(REPLY)}
    else:
        assert_whole(capture, seen, REQUEST, REPLY)


def test_writes_that_are_refused_or_done_in_part(mover: Mover) -> None:
    request = make_bytes(9_000_000)
    is_full = threading.Event()

    def serve(sock: socket.socket, into: bytearray) -> None:
        assert is_full.wait(20)
        read_all(sock, into)
        sock.sendall(REPLY)

    with stream_peer(serve) as peer:
        address = f"4:{peer.port}"
        with mover.hold(address, "without_waiting", "without_waiting", request) as held:
            held.start()
            assert held.read_line() == "full"
            is_full.set()
            capture = held.finish()
    assert peer.only == request
    assert_whole(capture, capture.only, request, REPLY)
