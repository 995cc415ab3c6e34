"""The held part of a recording: requests and calls by time, and which were in flight when.

Times are judged only up to a *frontier*: before it no request is unknown.  Both queues are kept
in the order in which things began.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field

from kebpf.recording.activity import FOREVER_NS, Inbound, Memory, Outbound
from kebpf.recording.behind import Behind

SEGMENTS_CAP = 10_000  # connections whose session exchanges are counted


@dataclass(order=True, slots=True)
class _Entry:
    start_ns: int
    number: int
    call: Outbound = field(compare=False)


class Timeline:
    """Places calls among the requests that were in flight when they began."""

    def __init__(self, behind: Behind) -> None:
        self._behind = behind
        self.frontier_ns = 0
        self._number = 0
        self._coming_calls: list[_Entry] = []
        self._coming_requests: list[tuple[int, int, Inbound]] = []
        self._active: list[Inbound] = []
        self.first_request_ns: int | None = None
        self._segments: Memory[int, int] = Memory(SEGMENTS_CAP)
        self.placed: deque[Outbound] = deque()
        self.by_connection: dict[int, deque[Outbound]] = {}
        self.unresolved: deque[Inbound] = deque()

    def add_request(self, request: Inbound) -> None:
        """Takes a request that is complete (or, being open too long, has to be judged)."""
        self._number += 1
        if self.first_request_ns is None or request.start_ns < self.first_request_ns:
            self.first_request_ns = request.start_ns
        heapq.heappush(self._coming_requests, (request.start_ns, self._number, request))

    def add_call(self, call: Outbound) -> None:
        """Takes a complete call."""
        self._number += 1
        call.is_late = call.start_ns < self.frontier_ns
        heapq.heappush(self._coming_calls, _Entry(call.start_ns, self._number, call))

    def advance(self, frontier_ns: int) -> list[Outbound]:
        """Places all calls that began before ``frontier_ns``, and gives them."""
        placed = []
        self.frontier_ns = max(self.frontier_ns, frontier_ns)
        while self._coming_calls and self._coming_calls[0].start_ns < self.frontier_ns:
            call = heapq.heappop(self._coming_calls).call
            self._start_requests(call.start_ns)
            self._place(call)
            placed.append(call)
        self._start_requests(self.frontier_ns - 1)
        self._active = [one for one in self._active if one.end_ns >= self.frontier_ns]
        return placed

    def _start_requests(self, until_ns: int) -> None:
        while self._coming_requests and self._coming_requests[0][0] <= until_ns:
            request = heapq.heappop(self._coming_requests)[2]
            self._active.append(request)
            self.unresolved.append(request)
            self._behind.begin(request)

    def _place(self, call: Outbound) -> None:
        if not call.is_late:
            self._active = [one for one in self._active if one.end_ns >= call.start_ns]
            call.candidates = [one for one in self._active if one.covers(call.start_ns)]
            self._behind.place(call)
        first_ns = self.first_request_ns
        call.is_startup = first_ns is None or call.start_ns < first_ns
        connection = call.recorded.connection
        call.segment = self._segments.get(connection) or 0
        if call.may_end_checkout:
            self._segments.put(connection, call.segment + 1)
        self.placed.append(call)
        self.by_connection.setdefault(connection, deque()).append(call)

    def pop_ripe(self, horizon_ns: int) -> Outbound | None:
        """The earliest placed call whose possible requests have all ended, if there is one."""
        if not self.placed:
            return None
        call = self.placed[0]
        ends = [one.end_ns for one in call.candidates if one.end_ns < FOREVER_NS]
        if max(ends, default=0) > horizon_ns:
            return None
        self.placed.popleft()
        siblings = self.by_connection[call.recorded.connection]
        siblings.popleft()
        if not siblings:
            del self.by_connection[call.recorded.connection]
        return call

    def siblings_of(self, call: Outbound) -> deque[Outbound]:
        """The later placed calls on the same connection."""
        return self.by_connection.get(call.recorded.connection, deque())

    def pop_resolvable(self, horizon_ns: int, late_ns: int) -> Inbound | None:
        """The earliest request of which every possible call was decided, if there is one.

        Calls may be made so much later than its response.
        """
        if not self.unresolved:
            return None
        request = self.unresolved[0]
        undecided_ns = self.placed[0].start_ns if self.placed else self.frontier_ns
        decided_ns = min(horizon_ns, undecided_ns)
        if request.end_ns < FOREVER_NS and request.end_ns + late_ns >= decided_ns:
            return None
        return self.unresolved.popleft()
