"""Builds a test set from exchanges while they complete, holding only what is still open.

The capture stage adds every exchange as it completes and says from time to time up to when it
has done so and which requests are still open (`advance`).  What began before all of these is
judged, written and forgotten.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Unpack

from kebpf.protocols.registry import get_protocol
from kebpf.recording.activity import (
    FOREVER_NS,
    Inbound,
    Memory,
    Outbound,
    ProtocolFinder,
    last_mark,
)
from kebpf.recording.attribution import Attributor
from kebpf.recording.behind import LATE_NS
from kebpf.recording.casemaker import HTTP, CaseMaker, PreparedCase, belongs_to_left_out
from kebpf.recording.dedup.leaving import Rules, Sifting
from kebpf.recording.dedup.unique import UniqueCases
from kebpf.recording.doubts import CALLS_LOST, REQUESTS_UNKNOWN, Doubts
from kebpf.recording.facts import Facts, make_manifest
from kebpf.recording.measure import measure_document
from kebpf.recording.model import Manifest, RecordedExchange, Role
from kebpf.recording.naming import NameGiver
from kebpf.recording.provenance import Provenance
from kebpf.recording.redaction.redactor import Redactor
from kebpf.recording.stats import RecordingStats
from kebpf.recording.store import TestSetWriter
from kebpf.recording.timeline import Timeline

GRACE_NS = 2_000_000_000  # calls may end this much later than the request that made them
HASTES = (1, 8, 64)  # that time is so much shorter while half of what may be held is
LEARNING_NS = 5_000_000_000  # from the first request on, nothing is decided
FEW_REQUESTS = 100  # while only so many are seen it is not so for
WHILE_FEW = 4  # times as long: a slow host teaches as much as a quick one
FINISH_STEP_NS = 50_000_000  # how much is settled at a time when the recording ends
HELD_CAP = 48 << 20  # bytes of exchanges held before requests open for long are given up

TOO_LONG = "it ran so long that the calls made meanwhile could not be told apart"
BEGAN_BEFORE = "it began before the recording"
MOST_DOUBTFUL = 1_000  # requests beyond twice the cases that are kept
MOST_HELD_DOUBTFUL = 20_000
MOST_CONNECTIONS = 10_000  # of which it is known what was served last
STILL_OPEN = "it was not finished when the recording ended"
CUT_OFF = "the recording ended before "


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """An inbound request that has begun and is not complete yet."""

    start_ns: int
    connection: int
    tid: int = 0
    pid: int = 0


class RecordingBuilder:
    """Takes exchanges, gives a test set.  Raises ``TestSetError`` when it cannot be written."""

    def __init__(
        self,
        writer: TestSetWriter,
        name: str,
        *,
        find_protocol: ProtocolFinder = get_protocol,
        grace_ns: int = GRACE_NS,
        held_cap: int = HELD_CAP,
        learning_ns: int = LEARNING_NS,
        redactor: Redactor | None = None,
        sifting: Sifting | None = None,
    ) -> None:
        sifting = sifting or Sifting()
        self._writer = writer
        self._name = name
        self._grace_ns = grace_ns
        self._held_cap = held_cap
        self._learning_ns = learning_ns
        self._held_size = 0
        self._newest_ns = 0
        self._attributor = Attributor(find_protocol)
        self._timeline = Timeline(self._attributor.behind)
        self._rules = Rules(sifting.leave_out)
        self._unique = UniqueCases(writer, find_protocol) if sifting.unique else None
        names = NameGiver(writer.has_case, have_gaps=sifting.unique)
        self._maker = CaseMaker(find_protocol, Provenance(), names, redactor)
        self._given_up: dict[int, Inbound] = {}  # by connection
        self._doubts = Doubts()
        self._unseen: dict[int, Inbound] = {}  # by connection
        self._latest: Memory[int, Inbound] = Memory(MOST_CONNECTIONS)  # answered, by connection
        self._decided: deque[Outbound] = deque()
        self._unwritten: deque[PreparedCase] = deque()
        self._doubtful: list[Inbound] = []  # written, and perhaps to be set apart
        self._cut_off: list[Inbound] = []
        self._ports: list[int] = []
        self.stats = RecordingStats()

    def add(self, recorded: RecordedExchange) -> None:
        """Takes the next exchange that completed."""
        self._newest_ns = max(self._newest_ns, last_mark(recorded.exchange).time_ns)
        if recorded.exchange.problem == BEGAN_BEFORE:
            self._add_unseen(recorded)
            return
        try:
            size = _measure(recorded)
        except ValueError as error:
            recorded.exchange.problem = recorded.exchange.problem or f"cannot be stored: it {error}"
            recorded.exchange.request, recorded.exchange.response, size = {}, None, 0
        if recorded.role is Role.SERVER:
            self._add_inbound(recorded, size)
        else:
            self._add_outbound(recorded, size)

    def give_up_connection(self, connection: int, role: Role, start_ns: int, pid: int) -> None:
        """Nothing that crosses a connection from then on will be seen, until `close_connection`."""
        if role is Role.CLIENT:
            self._doubts.open_calls(connection, start_ns)
        else:
            self._timeline.add_request(self._doubts.open_requests(connection, start_ns, pid))

    def close_connection(self, connection: int, end_ns: int) -> None:
        """A connection ended, perhaps one that was given up."""
        self._doubts.close(connection, end_ns)

    def lose_events(self, role: Role | None, start_ns: int, end_ns: int) -> None:
        """Of connections with that role, or any, something was lost in that time."""
        if role is not Role.SERVER:
            self._doubts.doubt_calls(start_ns, end_ns, CALLS_LOST)
        if role is not Role.CLIENT:
            inbound = Inbound(start_ns, end_ns, 0, 0, None, REQUESTS_UNKNOWN)
            self._timeline.add_request(inbound)

    def link_tasks(self, pid: int, task: int, parent: int) -> None:
        """One asyncio task of a process made another."""
        self._attributor.tasks.link(pid, task, parent)

    def note_thread(self, tid: int, maker: int, time_ns: int) -> None:
        """A thread was made by another one; without ``maker`` (0) it ended."""
        self._attributor.behind.note_thread(tid, maker, time_ns)

    def advance(self, now_ns: int, open_requests: Sequence[OpenRequest] = ()) -> None:
        """All exchanges that ended before ``now_ns`` were added; these requests are open.

        Settles what it can; to be called a few times a second.  When too much is held for long
        it waits less for late calls, and gives up on the oldest open request if that is no help.
        """
        still_open = [one for one in open_requests if one.connection not in self._given_up]
        first_ns = min((one.start_ns for one in still_open), default=now_ns)
        for haste in HASTES:
            self._settle(min(now_ns - self._grace_ns // haste, first_ns), haste)
            if self._held_size <= self._held_cap // 2:
                return
        if self._held_size > self._held_cap and still_open:
            self._give_up(min(still_open, key=lambda one: one.start_ns))

    def finish(
        self,
        *,
        tell: Callable[[], None] = lambda: None,
        **facts: Unpack[Facts],
    ) -> Manifest:
        """Settles the rest and commits the test set; nothing can be added afterwards.

        ``tell`` is called now and then meanwhile.
        """
        for _ in self._given_up:
            self.stats.count_left_out(STILL_OPEN)
        for request in self._cut_off:  # what it called last was added after it
            request.end_ns = max(request.end_ns, self._newest_ns)
        for step_ns in range(self._grace_ns, 0, -FINISH_STEP_NS):  # not all of it at once
            self._settle(self._newest_ns - step_ns)
            tell()
        self._settle(FOREVER_NS - 1)
        unique = self._finish_unique()
        self._set_apart(self._doubtful)  # when the mocks of what is not kept are gone
        manifest = self._describe(facts)
        manifest.extra = manifest.extra | unique
        self._writer.commit(manifest)
        return manifest

    def mark(self, **facts: Unpack[Facts]) -> None:
        """Says what `finish` would be told now, for the case that the recording is cut off."""
        self._writer.mark(self._describe(facts))

    def _describe(self, facts: Facts) -> Manifest:
        left_out = self._maker.without_secrets(self.stats.left_out)
        return make_manifest(self._name, facts, self._ports, left_out)

    def _finish_unique(self) -> dict[str, Any]:
        """What the manifest says of it, if only unique cases were kept."""
        if self._unique is None:
            return {}
        facts = self._unique.finish()
        self._tell_unique(self._unique)
        return {"unique": facts}

    def _set_apart(self, requests: Sequence[Inbound]) -> None:
        """Those whose cases redaction keeps from passing, by all that was seen until now."""
        for request in requests:
            reason = self._maker.find_doubt(request, self._writer.has_case)
            name = request.name or ""
            if reason is not None and self._writer.has_case(name):
                self._writer.set_apart(name, reason)
                self.stats.count_apart(reason)

    @property
    def held_size(self) -> int:
        """Roughly the bytes of the exchanges held at the moment."""
        return self._held_size

    def _add_inbound(self, recorded: RecordedExchange, size: int) -> None:
        exchange = recorded.exchange
        self.stats.requests += 1
        self._attributor.threads.learn_request(recorded)
        self._attributor.workers.learn_exchange(recorded)
        port = recorded.local.port
        if port and port not in self._ports and exchange.protocol == HTTP:
            self._ports.append(port)
        given_up = self._given_up.get(recorded.connection)
        if given_up is not None and exchange.request_start.time_ns <= given_up.start_ns:
            del self._given_up[recorded.connection]
            given_up.end_ns = self._end_of(recorded)
            self.stats.count_left_out(TOO_LONG)
            return
        self._held_size += size
        inbound = Inbound(
            start_ns=exchange.request_start.time_ns,
            end_ns=self._end_of(recorded),
            tid=exchange.request_start.tid,
            pid=recorded.pid,
            recorded=recorded if exchange.request else None,  # its values are not known
            problem=self._find_problem(recorded),
            size=size,
            task=0 if exchange.response_start is None else exchange.response_start.task,
        )
        if inbound.problem is None and exchange.response is not None:
            previous = self._latest.get(recorded.connection)
            if previous is not None:
                previous.is_followed = True
            self._latest.put(recorded.connection, inbound)
        if exchange.problem is not None and exchange.problem.startswith(CUT_OFF):
            self._cut_off.append(inbound)
        self._attributor.tasks.learn_request(inbound)
        self._maker.learn_request(inbound)
        self._timeline.add_request(inbound)

    def _find_problem(self, recorded: RecordedExchange) -> str | None:
        return _problem_of_inbound(recorded) or self._rules.find_reason(recorded.exchange.request)

    def _add_unseen(self, recorded: RecordedExchange) -> None:
        """A request of which only the answer is seen: calls until then may be its own."""
        known, end_ns = self._unseen.get(recorded.connection), self._end_of(recorded)
        if known is not None and known.end_ns >= self._timeline.frontier_ns:
            known.end_ns = max(known.end_ns, end_ns)
            return
        start_ns = 0 if known is None else known.end_ns
        unseen = Inbound(start_ns, end_ns, 0, recorded.pid, None, BEGAN_BEFORE)
        self._unseen[recorded.connection] = unseen
        self._timeline.add_request(unseen)

    def _end_of(self, recorded: RecordedExchange) -> int:
        """When a request was over; one without an answer may have gone on until now."""
        exchange = recorded.exchange
        return self._newest_ns if exchange.response_end is None else exchange.response_end.time_ns

    def _add_outbound(self, recorded: RecordedExchange, size: int) -> None:
        exchange = recorded.exchange
        self._attributor.threads.learn_exchange(recorded)
        self._attributor.workers.learn_exchange(recorded)
        self.stats.count_call(str(recorded.remote))
        self._held_size += size
        call = Outbound(
            recorded=recorded,
            start_ns=exchange.request_start.time_ns,
            end_ns=last_mark(exchange).time_ns,
            tid=exchange.request_start.tid,
            size=size,
            task=exchange.request_start.task,
        )
        self._maker.learn_call(call)
        self._timeline.add_call(call)

    def _give_up(self, one: OpenRequest) -> None:
        """Judges on as if the request may have made any call from now on."""
        inbound = Inbound(one.start_ns, FOREVER_NS, one.tid, one.pid, None, TOO_LONG)
        self._given_up[one.connection] = inbound
        self._timeline.add_request(inbound)

    def _settle(self, horizon_ns: int, haste: int = 1) -> None:
        timeline, late_ns = self._timeline, min(LATE_NS, self._grace_ns // 8) // haste
        for call in timeline.advance(horizon_ns):
            self._attributor.observe(call)
        if self._is_learning(horizon_ns):
            return
        while (ripe := timeline.pop_ripe(horizon_ns)) is not None:
            self._attributor.decide(ripe, timeline.siblings_of(ripe))
            self._decided.append(ripe)
        while (request := timeline.pop_resolvable(horizon_ns, late_ns)) is not None:
            self._resolve(request)
            self._write_decided()  # at once: what is written need not be held
        self._write_decided()
        oldest = timeline.unresolved[0].start_ns if timeline.unresolved else horizon_ns
        self._doubts.forget(min(horizon_ns, oldest))

    def _is_learning(self, horizon_ns: int) -> bool:
        """Whether it is too early to say more: what later calls teach helps with the first."""
        first_ns = self._timeline.first_request_ns
        if first_ns is None or self._held_size > self._held_cap // 2:
            return False
        times = WHILE_FEW if self.stats.requests < FEW_REQUESTS else 1
        return horizon_ns < first_ns + times * self._learning_ns

    def _resolve(self, request: Inbound) -> None:
        """Makes a case of a request or leaves it out; forgets what is needed no more."""
        self._attributor.reconsider(request)
        problem = self._maker.find_problem(request) or self._doubts.find_problem(request)
        if problem is None:
            try:
                self._unwritten.append(self._maker.prepare(request))
            except ValueError as error:
                problem = f"cannot be stored: {error}"
        is_known = request.end_ns != FOREVER_NS and problem != REQUESTS_UNKNOWN
        if problem is not None and is_known:
            self.stats.count_left_out(problem)
        self._held_size -= request.size
        request.is_resolved = True
        request.recorded = request.inputs = request.links = request.views = request.shown = None
        request.answers, request.doubtful = [], []

    def _write_decided(self) -> None:
        while self._decided and all(one.is_resolved for one in self._decided[0].candidates):
            call = self._decided.popleft()
            self._held_size -= call.size
            self._write_mock(call)
            call.before = None  # or it would hold all those before it
        while self._unwritten and self._unwritten[0].is_ready:
            self._write_case(self._unwritten.popleft())

    def _write_case(self, prepared: PreparedCase) -> None:
        self._maker.find_needs(prepared.request)
        text = prepared.write()
        if self._unique is None:
            self._writer.add_written(prepared.case.name, text)
            self.stats.test_cases += 1
        else:
            self._unique.add_case(prepared.case, text)
            self._tell_unique(self._unique)
        request = prepared.request
        if request.makers or self._maker.find_doubt(request, bool) is not None:  # so far
            self._doubtful.append(request)
            self._forget_doubtful()

    def _forget_doubtful(self) -> None:
        """Of cases that are no longer kept it matters no more; of very many, not to the end."""
        unique = self._unique
        if unique is not None and len(self._doubtful) > 2 * unique.test_cases + MOST_DOUBTFUL:
            self._doubtful = [one for one in self._doubtful if unique.holds(one.name or "")]
        if len(self._doubtful) > MOST_HELD_DOUBTFUL:  # what would clear them would have come
            half = MOST_HELD_DOUBTFUL // 2
            self._set_apart(self._doubtful[:half])
            del self._doubtful[:half]

    def _tell_unique(self, unique: UniqueCases) -> None:
        self.stats.test_cases, self.stats.mocks = unique.test_cases, unique.mocks
        self.stats.unique = unique.shapes

    def _write_mock(self, call: Outbound) -> None:
        problem = call.recorded.exchange.problem
        if problem is not None:
            if not call.candidates:
                self.stats.count_left_out(f"a call of no test case: {problem}")
            return
        if not belongs_to_left_out(call):
            mock = self._maker.make_mock(call)
            mock.is_by_reader = self._attributor.threads.is_by_reader(call)
            mock.tasks = self._attributor.tasks.find_line(call)
            if self._unique is not None:
                self._unique.add_mock(mock)
                return
            self._writer.add_mock(mock)
            self.stats.mocks += 1


def _measure(recorded: RecordedExchange) -> int:
    exchange = recorded.exchange
    return measure_document(exchange.request) + measure_document(exchange.response)


def _problem_of_inbound(recorded: RecordedExchange) -> str | None:
    exchange = recorded.exchange
    if exchange.protocol != HTTP:
        return f"inbound {exchange.protocol} exchanges are not made into test cases"
    return exchange.problem
