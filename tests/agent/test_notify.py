"""What systemd is told, as a socket of the test receives it."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kebpf.agent.notify import Notifier


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.bind(str(tmp_path / "notify"))
        one.setblocking(False)
        yield one


def receive(receiver: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(receiver.recv(4096).decode())
        except BlockingIOError:
            return found


def make_notifier(receiver: socket.socket, **more: str) -> Notifier:
    return Notifier({"NOTIFY_SOCKET": receiver.getsockname(), **more})


def test_the_states_of_a_service(receiver: socket.socket) -> None:
    notifier = make_notifier(receiver)
    before = time.monotonic_ns() // 1000
    notifier.tell_ready()
    notifier.tell_reloading()
    notifier.tell_stopping()
    notifier.ask_for_time(1.5)
    ready, reloading, stopping, extended = receive(receiver)
    assert (ready, stopping, extended) == ("READY=1", "STOPPING=1", "EXTEND_TIMEOUT_USEC=1500000")
    state, _, since = reloading.partition("\nMONOTONIC_USEC=")
    assert state == "RELOADING=1"
    assert before <= int(since) <= time.monotonic_ns() // 1000


def test_a_status_is_one_line_and_told_once(receiver: socket.socket) -> None:
    notifier = make_notifier(receiver)
    for text in ("2 of 3\ntargets", "2 of 3\ntargets", "3 of 3"):
        notifier.tell_status(text)
    assert receive(receiver) == ["STATUS=2 of 3 targets", "STATUS=3 of 3"]


def test_the_watchdog_hears_only_while_all_is_alive(receiver: socket.socket) -> None:
    notifier = make_notifier(receiver, WATCHDOG_USEC="20000000", WATCHDOG_PID=str(os.getpid()))
    assert notifier.watchdog_seconds == 20
    notifier.ping(is_alive=False)
    assert receive(receiver) == []
    for _ in range(3):
        notifier.ping(is_alive=True)
    assert receive(receiver) == ["WATCHDOG=1"]


def test_an_abstract_socket() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.bind(f"\0kebpf-test-{os.getpid()}")
        Notifier({"NOTIFY_SOCKET": f"@kebpf-test-{os.getpid()}"}).tell_ready()
        assert one.recv(100) == b"READY=1"


def test_where_nobody_asks_nobody_is_told() -> None:
    for environment in ({}, {"NOTIFY_SOCKET": "none"}, {"NOTIFY_SOCKET": "/nowhere/at/all"}):
        notifier = Notifier(environment)
        notifier.tell_ready()
        notifier.ping(is_alive=True)
    assert Notifier({"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}).watchdog_seconds == 0
