"""Calls that the recorded program gave up while they were under way, by their own cancel requests.

A program that asks two things at once, and gives one up as soon as the other has failed, makes the
second in some runs and not in others: which, is a race.  What proves it is the client's own cancel
request (55.2.8 of PostgreSQL's protocol) for the connection on which it last made that call.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator

from kebpf.recording.model import Endpoint, Mock, Tier

_CANCELED = "57014"
_Server = tuple[Endpoint, int]  # a destination and the number of a process there


class GivenUp:
    """Takes every mock of a recording; sixteen bytes are kept of a call."""

    def __init__(self) -> None:
        self._sessions: dict[_Server, list[tuple[int, int]]] = defaultdict(list)
        self._cancels: list[tuple[_Server, int]] = []
        self._connections, self._starts = array("q"), array("q")

    def note(self, mock: Mock) -> None:
        """Takes the next mock; those that are no calls of cases count, but are never given up."""
        is_call = mock.tier is Tier.CASE
        self._connections.append(mock.connection if is_call else -1)
        self._starts.append(mock.timing.start_ns)
        if mock.tier is not Tier.SESSION:
            return
        kind, started_ns = mock.request.get("kind"), mock.timing.start_ns
        if kind == "startup":
            number = (mock.response or {}).get("process_id")
            if isinstance(number, int):
                session = started_ns, mock.connection
                self._sessions[mock.destination, number].append(session)
        elif kind == "cancel":
            self._cancels.append(((mock.destination, mock.request["process_id"]), started_ns))

    def find(self) -> Iterator[int]:
        """The ordinals of the last calls on the connections that were cancelled, at that time."""
        if not self._cancels:
            return
        last: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for ordinal, connection in enumerate(self._connections):
            if connection >= 0:
                last[connection].append((self._starts[ordinal], ordinal))
        for calls in last.values():
            calls.sort()
        for server, time_ns in self._cancels:
            session = _before(sorted(self._sessions.get(server, ())), time_ns)
            call = None if session is None else _before(last.get(session, []), time_ns)
            if call is not None:
                yield call


def was_cancelled(mock: Mock) -> bool:
    """Whether the server says that it gave up the call because it was asked to."""
    error = (mock.response or {}).get("error")
    return isinstance(error, dict) and error.get("code") == _CANCELED


def _before(marks: list[tuple[int, int]], time_ns: int) -> int | None:
    """What was last before a time; ``marks`` are in order."""
    at = bisect_right(marks, (time_ns, 1 << 62))
    return marks[at - 1][1] if at else None
