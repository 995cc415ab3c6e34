"""Calls made behind a response: what a hook, a thread or a queue does once the client was answered.

A thread that serves one request at a time and makes a call between its response and the next
request it reads works for the one it answered.  Of other threads only the pattern tells: an
operation that comes close behind the responses of a route, of most of them, and never alone, is
done for them.  A poll comes at any time, so also while nothing was answered for long.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field

from kebpf.recording.activity import Inbound, Memory, Outbound, Threads, Viewer
from kebpf.recording.model import Evidence
from kebpf.recording.naming import name_route_of

MEMORY_CAP = 10_000  # threads, processes, routes and operations remembered, each
LATE_NS = 250_000_000  # who served a request may call so much later for it
RECENT_NS = 100_000_000  # the same of a thread that did not serve it
AT_ONCE_NS = 10_000_000  # and of an operation that was seen only once
MOST_RECENT = 16  # requests of a process that ended last


@dataclass(slots=True)
class _Operation:
    """How often it was done behind responses of which route, and while nothing was answered."""

    behind: dict[str, int] = field(default_factory=dict)
    lone: int = 0


class Behind:
    """Takes requests and calls in the order in which they began."""

    def __init__(self, viewer: Viewer, threads: Threads) -> None:
        self._viewer = viewer
        self._threads = threads
        self._reading: Memory[int, Inbound] = Memory(MEMORY_CAP)  # by thread, the last it read
        self._answering: Memory[int, Inbound] = Memory(MEMORY_CAP)  # the last it answered
        self._readers: Memory[int, set[int]] = Memory(MEMORY_CAP)  # by process
        self._loops: Memory[int, None] = Memory(MEMORY_CAP)  # processes of several at a time
        self._recent: Memory[int, deque[Inbound]] = Memory(MEMORY_CAP)  # by process
        self._routes: Memory[str, int] = Memory(MEMORY_CAP)
        self._operations: Memory[Hashable, _Operation] = Memory(MEMORY_CAP)

    def begin(self, request: Inbound) -> None:
        """A request began, after all that began before it."""
        if request.recorded is None:
            return
        tid, pid = request.tid, request.pid
        before = self._reading.get(tid)
        if before is not None and before.end_ns > request.start_ns:
            self._loops.put(pid, None)
        self._reading.put(tid, request)
        readers = self._readers.get(pid)
        if readers is None:
            self._readers.put(pid, readers := set())
            self._recent.put(pid, deque(maxlen=MOST_RECENT))
        readers.add(tid)
        response = request.recorded.exchange.response_start
        if response is not None and response.tid:
            self._answering.put(response.tid, request)
        (self._recent.get(pid) or deque[Inbound]()).append(request)
        route = _route_of(request)
        self._routes.put(route, (self._routes.get(route) or 0) + 1)

    def place(self, call: Outbound) -> None:
        """A call began: which requests that are over it may be behind is settled now."""
        if not self._threads.is_bound(call):
            call.recent = self._find_recent(call)
            return
        served = self._answering.get(call.tid)
        if served is None:
            call.recent = self._find_recent(call)
        elif served.end_ns < call.start_ns <= served.end_ns + LATE_NS:
            call.behind = served

    def observe(self, call: Outbound) -> bool:
        """Learns from a call of no request in flight; whether its thread made it for one over."""
        if call.is_session:
            return self._is_serving(call)
        key = self._key_of(call)
        known = self._operations.get(key)
        if known is None:
            self._operations.put(key, known := _Operation())
        over = [call.behind] if call.behind is not None else call.recent
        routes = {_route_of(request) for request in over}
        if not over:
            known.lone += 1
        elif len(routes) == 1:
            route = routes.pop()
            known.behind[route] = known.behind.get(route, 0) + 1
        return self._is_serving(call)

    def find_owner(self, call: Outbound) -> tuple[Inbound | None, Evidence]:
        """The request, over by now, that a call was made for; sets its candidates if several."""
        if call.candidates or call.is_late or call.is_startup:
            return None, Evidence.NONE
        if self._is_serving(call) and not self._is_lone(call):
            return self._unless_resolved(call.behind), Evidence.THREAD
        if call.is_session or call.task:
            return None, Evidence.NONE
        over = [call.behind] if call.behind is not None else call.recent
        found = [one for one in over if not one.is_resolved and self._follows(call, one)]
        if len(found) > 1:
            call.candidates = found
        return (found[0], Evidence.TIME) if len(found) == 1 else (None, Evidence.NONE)

    def _is_serving(self, call: Outbound) -> bool:
        """Whether its thread serves one request after the other and had just answered one."""
        pid = call.recorded.pid
        is_one_by_one = pid not in self._loops and len(self._readers.get(pid) or ()) > 1
        return call.behind is not None and is_one_by_one

    def _is_lone(self, call: Outbound) -> bool:
        known = None if call.is_session else self._operations.get(self._key_of(call))
        return known is not None and known.lone > 0

    def _follows(self, call: Outbound, request: Inbound) -> bool:
        """Whether most responses of the request's route have such a call behind them."""
        known = self._operations.get(self._key_of(call))
        if known is None or known.lone:
            return False
        own = _route_of(request)
        if self._is_usual(known, own):
            return True
        others = [one for one in known.behind if one != own and not self._is_usual(known, one)]
        is_at_once = call.start_ns - request.end_ns <= AT_ONCE_NS
        return not others and is_at_once and self._routes.get(own) == 1

    def _is_usual(self, known: _Operation, route: str) -> bool:
        times = self._routes.get(route) or 0
        return times > 1 and 2 * known.behind.get(route, 0) > times

    def _find_recent(self, call: Outbound) -> list[Inbound]:
        """Those of its process that were answered shortly before."""
        recent = self._recent.get(call.recorded.pid) or ()
        at = call.start_ns
        return [one for one in recent if one.end_ns < at <= one.end_ns + RECENT_NS]

    def _key_of(self, call: Outbound) -> Hashable:
        is_reader = call.tid in (self._readers.get(call.recorded.pid) or ())
        return is_reader, self._viewer.name_operation(call)

    def _unless_resolved(self, request: Inbound | None) -> Inbound | None:
        return None if request is None or request.is_resolved else request


def _route_of(request: Inbound) -> str:
    """Method and path, and how it was answered."""
    exchange = request.recorded.exchange if request.recorded is not None else None
    if exchange is None:
        return ""
    if request.route is None:
        request.route = name_route_of(exchange.request)
    status = (exchange.response or {}).get("status")
    return f"{request.route} {status}"
