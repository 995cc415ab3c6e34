"""Says of connections that could not be read which they are, and why."""

from __future__ import annotations

from collections import OrderedDict

from kebpf.capture.events import SocketRole
from kebpf.capture.tlsevents import TlsCode
from kebpf.protocols.base import Exchange, Mark, Sender
from kebpf.reassembly.connection import Connection
from kebpf.reassembly.stream import Piece
from kebpf.recording.tlslane import TlsLane, Turn

MOST_PEERS = 50
MOST_FORMER = 1000  # processes
MOST_ASKED = 64  # before the first answer
NO_START = "joined in the middle, no message start seen"
UNREAD = "encrypted (TLS) and not read"


class UnreadTls:
    """Gives each connection a reason that names its other end, as long as these are few."""

    def __init__(self) -> None:
        self.is_off = False  # nothing was to be read
        self._peers: set[str] = set()
        self._codes: dict[int, dict[str, bool]] = {}  # by process: library → is it read
        # a process's end is told before that of its connections
        self._former: OrderedDict[int, dict[str, bool]] = OrderedDict()

    def note_code(self, event: TlsCode) -> None:
        """A library was found in a process."""
        self._codes.setdefault(event.head.pid, {})[event.name] = event.is_read

    def forget_process(self, pid: int) -> None:
        """Another program runs there, or none."""
        codes = self._codes.pop(pid, None)
        if codes:
            self._former[pid] = codes
            if len(self._former) > MOST_FORMER:
                self._former.popitem(last=False)

    def explain(self, connection: Connection, lane: TlsLane) -> str:
        """Why a connection was not read, and to whom it was."""
        if lane.has_plaintext:  # it began before its probes were there
            return NO_START
        reason = self._find_reason(connection)
        peer = _name_peer(connection, lane)
        if len(self._peers) < MOST_PEERS:
            self._peers.add(peer)
        return f"{UNREAD}: {peer if peer in self._peers else 'others'} ({reason})"

    def _find_reason(self, connection: Connection) -> str:
        if self.is_off:
            return "--no-tls"
        codes = self._codes.get(connection.pid) or self._former.get(connection.pid, {})
        unread = sorted(name for name, is_read in codes.items() if not is_read)
        process = connection.opened.process
        if "Java" in unread:
            return "Java's own TLS, which only an agent reads: --java-agent"
        if unread:
            return f"{process} encrypts with {', '.join(unread)}, whose calls cannot be watched"
        if codes:
            return f"{process}'s calls of {', '.join(sorted(codes))} are not those of a connection"
        return f"no TLS library that can be watched was found in {process}"


def make_unread(turn: Turn, offset_ns: int) -> Exchange:
    """What was exchanged in secret, as far as it is known; ``offset_ns`` is that of the clock."""
    start = Mark(turn.start_ns + offset_ns, turn.tid)
    end = Mark(turn.end_ns + offset_ns, turn.tid)
    return Exchange("opaque", {"data": b""}, None, start, start, end, end, problem=UNREAD)


class Unparsed:
    """What is asked on a connection where nothing is parsed: that it was, and when.

    On one that is never answered (a log is written to it) nothing is asked.
    """

    def __init__(self) -> None:
        self._is_answered = False
        self._asked: list[Exchange] = []

    def take(self, sender: Sender, piece: Piece, offset_ns: int, problem: str) -> list[Exchange]:
        """The next bytes, or a gap: gives what is known to be asked by now."""
        if sender is Sender.CLIENT:
            self._asked.append(_make_unparsed(piece, offset_ns, problem))
            del self._asked[:-MOST_ASKED]
        else:
            self._is_answered = True
        if not self._is_answered:
            return []
        asked, self._asked = self._asked, []
        return asked


def _make_unparsed(piece: Piece, offset_ns: int, problem: str) -> Exchange:
    task = piece.task + offset_ns if piece.task else 0
    mark = Mark(piece.time_ns + offset_ns, piece.tid, piece.offset, task)
    return Exchange("opaque", {"data": b""}, None, mark, mark, mark, mark, problem=problem)


def _name_peer(connection: Connection, lane: TlsLane) -> str:
    """The other end, by the name that the client asked for if it called one."""
    opened = connection.opened
    if connection.role == SocketRole.SERVER:
        return f"clients of port {opened.local_port}"
    return f"{lane.facts.sni or opened.remote}:{opened.remote_port}"
