"""Tells the sockets over which agents in Java programs report, and whose connections they mean."""

from __future__ import annotations

from kebpf.capture.tlsevents import SessionEvent
from kebpf.reassembly.connection import Connection
from kebpf.reassembly.javareports import Ends, JavaReports, is_channel, is_report
from kebpf.reassembly.stream import Piece


class JavaChannels:
    """Knows the open connections by their ends."""

    def __init__(self) -> None:
        self._reports: dict[int, JavaReports] = {}  # by process
        self._by_ends: dict[Ends, Connection] = {}

    def open_connection(self, connection: Connection) -> None:
        """Has it known from here on."""
        self._by_ends[_find_ends(connection)] = connection

    def close_connection(self, connection: Connection) -> None:
        """Another may have the same ends by now."""
        ends = _find_ends(connection)
        if self._by_ends.get(ends) is connection:
            del self._by_ends[ends]

    def forget_process(self, pid: int) -> None:
        """Another program runs there, or none."""
        self._reports.pop(pid, None)

    def begins(self, connection: Connection, piece: Piece) -> bool:
        """Whether a connection is an agent's own, which its first datagram shows."""
        is_alone = connection.transport == "udp" and is_channel(connection.opened)
        return is_alone and piece.data is not None and is_report(piece.data)

    def take(
        self, connection: Connection, piece: Piece
    ) -> list[tuple[SessionEvent, Connection | None]]:
        """What a datagram says, and the connection each event is of, if that is known.

        Raises `ReportError`.
        """
        reports = self._reports.setdefault(connection.pid, JavaReports(connection.pid))
        found = reports.take(piece)
        return [(one.event, self._by_ends.get(one.ends) if one.ends else None) for one in found]


def _find_ends(connection: Connection) -> Ends:
    opened = connection.opened
    return (opened.local, opened.local_port), (opened.remote, opened.remote_port)
