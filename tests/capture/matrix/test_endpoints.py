"""Every kind of address, and every way a connection begins and ends."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kebpf.capture.events import SocketRole
from kebpf.capture.probes import Probes
from tests.capture.matrix.accounts import IN, OUT, assert_pieces, assert_whole
from tests.capture.matrix.mover import REPLY, REQUEST, Mover, answer_slowly
from tests.capture.peers import read_all, reply_with, stream_peer
from tests.capture.programs import make_bytes
from tests.capture.tap import tap_command

pytestmark = pytest.mark.kernel

TALKERS = Path(__file__).with_name("talkers.py")
BODY = make_bytes(300_001)
CLONE_NEWNET = 0x40000000


def talker(name: str, *arguments: object) -> list[str]:
    """The command of a program of talkers.py."""
    return [sys.executable, "-I", str(TALKERS), name, *map(str, arguments)]


@pytest.mark.parametrize(
    ("letter", "host", "shown"),
    [("4", "127.0.0.1", "127.0.0.1"), ("6", "::1", "::1"), ("m", "127.0.0.1", "127.0.0.1")],
)
def test_internet_addresses(
    probes: Probes, programs: Path, tmp_path: Path, letter: str, host: str, shown: str
) -> None:
    """``m`` is an IPv6 socket with an IPv4 address mapped into its own."""
    mover = Mover(probes, programs, tmp_path)
    with (
        stream_peer(answer_slowly(REPLY), host=host) as peer,
        mover.hold(f"{letter}:{peer.port}", "by_send", "by_recv", REQUEST) as held,
    ):
        held.start()
        capture = held.finish()
    assert peer.only == REQUEST
    assert_whole(capture, capture.only, REQUEST, REPLY)
    assert capture.only.remote == (shown, peer.port)


@pytest.mark.parametrize("letter", ["u", "a"])
@pytest.mark.parametrize(
    ("sender", "receiver"),
    [
        ("by_write", "by_read"),
        ("by_sendmsg", "by_recvmsg"),
        ("by_sendmmsg", "by_vectors"),
        ("by_writev", "by_readv"),
        ("by_many_buffers", "by_waiting_for_all"),
        ("at_once", "by_peeking"),
    ],
)
def test_unix_addresses(
    probes: Probes, programs: Path, tmp_path: Path, letter: str, sender: str, receiver: str
) -> None:
    """By a path and in the abstract space."""
    mover = Mover(probes, programs, tmp_path)
    name = f"{tmp_path.name}-{os.getpid()}-{probes.door.value}"
    place = f"@{name}" if letter == "a" else str(tmp_path / "s")
    with (
        stream_peer(answer_slowly(REPLY), path=place) as peer,
        mover.hold(f"{letter}:{place.lstrip('@')}", sender, receiver, REQUEST) as held,
    ):
        held.start()
        capture = held.finish()
    assert peer.only == REQUEST
    assert_whole(capture, capture.only, REQUEST, REPLY)
    assert capture.only.connection.opened.remote == place


def test_a_pair_without_names(probes: Probes) -> None:
    with tap_command(probes, talker("talk_to_itself")) as held:
        held.start()
        capture = held.finish()
    there, back = make_bytes(100_001), make_bytes(90_001, 2)
    assert capture.report == {"received": [len(there), len(back)]}
    ours, theirs = sorted(capture.connections, key=lambda seen: -len(seen.egress))
    assert_whole(capture, ours, there, back)
    assert_whole(capture, theirs, back, there)


def run(*command: str) -> None:
    """A command that must succeed."""
    subprocess.run(command, check=True)


@contextmanager
def two_namespaces() -> Iterator[tuple[str, str]]:
    """The names of two network namespaces, 10.213.7.1 and 10.213.7.2, one cable between them."""
    names = (f"kebpf-{os.getpid()}-1", f"kebpf-{os.getpid()}-2")
    try:
        for name in names:
            run("ip", "netns", "add", name)
            run("ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv4.tcp_fastopen=1543")
        run("ip", "-n", names[0], "link", "add", "k1", "type", "veth", "peer", "k2", "netns",
            names[1])  # fmt: skip
        for number, name in enumerate(names, 1):
            run("ip", "-n", name, "address", "add", f"10.213.7.{number}/24", "dev", f"k{number}")
            run("ip", "-n", name, "link", "set", f"k{number}", "up")
            run("ip", "-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False)


def listen_in(namespace: str, host: str) -> socket.socket:
    """A listening socket of a namespace: a thread goes there to make it."""
    made: list[socket.socket] = []

    def make() -> None:
        with Path(f"/run/netns/{namespace}").open("rb") as file:
            assert ctypes.CDLL(None).setns(file.fileno(), CLONE_NEWNET) == 0
        made.append(socket.socket())

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    made[0].bind((host, 0))
    made[0].setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 5)
    made[0].listen()
    return made[0]


@pytest.mark.parametrize(("name", "size"), [("talk", 300_001), ("open_fast", 100_001)])
def test_between_two_namespaces(probes: Probes, name: str, size: int) -> None:
    """Over a veth pair; also with TCP Fast Open, whose first bytes go with the SYN."""
    received = bytearray()

    def serve() -> None:
        with listener.accept()[0] as sock:
            reply_with(REPLY)(sock, received)

    with two_namespaces() as (first, second), listen_in(second, "10.213.7.2") as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        port = listener.getsockname()[1]
        command = ["ip", "netns", "exec", first, *talker(name, "10.213.7.2", port)]
        with tap_command(probes, command) as held:
            held.start()
            capture = held.finish()
        thread.join(10)
    assert received == make_bytes(size)
    assert capture.report["received"] == len(REPLY)
    assert capture.report.get("was_fast", True)
    assert_whole(capture, capture.only, bytes(received), REPLY)
    assert capture.only.connection.opened.local == "10.213.7.1"
    assert capture.only.connection.role is SocketRole.CLIENT
    assert not capture.only.connection.is_joined


def test_the_peer_ends_first(probes: Probes) -> None:
    def serve(sock: socket.socket, into: bytearray) -> None:
        sock.sendall(REPLY)
        sock.shutdown(socket.SHUT_WR)
        read_all(sock, into)

    with (
        stream_peer(serve) as peer,
        tap_command(probes, talker("listen_after_end", peer.port)) as held,
    ):
        held.start()
        capture = held.finish()
    assert peer.only == BODY
    assert_whole(capture, capture.only, BODY, REPLY)
    assert capture.only.ends == [IN, OUT]


def break_off(sock: socket.socket) -> None:
    """The connection ends in a RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def test_the_peer_breaks_the_connection(probes: Probes) -> None:
    """All that the target's calls took counts, also what never arrived."""

    def serve(sock: socket.socket, into: bytearray) -> None:
        into += sock.recv(200_000, socket.MSG_WAITALL)
        break_off(sock)

    with (
        stream_peer(serve) as peer,
        tap_command(probes, talker("be_reset", peer.port)) as held,
    ):
        held.start()
        capture = held.finish()
    content = make_bytes(100_000)
    sent = (content * (capture.report["sent"] // 100_000 + 1))[: capture.report["sent"]]
    assert sent.startswith(peer.only)
    assert_whole(capture, capture.only, sent, b"")
    assert capture.only.ends == []


def test_the_target_breaks_the_connection(probes: Probes) -> None:
    """What it did not read is no part of what it got."""

    def serve(sock: socket.socket, into: bytearray) -> None:
        into += sock.recv(6, socket.MSG_WAITALL)
        sock.sendall(BODY[:50_000])
        with pytest.raises(ConnectionResetError):
            sock.recv(1)

    with stream_peer(serve) as peer, tap_command(probes, talker("reset", peer.port)) as held:
        held.start()
        capture = held.finish()
    assert peer.only == b"enough"
    assert_pieces(capture.only.pieces[OUT], b"enough")
    assert_pieces(capture.only.pieces[IN], BODY[:1000])
    assert [close.moved for close in capture.closes] == [(1000, 6)]
    assert capture.only.ends == [OUT]  # though no FIN was sent: it is the one who left
