"""The probes under real programs: what they say is what the other end of the socket saw."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from kebpf.capture.events import Direction, End, GapReason, Open, SocketRole
from kebpf.capture.probes import DEFAULT_CALL_LIMIT, Door, Probes
from tests.capture.peers import datagram_peer, read_all, reply_with, stream_peer
from tests.capture.programs import REPLY_SIZE, REQUEST_SIZE, make_bytes
from tests.capture.tap import Capture, tap, watch

pytestmark = pytest.mark.kernel

IN, OUT = Direction.INGRESS, Direction.EGRESS
RING_SIZE = 32 << 20
READ, SENDFILE, RECVFROM, SPLICE, RECVMMSG = 0, 40, 45, 275, 299  # x86_64
REPLY = make_bytes(REPLY_SIZE, 2)


@pytest.fixture(scope="module", params=list(Door), ids=lambda door: f"door_{door.value}")
def probes(request: pytest.FixtureRequest) -> Iterator[Probes]:
    """Attached, with nobody to watch yet."""
    made = Probes(request.param, ring_size=RING_SIZE)
    made.attach()
    yield made
    made.close()


def assert_whole(capture: Capture) -> None:
    """Nothing missing, nothing twice."""
    assert capture.totals.gap_size == capture.totals.unopened_size == 0
    assert capture.totals.overlap_size == 0


SENDERS = ("write", "send", "writev", "sendmsg", "sendmmsg")


@pytest.mark.parametrize(
    ("sender", "receiver"),
    [*((name, "recv") for name in SENDERS), *(("send", name) for name in ("read", "readv", "recvmsg"))],
)
def test_both_streams_are_what_the_peer_saw(probes: Probes, sender: str, receiver: str) -> None:
    with stream_peer(reply_with(REPLY)) as peer:
        capture = watch(probes, "talk", peer.port, sender, receiver)
    seen = capture.only
    assert capture.report == {"received": True}
    assert peer.only == make_bytes(REQUEST_SIZE)
    assert seen.egress == peer.only
    assert seen.ingress == REPLY
    assert_whole(capture)
    assert [close.moved for close in capture.closes] == [(REPLY_SIZE, REQUEST_SIZE)]
    assert capture.closes[0].lost == (0, 0)
    assert seen.connection.role is SocketRole.CLIENT
    assert not seen.connection.is_joined
    assert seen.remote == ("127.0.0.1", peer.port)
    assert sorted(seen.ends) == [IN, OUT]
