"""Reads what the agent in a Java program reports of its TLS: datagrams in, session events out.

The layout is that of kebpf/capture/java/sun/security/ssl/KebpfSender.java: one report a datagram,
big-endian, and none so large that the probes would cut it.
"""

from __future__ import annotations

import ipaddress
import struct
from collections import OrderedDict
from dataclasses import dataclass, field

from kebpf.capture.events import Direction, Open, Transport
from kebpf.capture.head import Head
from kebpf.capture.tlsevents import Library, Mark, Plain, SessionEvent, TlsCode
from kebpf.reassembly.stream import Piece

MAGIC = b"kebpfJS\x01"
#: Magic, kind, direction, flags, size of the payload, session, offset; then, as many bytes as the
#: next says, either the ends of its connection, if they are known, or how its TLS record begins.
HEAD = struct.Struct(">8sBBBxIQQB45sxx")
RECORD_SIZE = 29

#: Sessions that something is kept of; beyond that it is forgotten of those used least lately.
MOST_SESSIONS = 65_536

_STARTED, _PLAIN, _MARK, _END = range(1, 5)
_CONTESTED, _WITH_ENDS = 1, 2
_ENDS = {12: struct.Struct(">4sH4sH"), 36: struct.Struct(">16sH16sH")}  # IPv4 and IPv6

#: The local and the remote end of a connection, host and port.
Ends = tuple[tuple[str, int], tuple[str, int]]


class ReportError(Exception):
    """A datagram is no report, or one that was cut off."""


@dataclass(frozen=True, slots=True)
class Report:
    """One event; ``ends`` are those of the session's connection, where the agent knew them."""

    event: SessionEvent
    ends: Ends | None = None


@dataclass(slots=True)
class _Session:
    # by direction: what is counted from (unknown at first if it may be older), and up to where
    bases: list[int | None] = field(default_factory=lambda: [0, 0])
    positions: list[int] = field(default_factory=lambda: [0, 0])


def is_channel(opened: Open) -> bool:
    """Whether a socket speaks with itself over a loopback address, as the agent's do."""
    local = (opened.local, opened.local_port)
    if opened.head.transport != Transport.UDP or local != (opened.remote, opened.remote_port):
        return False
    return bool(opened.local_port) and ipaddress.ip_address(opened.local).is_loopback


def is_report(data: bytes) -> bool:
    """Whether a datagram is an agent's."""
    return data.startswith(MAGIC)


class JavaReports:
    """All reports of one process, through whatever sockets it sends them.

    ``lost_size`` are the bytes of plaintext that were not reported, or whose report was lost.
    An agent whose start was not seen may have
    had sessions before: these are known from what comes first of them.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._sessions: OrderedDict[int, _Session] = OrderedDict()
        self._has_started = False
        self.lost_size = 0

    def take(self, piece: Piece) -> list[Report]:
        """What one datagram says; of one that was lost, nothing.  Raises `ReportError`."""
        data = piece.data
        if data is None:
            return []  # the offsets of the next will tell
        try:
            (magic, kind, way, flags, size, session, offset, record_size, record) = (
                HEAD.unpack_from(data)
            )
            direction = Direction(way)
        except (struct.error, ValueError) as error:
            raise ReportError(f"damaged report: {error}") from None
        payload = data[HEAD.size :]
        if magic != MAGIC or len(payload) != size or record_size > len(record):
            raise ReportError("damaged report")
        head = Head(piece.time_ns, 0, 0, self._pid, piece.tid, direction, 0, 0)
        if kind == _STARTED:
            return [Report(self._start(head, payload))]
        if kind not in (_PLAIN, _MARK, _END):
            return []  # of a later version
        body = None if flags & _CONTESTED else payload
        moved = size if kind == _PLAIN else 0
        offset = self._rebase(session, direction, offset)
        events = self._advance(head, session, offset, moved)
        ends = _read_ends(record[:record_size]) if flags & _WITH_ENDS else None
        if record_size and ends is None:
            events.append(Mark(head, session, 0, record[:record_size]))
        if moved:
            self.lost_size += moved if body is None else 0
            events.append(Plain(head, session, 0, offset, moved, moved, body))
        return [Report(event, ends) for event in events]

    def _start(self, head: Head, payload: bytes) -> TlsCode:
        version, _, changed = _read_lines(payload, 3)
        self._sessions.clear()
        self._has_started = True
        return TlsCode(
            head, Library.JAVA, changed.isdigit() and int(changed) > 0, "Java " + version
        )

    def _find(self, session: int) -> _Session:
        known = self._sessions.get(session)
        if known is None:
            known = self._sessions[session] = _Session()
            known.bases = [0, 0] if self._has_started else [None, None]
            if len(self._sessions) > MOST_SESSIONS:
                self._sessions.popitem(last=False)
        else:
            self._sessions.move_to_end(session)
        return known

    def _rebase(self, session: int, direction: Direction, offset: int) -> int:
        """Counted from where the session was first seen."""
        bases = self._find(session).bases
        base = bases[direction]
        if base is None:
            base = bases[direction] = offset
        return max(0, offset - base)

    def _advance(self, head: Head, session: int, offset: int, size: int) -> list[SessionEvent]:
        """What is missing before ``offset``, as bytes that could not be read."""
        positions = self._find(session).positions
        position = positions[head.direction]
        positions[head.direction] = max(position, offset + size)
        missing = offset - position
        if missing <= 0:
            return []
        self.lost_size += missing
        return [Plain(head, session, 0, position, missing, missing, None)]


def _read_lines(payload: bytes, count: int) -> list[str]:
    try:
        lines = payload.decode().split("\n")
    except UnicodeDecodeError:
        lines = []
    if len(lines) != count:
        raise ReportError("damaged report: its text is not as agreed")
    return lines


def _read_ends(data: bytes) -> Ends | None:
    """As `kebpf.capture.events` has addresses; ``None`` for ends of no kind that is known."""
    layout = _ENDS.get(len(data))
    if layout is None:
        return None
    local, local_port, remote, remote_port = layout.unpack(data)
    return (_name(local), local_port), (_name(remote), remote_port)


def _name(raw: bytes) -> str:
    address = ipaddress.ip_address(raw)
    return str(getattr(address, "ipv4_mapped", None) or address)
