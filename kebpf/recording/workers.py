"""Threads that work for one request at a time without having read it.

Two kinds tell whose a call is.  A worker that *writes the response* itself (a pool behind one
reading thread): its call belongs to the request whose response it writes next.  A worker that only
computes (a function run in a thread of an event loop): an operation that always followed the same
other operation directly on its thread is never the first thing done for a request, so it belongs
to the request of the call before it.

A third kind works for no request: it takes jobs from a queue, looks what is due, and does so as
well while nothing is in flight.  What such a thread does at either time is its own doing, also when
its values are a request's: that a job's state was asked for does not mean that this made the job.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass, field

from kebpf.recording.activity import Inbound, Memory, Outbound, Viewer
from kebpf.recording.model import RecordedExchange, Role

THREADS_CAP = 10_000  # threads and operations remembered, each
CALLS_NEEDED = 8  # of a process that all stayed on their threads
FOLLOWED_NEEDED = 4  # times one operation came after the other
MOST_KEPT = 16  # operations seen before one
IDLE_REPEATS = 2  # so often done while nothing was in flight, an operation is a thread's own

_VARYING = re.compile(r"'(?:[^']|'')*'|[\w-]*\d[\w-]*")  # literals, ids in a path


@dataclass(slots=True)
class _Order:
    """What came directly before an operation on its thread: which operations, how often."""

    before: dict[Hashable, int] = field(default_factory=dict)


class Workers:
    """Learns from all exchanges; decides calls of threads that read no requests."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._readers: Memory[int, None] = Memory(THREADS_CAP)
        self._writers: Memory[int, None] = Memory(THREADS_CAP)
        self._moving: Memory[int, None] = Memory(THREADS_CAP)  # by process
        self._staying: Memory[int, int] = Memory(THREADS_CAP)  # by process
        self._last: Memory[int, Outbound] = Memory(THREADS_CAP)  # by thread
        self._orders: Memory[Hashable, _Order] = Memory(THREADS_CAP)
        self._idle: Memory[Hashable, int] = Memory(THREADS_CAP)  # by thread and operation

    def learn_exchange(self, recorded: RecordedExchange) -> None:
        """Takes every exchange when it is complete."""
        exchange = recorded.exchange
        response = exchange.response_start
        if recorded.role is Role.SERVER:
            self._readers.put(exchange.request_start.tid, None)
            if response is not None:
                self._writers.put(response.tid, None)
        elif response is not None and response.tid and exchange.request_start.tid:
            if response.tid != exchange.request_start.tid:
                self._moving.put(recorded.pid, None)
            else:
                self._staying.put(recorded.pid, (self._staying.get(recorded.pid) or 0) + 1)

    def is_worker(self, call: Outbound) -> bool:
        """Whether its thread does one thing at a time, for requests that others read."""
        pid, tid = call.recorded.pid, call.tid
        if not tid or tid in self._readers or pid in self._moving:
            return False
        return (self._staying.get(pid) or 0) >= CALLS_NEEDED

    def note_idle(self, call: Outbound) -> None:
        """Takes a call that began while nothing was in flight."""
        key = self._doing_of(call)
        self._idle.put(key, (self._idle.get(key) or 0) + 1)

    def drives_itself(self, call: Outbound) -> bool:
        """Whether its thread, which has nothing to do with requests, does this unasked as well."""
        if not call.tid or call.task or call.recorded.pid in self._moving:
            return False
        if call.tid in self._readers or call.tid in self._writers:
            return False
        return (self._idle.get(self._doing_of(call)) or 0) >= IDLE_REPEATS

    def _doing_of(self, call: Outbound) -> Hashable:
        operation = str(self._viewer.see(call).identity.get("operation", ""))
        return (call.tid, str(call.destination), _VARYING.sub("?", operation))

    def note(self, call: Outbound) -> None:
        """Takes the calls in the order in which they began."""
        if call.is_session or not self.is_worker(call) or call.tid in self._writers:
            return
        call.before = self._last.get(call.tid)
        self._last.put(call.tid, call)
        order = self._order_of(call)
        key = None if call.before is None else self._viewer.name_operation(call.before)
        if key in order.before or len(order.before) < MOST_KEPT:
            order.before[key] = order.before.get(key, 0) + 1

    def find_writer(self, call: Outbound) -> Inbound | None:
        """The candidate whose response the call's thread wrote next."""
        if call.tid not in self._writers or not self.is_worker(call):
            return None
        found: list[tuple[int, Inbound]] = []
        for request in call.candidates:
            if request.recorded is None or request.recorded.exchange.response_start is None:
                return None  # it may have been the one
            mark = request.recorded.exchange.response_start
            if mark.tid == call.tid:
                found.append((mark.time_ns, request))
        if not found or min(found, key=_first)[0] < call.start_ns:
            return None  # it wrote the head of one already, and may still be at it
        return min(found, key=_first)[1]

    def find_continued(self, call: Outbound) -> Inbound | None:
        """The request of the call before it, where the one operation always follows the other."""
        before = call.before
        if before is None or before.case is None or before.case not in call.candidates:
            return None
        counts = self._order_of(call).before
        is_constant = list(counts) == [self._viewer.name_operation(before)]
        return before.case if is_constant and sum(counts.values()) >= FOLLOWED_NEEDED else None

    def _order_of(self, call: Outbound) -> _Order:
        key = self._viewer.name_operation(call)
        order = self._orders.get(key)
        if order is None:
            order = _Order()
            self._orders.put(key, order)
        return order


def _first(pair: tuple[int, Inbound]) -> int:
    return pair[0]
