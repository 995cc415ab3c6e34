"""Calls made behind a response: what a hook, a thread or a queue does once the client was answered.

A thread that serves one request at a time and makes a call between its response and the next
request it reads works for the one it answered.  A thread or a process that it makes meanwhile,
and that ends soon, works for that request as well; one that stays may be anybody's.  Of other
threads only the pattern tells: an operation that comes close behind the responses of a route, once
behind most of them, in about the same time, and never alone, is done for them.  A poll comes at
any time.
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
SPREAD_NS = 20_000_000  # by which the delays of what always follows differ at most
USUAL_NEEDED = 4  # responses of a route
MOST_RECENT = 16  # requests of a process that ended last
MOST_READ = 4  # requests of a thread
MOST_MAKERS = 8  # threads that made one another


@dataclass(slots=True)
class _Thread:
    """Made by another, and when; ``end_ns`` is 0 while it may go on."""

    maker: int
    start_ns: int
    end_ns: int = 0


@dataclass(slots=True)
class _Operation:
    """How often it was done behind responses of which route, and while nothing was answered."""

    behind: dict[str, int] = field(default_factory=dict)
    lone: int = 0
    delays: dict[str, tuple[int, int]] = field(default_factory=dict)  # the shortest, the longest


class Behind:
    """Takes requests and calls in the order in which they began."""

    def __init__(self, viewer: Viewer, threads: Threads) -> None:
        self._viewer = viewer
        self._threads = threads
        self._reading: Memory[int, deque[Inbound]] = Memory(MEMORY_CAP)  # by thread, the last
        self._answering: Memory[int, Inbound] = Memory(MEMORY_CAP)  # by thread, the last
        self._made: Memory[int, _Thread] = Memory(MEMORY_CAP)
        self._readers: Memory[int, set[int]] = Memory(MEMORY_CAP)  # by process
        self._loops: Memory[int, None] = Memory(MEMORY_CAP)  # processes of several at a time
        self._recent: Memory[int, deque[Inbound]] = Memory(MEMORY_CAP)  # by process
        self._routes: Memory[str, int] = Memory(MEMORY_CAP)
        self._operations: Memory[Hashable, _Operation] = Memory(MEMORY_CAP)

    def note_thread(self, tid: int, maker: int, time_ns: int) -> None:
        """A thread, or a process's first, was made by another; without ``maker`` (0) it ended."""
        made = self._made.get(tid)
        if maker:
            self._made.put(tid, _Thread(maker, time_ns))
        elif made is not None and not made.end_ns:
            made.end_ns = time_ns

    def begin(self, request: Inbound) -> None:
        """A request began, after all that began before it."""
        if request.recorded is None:
            return
        tid, pid = request.tid, request.pid
        read = self._reading.get(tid)
        if read is None:
            self._reading.put(tid, read := deque(maxlen=MOST_READ))
        if read and read[-1].end_ns > request.start_ns:
            self._loops.put(pid, None)
        read.append(request)
        readers, recent = self._readers.get(pid), self._recent.get(pid)
        if readers is None or recent is None:
            self._readers.put(pid, readers := set())
            self._recent.put(pid, recent := deque(maxlen=MOST_RECENT))
        readers.add(tid)
        recent.append(request)
        response = request.recorded.exchange.response_start
        if response is not None and response.tid:
            self._answering.put(response.tid, request)
        route = _route_of(request)
        self._routes.put(route, (self._routes.get(route) or 0) + 1)

    def place(self, call: Outbound) -> None:
        """A call began: which requests that are over it may be behind is settled now."""
        if not self._threads.is_bound(call):
            call.recent = self._find_recent(call)
            return
        call.begun_by = self._find_maker(call)
        served = self._answering.get(call.tid)
        if served is None:
            call.recent = self._find_recent(call)
        elif served.end_ns < call.start_ns <= served.end_ns + LATE_NS:
            call.behind = served

    def observe(self, call: Outbound) -> bool:
        """Learns from a call of no request in flight; whether its thread made it for one over."""
        if call.is_session or call.begun_by is not None:
            return call.begun_by is not None or self._is_serving(call)
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
            self._count(known, route, call.start_ns - over[-1].end_ns)
        return self._is_serving(call)

    def _count(self, known: _Operation, route: str, delay_ns: int) -> None:
        known.behind[route] = known.behind.get(route, 0) + 1
        least, most = known.delays.get(route, (delay_ns, delay_ns))
        known.delays[route] = min(least, delay_ns), max(most, delay_ns)

    def find_owner(self, call: Outbound) -> tuple[Inbound | None, Evidence]:
        """The request, over by now, that a call was made for; sets its candidates if several."""
        if call.is_late or call.is_startup:
            return None, Evidence.NONE
        if call.begun_by is not None and self._has_ended(call):
            return self._unless_resolved(call.begun_by), Evidence.THREAD
        if call.candidates:
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

    def _has_ended(self, call: Outbound) -> bool:
        made = self._made.get(call.tid)
        return made is not None and made.end_ns > call.start_ns

    def _find_maker(self, call: Outbound) -> Inbound | None:
        """The request that the thread was at, or just over with, that made the call's thread."""
        if call.recorded.pid in self._loops or call.tid in self._answering:
            return None
        tid, at = call.tid, call.start_ns
        for _ in range(MOST_MAKERS):
            made = self._made.get(tid)
            if made is None or made.start_ns > at:
                return None
            tid, at = made.maker, made.start_ns
            for request in reversed(self._reading.get(tid) or ()):
                if request.start_ns <= at:
                    is_near = max(call.start_ns, at) <= request.end_ns + LATE_NS
                    return request if is_near and request.pid not in self._loops else None
        return None

    def _is_serving(self, call: Outbound) -> bool:
        """Whether its thread serves one request after the other and had just answered one."""
        pid = call.recorded.pid
        # A process's only thread may be a loop that just never had two requests at once.
        is_one_of_many = call.tid != pid or len(self._readers.get(pid) or ()) > 1
        return call.behind is not None and pid not in self._loops and is_one_of_many

    def _is_lone(self, call: Outbound) -> bool:
        known = None if call.is_session else self._operations.get(self._key_of(call))
        return known is not None and known.lone > 0

    def _follows(self, call: Outbound, request: Inbound) -> bool:
        """Whether most responses of the request's route have such a call behind them."""
        known = self._operations.get(self._key_of(call))
        if known is None or known.lone:
            return False
        return self._is_usual(known, _route_of(request))

    def _is_usual(self, known: _Operation, route: str) -> bool:
        times, least_most = self._routes.get(route) or 0, known.delays.get(route)
        if times < USUAL_NEEDED or least_most is None:
            return False
        is_steady = least_most[1] - least_most[0] <= SPREAD_NS
        return is_steady and times < 2 * known.behind[route] <= 2 * times

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
