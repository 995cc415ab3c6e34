"""Times in which the target may have done what was not seen: what cannot be trusted then.

A call that was missed may have been any request's that ran meanwhile, so none of these becomes a
case.  A request that was missed may have made any call that was seen meanwhile: it stands in the
timeline without a content, and so a call is not given to another merely because no other ran.
"""

from __future__ import annotations

from dataclasses import dataclass

from kebpf.recording.activity import FOREVER_NS, Inbound

CALLS_GIVEN_UP = "a call it may have made was on a connection that was given up"
CALLS_LOST = "events of calls were lost while it ran"
REQUESTS_UNKNOWN = "not seen, as its connection was given up or its events were lost"


@dataclass(slots=True)
class _Window:
    start_ns: int
    end_ns: int
    reason: str


class Doubts:
    """Times are nanoseconds since the Unix epoch."""

    def __init__(self) -> None:
        self._windows: list[_Window] = []
        self._open: dict[int, _Window | Inbound] = {}  # by connection

    def doubt_calls(self, start_ns: int, end_ns: int, reason: str) -> None:
        """Calls may have been missed in that time."""
        self._windows.append(_Window(start_ns, end_ns, reason))

    def open_calls(self, connection: int, start_ns: int) -> None:
        """All calls on a connection are missed from then on."""
        window = _Window(start_ns, FOREVER_NS, CALLS_GIVEN_UP)
        self._open[connection] = window
        self._windows.append(window)

    def open_requests(self, connection: int, start_ns: int, pid: int) -> Inbound:
        """All requests on a connection are missed from then on: what stands for them."""
        inbound = Inbound(start_ns, FOREVER_NS, 0, pid, None, REQUESTS_UNKNOWN)
        self._open[connection] = inbound
        return inbound

    def close(self, connection: int, end_ns: int) -> None:
        """A connection ended; it need not have been one of these."""
        one = self._open.pop(connection, None)
        if one is not None:
            one.end_ns = end_ns

    def find_problem(self, request: Inbound) -> str | None:
        """Why a request cannot be trusted, if so."""
        for window in self._windows:
            if window.start_ns <= request.end_ns and request.start_ns <= window.end_ns:
                return window.reason
        return None

    def forget(self, until_ns: int) -> None:
        """No request that is still to be judged began before then."""
        if self._windows and self._windows[0].end_ns < until_ns:
            self._windows = [one for one in self._windows if one.end_ns >= until_ns]
