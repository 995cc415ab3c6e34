"""What supervisor and recorder processes say to each other: JSON objects, a line each."""

from __future__ import annotations

import json
import select
import socket
import threading
from contextlib import suppress
from typing import Any

_READ_SIZE = 1 << 16
_MOST_UNREAD = 1 << 22

Message = dict[str, Any]


class LinkClosedError(Exception):
    """The other side is gone."""


class Link:
    """One end of a pair; threads may share it, one of them reading."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._unread = bytearray()
        self._lock = threading.Lock()

    def fileno(self) -> int:
        """Readable when there is something to `receive`."""
        return self._end.fileno()

    def send(self, message: Message) -> None:
        """Raises `LinkClosedError`."""
        line = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            try:
                self._end.sendall(line)
            except OSError as error:
                raise LinkClosedError from error

    def receive(self, seconds: float | None = 0) -> list[Message]:
        """All that came; waits so long for the first.  Raises `LinkClosedError` at its end."""
        poll = select.poll()
        poll.register(self._end, select.POLLIN)
        wait = None if seconds is None else seconds * 1000
        while b"\n" not in self._unread:
            if not poll.poll(wait):
                return []
            self._read()
        lines, _, rest = bytes(self._unread).rpartition(b"\n")
        self._unread = bytearray(rest)
        return [json.loads(line) for line in lines.split(b"\n")]

    def close(self) -> None:
        """May be called twice; who waits in `receive` is woken."""
        with suppress(OSError):
            self._end.shutdown(socket.SHUT_RDWR)
        self._end.close()

    def release(self) -> None:
        """This process's copy is closed; others keep theirs."""
        self._end.close()

    def _read(self) -> None:
        try:
            data = self._end.recv(_READ_SIZE)
        except OSError as error:
            raise LinkClosedError from error
        if not data or len(self._unread) > _MOST_UNREAD:
            raise LinkClosedError
        self._unread += data


def make_links() -> tuple[Link, Link]:
    """Both ends of a pair."""
    ours, theirs = socket.socketpair()
    return Link(ours), Link(theirs)
