"""Counts by server the calls by statements that were prepared before the recording began.

What such a statement says was never seen, so its calls cannot be mocks; a person is told which
connections' they were, and their names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from kebpf.recording.model import RecordedExchange, Role

MOST_SERVERS = 100
MOST_NAMES = 1000  # a server
MOST_CONNECTIONS = 10_000  # a server
MOST_TOLD = 20  # names in a manifest
MOST_SHOWN = 3  # names in a sentence


@dataclass(slots=True)
class _Server:
    calls: int = 0
    names: dict[str, None] = field(default_factory=dict)  # in the order they were seen
    connections: set[int] = field(default_factory=set)


class UnlearnedStatements:
    """Takes all exchanges; beyond its caps names and connections are no longer told apart."""

    def __init__(self) -> None:
        self._servers: dict[str, _Server] = {}

    def note(self, recorded: RecordedExchange) -> None:
        """Counts a call that has a statement's name and not its text."""
        name = recorded.exchange.request.get("statement")
        if recorded.role is not Role.CLIENT or name is None or recorded.exchange.problem is None:
            return
        server = self._find(str(recorded.remote))
        if server is None:
            return
        server.calls += 1
        if len(server.names) < MOST_NAMES:
            server.names[str(name)] = None
        if len(server.connections) < MOST_CONNECTIONS:
            server.connections.add(recorded.connection)

    def _find(self, name: str) -> _Server | None:
        if name not in self._servers and len(self._servers) >= MOST_SERVERS:
            return None
        return self._servers.setdefault(name, _Server())

    def as_fields(self) -> dict[str, dict[str, Any]]:
        """By server, as JSON holds it: the counts, and the first names."""
        return {
            server: {
                "statements": len(one.names),
                "names": list(one.names)[:MOST_TOLD],
                "connections": len(one.connections),
                "calls": one.calls,
            }
            for server, one in self._servers.items()
        }


def describe_unlearned(
    server: str, statements: int, names: Sequence[str], connections: int, calls: int
) -> str:
    """The sentence of the summary; the arguments are those of `UnlearnedStatements.as_fields`."""
    shown = ", ".join(f'"{name}"' for name in names[:MOST_SHOWN])
    more = statements - min(len(names), MOST_SHOWN)
    listed = f"{shown} and {more:,} more" if more else shown
    return (
        f"{server}: {_count(statements, 'statement')} prepared before the recording ({listed}) on "
        f"{_count(connections, 'connection')}; {_count(calls, 'call')} by "
        f"{'it' if statements == 1 else 'them'} left out"
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
