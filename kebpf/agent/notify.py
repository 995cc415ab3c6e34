"""Tells systemd how the service does: the protocol of sd_notify(3), over its Unix socket."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress

_MICROSECONDS = 1_000_000


class Notifier:
    """Says nothing where nobody asked: without ``NOTIFY_SOCKET`` in the environment."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        known = os.environ if environment is None else environment
        self._address = _find_address(known.get("NOTIFY_SOCKET", ""))
        self.watchdog_seconds = _find_watchdog(known)
        self._next_ping = 0.0
        self._status = ""

    def tell_ready(self) -> None:
        self._send("READY=1")

    def tell_reloading(self) -> None:
        """`tell_ready` says that it is over."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def tell_stopping(self) -> None:
        self._send("STOPPING=1")

    def tell_status(self, status: str) -> None:
        """One line for ``systemctl status``; the same again is not sent."""
        if status != self._status:
            self._status = status
            self._send(f"STATUS={' '.join(status.split())}")

    def ask_for_time(self, seconds: float) -> None:
        """Its end takes so much longer than now."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * _MICROSECONDS)}")

    def ping(self, is_alive: bool) -> None:
        """To be called often: twice in the watchdog's time it hears of it, if all is alive."""
        now = time.monotonic()
        if self.watchdog_seconds and is_alive and now >= self._next_ping:
            self._next_ping = now + self.watchdog_seconds / 2
            self._send("WATCHDOG=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.setblocking(False)
            with suppress(OSError):  # who is to hear of it is gone, or does not keep up
                sender.sendto(text.encode(), self._address)


def _find_address(name: str) -> bytes:
    """Abstract names begin with ``@``; sd_notify(3)."""
    if not name.startswith(("/", "@")):
        return b""
    return os.fsencode("\0" + name[1:] if name.startswith("@") else name)


def _find_watchdog(known: Mapping[str, str]) -> float:
    """Seconds, 0 for none; ``WATCHDOG_PID`` says whom it is for; sd_watchdog_enabled(3)."""
    wanted, pid = known.get("WATCHDOG_USEC", ""), known.get("WATCHDOG_PID", "")
    if not wanted.isdecimal() or (pid.isdecimal() and int(pid) != os.getpid()):
        return 0.0
    return int(wanted) / _MICROSECONDS
