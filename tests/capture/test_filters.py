"""The filters in the kernel, under a program with connections of every kind."""

from __future__ import annotations

import socket
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from kebpf.capture.filters import FILTER_NAMES, FILTER_OPTIONS, NO_FILTERS, Filters
from kebpf.capture.probes import Door, Probes
from tests.capture.doors import DOORS
from tests.capture.peers import Peer, datagram_peer, stream_peer
from tests.capture.tap import Capture, Tap, tap_command

CROSSING = Path(__file__).with_name("crossing.py")

SERVED = {"old-served", "new-served"}
TO_A, TO_B = {"old-a", "new-a"}, {"old-b", "new-b"}
OTHERS = {"local", "datagram-a", "datagram-b"}
ALL = SERVED | TO_A | TO_B | OTHERS

pytestmark = pytest.mark.kernel


def make_command(*arguments: object) -> list[str]:
    return [sys.executable, "-I", *map(str, (CROSSING, *arguments))]


@dataclass(frozen=True)
class Crossing:
    """The program, held, with two of its three kinds of older connections open."""

    held: Tap
    ports: dict[str, int]
    older: socket.socket

    def go(self, probes: Probes) -> Capture:
        """Runs it to its end under the probes, as the other end of what it serves."""
        clients = threading.Thread(target=self._be_served)
        self.held.start()
        clients.start()
        capture = self.held.finish()
        clients.join(10)
        assert not clients.is_alive()
        return capture

    def _be_served(self) -> None:
        address = ("127.0.0.1", self.ports["s"])
        newer = socket.create_connection(address)
        newer.sendall(b"hello")
        for sock in (self.older, newer):
            with sock:
                while sock.recv(100):
                    pass


@contextmanager
def crossing(tmp_path: Path) -> Iterator[Crossing]:
    """The program with all its peers."""
    with ExitStack() as stack:
        path = str(tmp_path / "socket")
        a, b = (stack.enter_context(stream_peer(count=2)) for _ in range(2))
        u, v = (stack.enter_context(datagram_peer("127.0.0.1", 2)) for _ in range(2))
        stack.enter_context(stream_peer(path=path))
        ports = [peer.port for peer in (a, b, u, v)]
        held = stack.enter_context(tap_command(None, make_command(*ports, path)))
        ports.append(int(held.read_line()))
        older = socket.create_connection(("127.0.0.1", ports[-1]))
        older.sendall(b"hello")
        assert held.read_line() == "connected"
        yield Crossing(held, dict(zip("abuvs", ports, strict=True)), older)
        assert_received(a, b, u, v)


def assert_received(*peers: Peer) -> None:
    """Nothing the probes do is seen by the peers."""
    a, b, u, v = ([bytes(one) for one in peer.received] for peer in peers)
    assert sorted(a) == [b"new-a", b"olderold-a"]
    assert sorted(b) == [b"new-b", b"olderold-b"]
    assert (u, v) == ([b"datagram-a"] * 2, [b"datagram-b"] * 2)


def make_filters(one: Crossing, ports: str, excluded: str, is_inbound_only: bool) -> Filters:
    def find(names: str) -> tuple[int, ...]:
        return tuple(one.ports[name] for name in names)

    return Filters(find(ports), find(excluded), is_inbound_only)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("ports", "excluded", "is_inbound_only", "kept", "counts"),
    [
        ("", "", False, ALL | {"internal"}, (0, 0, 0)),
        ("s", "", False, SERVED, (9, 0, 0)),
        ("a", "", False, TO_A, (9, 0, 0)),
        ("av", "", False, TO_A | {"datagram-b"}, (7, 0, 0)),
        ("", "au", False, ALL - TO_A - {"datagram-a"}, (0, 4, 0)),
        ("", "s", False, ALL - SERVED, (0, 2, 0)),
        ("", "", True, SERVED, (0, 0, 9)),
        ("sa", "", True, SERVED, (7, 0, 2)),
        ("", "b", True, SERVED, (0, 2, 7)),
    ],
)
def test_what_is_left_out_is_counted_and_the_rest_is_whole(
    tmp_path: Path,
    door: Door,
    ports: str,
    excluded: str,
    is_inbound_only: bool,
    kept: set[str],
    counts: tuple[int, int, int],
) -> None:
    with crossing(tmp_path) as one:
        probes = Probes(door, filters=make_filters(one, ports, excluded, is_inbound_only))
        one.held.use(probes)
        try:
            probes.tell_listening([one.ports["s"]])
            probes.attach()
            capture = one.go(probes)
            left_out = probes.counts()
        finally:
            probes.close()
    # datagrams go to two peers in turn, and each time a connection begins
    names = Counter(seen.egress.decode() for seen in capture.connections if seen.egress)
    assert names == {name: 2 if name.startswith("datagram") else 1 for name in kept}
    assert tuple(left_out[name] for name in FILTER_NAMES) == counts
    assert capture.totals.gap_size == capture.totals.unopened_size == 0
    assert capture.totals.overlap_size == 0


@pytest.mark.parametrize("door", DOORS)
def test_where_nobody_knows_who_connected_both_ports_count(tmp_path: Path, door: Door) -> None:
    """The listening socket was another's, and the connection is older than the recording."""
    with crossing(tmp_path) as one:
        probes = Probes(door, filters=Filters(ports=(one.ports["s"],)))
        one.held.use(probes)
        try:
            probes.attach()
            capture = one.go(probes)
        finally:
            probes.close()
    assert {seen.egress.decode() for seen in capture.connections} == SERVED


def test_without_filters_nothing_is_compiled() -> None:
    assert NO_FILTERS.flags() == []
    assert not NO_FILTERS.has_any
    assert Filters(ports=(1,)).flags() == ["-DKEBPF_FILTERS", "-DKEBPF_ONLY_PORTS"]
    assert list(FILTER_OPTIONS.values()) == ["--port", "--exclude-port", "--inbound-only"]


def test_filters_are_said_as_they_were_given() -> None:
    assert NO_FILTERS.describe() == []
    assert Filters((80, 81), (6379,), is_inbound_only=True).describe() == [
        "--port 80",
        "--port 81",
        "--exclude-port 6379",
        "--inbound-only",
    ]


WITH_ITSELF = """
import socket
input()
own, other, peer = (socket.socket(type=socket.SOCK_DGRAM) for _ in range(3))
for one in (own, peer):
    one.bind(("127.0.0.1", 0))
own.connect(own.getsockname())
other.connect(peer.getsockname())
own.send(b"report")
other.send(b"call")
"""


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    "filters", [Filters(ports=(1,)), Filters(is_inbound_only=True)], ids=["port", "inbound"]
)
def test_what_a_socket_tells_itself_is_never_left_out(door: Door, filters: Filters) -> None:
    """The agent in a Java program reports so, of connections that are kept."""
    command = [sys.executable, "-I", "-c", WITH_ITSELF]
    with ExitStack() as stack:
        probes = Probes(door, filters=filters)
        stack.callback(probes.close)
        probes.attach()
        held = stack.enter_context(tap_command(probes, command))
        held.start()
        capture = held.finish()
    assert [seen.egress for seen in capture.connections] == [b"report"]
