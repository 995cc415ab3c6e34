"""What recorder and assembler say to each other: typed messages, a JSON line each, on a socket."""

from __future__ import annotations

import json
import select
import socket
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, get_args

from kebpf.capture.eventlog import LogHead
from kebpf.recording.dedup.leaving import LeaveOut, Sifting
from kebpf.recording.progress import Progress

if TYPE_CHECKING:
    from kebpf.recording.redaction.redactor import Redactor

MOST_MESSAGE_SIZE = 64 << 20  # bytes
_READ_SIZE = 1 << 16


@dataclass(slots=True)
class Prepare:
    """Asks for the files to be made.

    ``owner`` is the (uid, gid) they are to belong to, ``events`` the path of the event log, if
    one is wanted.  ``unique`` and ``leave_out``, rules by field, are as in `Sifting`.
    ``durable``: what is complete outlives any end of the processes.
    """

    folder: str
    name: str
    owner: tuple[int, int] | None = None
    events: str | None = None
    durable: bool = False
    unique: bool = False
    leave_out: list[dict[str, str]] = field(default_factory=list)

    def sifting(self) -> Sifting:
        return Sifting(self.unique, [LeaveOut(**rule) for rule in self.leave_out])


@dataclass(slots=True)
class Prepared:
    """The files are there: what to remove should the assembler be killed, in this order."""

    unfinished: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Begin:
    """The first events may be in the spool; ``head`` has the fields of `LogHead`.

    ``redaction`` are the rules of redaction and its key, which is nowhere else; ``None``: nothing
    is redacted.
    """

    head: dict[str, Any]
    redaction: dict[str, Any] | None = None

    def log_head(self) -> LogHead:
        return LogHead(**self.head)

    def make_redactor(self) -> Redactor | None:
        """Loads what it needs: only the assembler does."""
        if self.redaction is None:
            return None
        from kebpf.recording.redaction.redactor import Redactor
        from kebpf.recording.redaction.rules import Rules

        return Redactor(Rules(**self.redaction["rules"]), bytes.fromhex(self.redaction["key"]))


@dataclass(slots=True)
class Report:
    """Asks for one `Progress`; says what only the recorder knows, as `Finish` does."""

    lost_events: int = 0
    unfollowed_size: int = 0


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
class AskDatabase:
    """The assembler, which may not look, asks what a connection is for; ends are host and port."""

    client: tuple[str, int]
    server: tuple[str, int]


@dataclass(slots=True)
class Database:
    """The answer, ``None`` if no server on this host says it."""

    name: str | None


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


Message = (
    Prepare
    | Prepared
    | Begin
    | Report
    | Drain
    | Finish
    | Finished
    | AskDatabase
    | Database
    | Failed
    | Progress
)

_KINDS: dict[str, type[Message]] = {kind.__name__: kind for kind in get_args(Message)}


class ChannelClosedError(Exception):
    """The other side is gone, or what it says is no message: then it is not itself any more."""


class Channel:
    """One end; raises `ChannelClosedError` when the other is closed."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._unread = bytearray()

    @property
    def descriptor(self) -> int:
        """Of the socket."""
        return self._end.fileno()

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
        try:
            kind, fields = json.loads(line)
            return _KINDS[kind](**fields)
        except (ValueError, KeyError, TypeError) as error:
            raise ChannelClosedError from error

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
        if not data or len(self._unread) > MOST_MESSAGE_SIZE:
            raise ChannelClosedError
        self._unread += data
