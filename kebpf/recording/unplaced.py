"""Counts by server the calls whose database is not known: their connections were open before."""

from __future__ import annotations

from dataclasses import dataclass, field

from kebpf.recording.model import RecordedExchange, Role

MOST_SERVERS = 100
MOST_CONNECTIONS = 10_000  # a server
KINDS = ("query", "function")


@dataclass(slots=True)
class _Server:
    calls: int = 0
    connections: set[int] = field(default_factory=set)


class UnplacedCalls:
    """Takes all exchanges; beyond its caps servers and connections are no longer told apart."""

    def __init__(self) -> None:
        self._servers: dict[str, _Server] = {}

    def note(self, recorded: RecordedExchange) -> None:
        """Counts a call of PostgreSQL that runs in an unknown database."""
        exchange = recorded.exchange
        if exchange.protocol != "postgres" or recorded.role is not Role.CLIENT:
            return
        request = exchange.request
        is_call = request.get("kind") in KINDS and not exchange.is_session
        if not is_call or request.get("database") is not None or exchange.problem is not None:
            return
        name = str(recorded.remote)
        if name not in self._servers and len(self._servers) >= MOST_SERVERS:
            return
        server = self._servers.setdefault(name, _Server())
        server.calls += 1
        if len(server.connections) < MOST_CONNECTIONS:
            server.connections.add(recorded.connection)

    def as_fields(self) -> dict[str, dict[str, int]]:
        """By server, as JSON holds it."""
        return {
            name: {"connections": len(one.connections), "calls": one.calls}
            for name, one in self._servers.items()
        }


def describe_unplaced(server: str, connections: int, calls: int) -> str:
    """The sentence of the summary; the arguments are those of `UnplacedCalls.as_fields`."""
    are = "connection that was" if connections == 1 else "connections that were"
    return (
        f"{server}: the database of {connections:,} {are} open before the recording is not known; "
        f"{calls:,} call{'' if calls == 1 else 's'} on {'it' if connections == 1 else 'them'} "
        "will answer in any database"
    )
