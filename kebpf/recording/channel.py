"""What recorder and assembler say to each other: typed messages, a JSON line each, on a socket."""

from __future__ import annotations

import json
import select
import socket
from dataclasses import asdict, dataclass, field
from typing import Any

from kebpf.capture.eventlog import LogHead
from kebpf.recording.progress import Progress

_READ_SIZE = 1 << 16


@dataclass(slots=True)
class Prepare:
    """Asks for the files to be made.

    ``owner`` is the (uid, gid) they are to belong to, ``events`` the path of the event log, if
    one is wanted.
    """

    folder: str
    name: str
    owner: tuple[int, int] | None = None
    events: str | None = None


@dataclass(slots=True)
class Prepared:
    """The files are there: what to remove should the assembler be killed, in this order."""

    unfinished: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Begin:
    """The first events may be in the spool; ``head`` has the fields of `LogHead`."""

    head: dict[str, Any]

    def log_head(self) -> LogHead:
        return LogHead(**self.head)


@dataclass(slots=True)
class Report:
    """Asks for one `Progress`."""


@dataclass(slots=True)
class Drain:
    """No more events will come: asks for a `Progress` once all were taken."""


@dataclass(slots=True)
class Finish:
    """Asks for the test set; ``moved`` are the connections open at the end.

    Each is a socket, its generation, and the bytes it moved and lost by direction.
    ``unfollowed_size`` are bytes of connections that there was no room to follow.
    """

    seconds: float
    lost_events: int
    lost_bytes: int
    moved: list[tuple[int, int, int, int, int, int]] = field(default_factory=list)
    unfollowed_size: int = 0


@dataclass(slots=True)
class Finished:
    """The test set is in its place; ``progress`` has the fields of `Progress`."""

    progress: dict[str, Any]


@dataclass(slots=True)
class Failed:
    """The assembler has ended and left nothing.

    ``kind`` is ``test set``, ``event log`` (then ``number`` is its errno) or the name of an
    exception that was not foreseen.
    """

    kind: str
    text: str
    number: int = 0
    traceback: str = ""


Message = Prepare | Prepared | Begin | Report | Drain | Finish | Finished | Failed | Progress

_KINDS: dict[str, type[Message]] = {
    kind.__name__: kind
    for kind in (Prepare, Prepared, Begin, Report, Drain, Finish, Finished, Failed, Progress)
}


class ChannelClosedError(Exception):
    """The other side is gone."""


class Channel:
    """One end; raises `ChannelClosedError` when the other is closed."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._unread = bytearray()

    def send(self, message: Message) -> None:
        """Waits until all of it is on its way."""
        line = json.dumps([type(message).__name__, asdict(message)]).encode() + b"\n"
        try:
            self._end.sendall(line)
        except OSError as error:
            raise ChannelClosedError from error

    def receive(self, seconds: float | None = None) -> Message | None:
        """The next message, ``None`` if none came for so long."""
        while b"\n" not in self._unread:
            if not self._wait(seconds):
                return None
            self._read()
        line, _, rest = self._unread.partition(b"\n")
        self._unread = rest
        kind, fields = json.loads(line)
        return _KINDS[kind](**fields)

    def close(self) -> None:
        self._end.close()

    def _wait(self, seconds: float | None) -> bool:
        poll = select.poll()
        poll.register(self._end, select.POLLIN)
        return bool(poll.poll(None if seconds is None else seconds * 1000))

    def _read(self) -> None:
        try:
            data = self._end.recv(_READ_SIZE)
        except OSError as error:
            raise ChannelClosedError from error
        if not data:
            raise ChannelClosedError
        self._unread += data
