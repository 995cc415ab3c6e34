"""Counts what a target serves in protocols that make no test cases, instead of parsing it.

Nothing needs to be known of such requests while the target makes no calls.  Once it does, they
must be known for what they may have caused: a call must not be taken for another request's.  Then
each of the client's turns is given as an exchange without contents, which lasts from its first
byte to the server's last before the client's next: never shorter than the requests in it.
"""

from __future__ import annotations

from dataclasses import dataclass

from kebpf.protocols.base import Exchange, Mark, Sender

#: Silence after an answer that ends a turn; a pause in an answer may be as long.
LONGEST_PAUSE_NS = 10_000_000_000

_CLIENT = Sender.CLIENT
_NOTHING: list[Exchange] = []


@dataclass(slots=True)
class Served:
    """What was served in one protocol and not parsed; ``size`` in bytes of both directions."""

    connections: int = 0
    size: int = 0


class ServedConnection:
    """The `kebpf.protocols.base.Pairer` of a connection that is only counted, into ``served``."""

    def __init__(self, protocol: str, served: Served) -> None:
        self.broken: str | None = None
        self._protocol = protocol
        self._served = served
        self._is_awake = False
        self._start: Mark | None = None
        self._end: Mark | None = None
        served.connections += 1

    def wake(self) -> None:
        """The target makes calls: turns are given from now on, also the one under way."""
        self._is_awake = True

    @property
    def open_since(self) -> Mark | None:
        """Where the turn under way began, if it is not answered."""
        return self._start if self._is_awake and self._end is None else None

    @property
    def held_since(self) -> Mark | None:
        """Where the turn began that is answered and may go on."""
        return self._start if self._is_awake and self._end is not None else None

    def receive_data(self, sender: Sender, data: bytes, mark: Mark) -> list[Exchange]:
        """Counts bytes; gives the turn they ended."""
        return self._receive(sender, len(data), mark)

    def receive_gap(self, sender: Sender, size: int, mark: Mark) -> list[Exchange]:
        """Counts bytes that were not seen."""
        return self._receive(sender, size, mark)

    def receive_eof(self, sender: Sender, mark: Mark) -> list[Exchange]:
        """The sender closed its direction: nothing of the client's is answered any more."""
        return _NOTHING if sender is _CLIENT else self._end_turn(mark)

    def finish(self, mark: Mark) -> list[Exchange]:
        """The recording or the connection ended."""
        return self._end_turn(mark)

    def release_idle(self, mark: Mark) -> list[Exchange]:
        """Gives a turn that was answered and not gone on with for `LONGEST_PAUSE_NS`."""
        if self._end is None or mark.time_ns - self._end.time_ns < LONGEST_PAUSE_NS:
            return _NOTHING
        return self._end_turn(mark)

    def _receive(self, sender: Sender, size: int, mark: Mark) -> list[Exchange]:
        self._served.size += size
        if sender is not _CLIENT:
            self._end = mark
            return _NOTHING
        if self._end is None:
            self._start = self._start or mark
            return _NOTHING
        given = self._end_turn(mark) if self._is_awake else _NOTHING
        self._start, self._end = mark, None
        return given

    def _end_turn(self, mark: Mark) -> list[Exchange]:
        start, end = self._start, self._end or mark
        self._start = self._end = None
        if start is None or not self._is_awake:
            return _NOTHING
        return [Exchange(self._protocol, {}, None, start, start, response_end=end)]


def describe_served(protocol: str, connections: int, size: int) -> str:
    """The sentence of the summary."""
    what = "1 connection" if connections == 1 else f"{connections:,} connections"
    return f"{what} served {protocol} ({size:,} bytes, only counted): only HTTP makes test cases"
