"""Decides which request caused a call, by the strongest evidence there is.

In this order: *task* (an asyncio task that worked for the request sent it), *thread* (the call
was made by the thread that read the request, and only one request was in flight on it),
*checkout* (it shares a transaction, or a pool checkout, with calls that only one request can have
made), *lineage* (its arguments came in with one request only), *time* (only one request was in
flight).  What these leave open stays open: a call is never given to one of several requests by
guessing.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from itertools import takewhile

from kebpf.recording.activity import (
    Inbound,
    Memory,
    Outbound,
    ProtocolFinder,
    Threads,
    Viewer,
)
from kebpf.recording.behind import Behind
from kebpf.recording.checkout import Checkouts
from kebpf.recording.lineage import (
    Inputs,
    Place,
    PlaceMemory,
    choose_by_lineage,
    find_places,
    template_of,
)
from kebpf.recording.links import Links
from kebpf.recording.model import Evidence
from kebpf.recording.showing import Showing
from kebpf.recording.tasks import Tasks
from kebpf.recording.workers import Workers

MEMORY_CAP = 10_000  # groups, operations and idle calls remembered, each
IDLE_REPEATS = 2  # so often seen while nothing was in flight, a call is taken for background
LESSONS_PER_OPERATION = 64

_INDEPENDENT = {Evidence.TASK, Evidence.THREAD, Evidence.LINEAGE, Evidence.TIME}


class Attributor:
    """Decides calls one by one, in the order in which they began, and learns from each."""

    def __init__(self, find_protocol: ProtocolFinder) -> None:
        self._viewer = Viewer(find_protocol)
        self.threads = Threads()
        self.tasks = Tasks()
        self._checkouts = Checkouts()
        self._places = PlaceMemory()
        self._owners: Memory[Hashable, Inbound] = Memory(MEMORY_CAP)
        self._previous: Memory[Hashable, Inbound] = Memory(MEMORY_CAP)
        self._open_groups: Memory[Hashable, None] = Memory(MEMORY_CAP)
        self._idle: Memory[Hashable, int] = Memory(MEMORY_CAP)
        self._lessons: Memory[Hashable, int] = Memory(MEMORY_CAP)
        self._links = Links(self._viewer)
        self._showing = Showing(self._viewer)
        self.workers = Workers(self._viewer)
        self.behind = Behind(self._viewer, self.threads)

    def observe(self, call: Outbound) -> None:
        """Learns from a call as soon as it is known what was in flight when it began."""
        is_of_a_time = call.candidates or call.is_session or call.is_startup or call.is_late
        if is_of_a_time or self.tasks.narrow(call) or self.behind.observe(call):
            return
        key = self._idle_key(call)
        self._idle.put(key, (self._idle.get(key) or 0) + 1)
        self.workers.note_idle(call)

    def decide(self, call: Outbound, upcoming: Iterable[Outbound]) -> None:
        """Sets ``case`` and ``evidence`` of a call, or leaves its ``candidates`` narrowed.

        ``upcoming`` are the later calls on its connection whose candidates are known already.
        """
        group = self._checkouts.group_of(call)
        possible = call.candidates = self.tasks.narrow(call)
        call.candidates = self.threads.narrow(call)
        self._observe_places(call)
        self.workers.note(call)
        owner, evidence = self.tasks.find_owner(call), Evidence.TASK
        if owner is None:
            owner, evidence = self.behind.find_owner(call)
        if owner is None and self._is_own_doing(call, group, upcoming):
            call.candidates, evidence = [], Evidence.NONE
        elif owner is None:
            owner, evidence = self._find_owner(call, possible, group, upcoming)
        call.case, call.evidence = owner, evidence
        if owner is None:
            self._note_open(call)
            if group is not None and not call.is_session:
                self._open_groups.put(group, None)
            return
        self._note_decided(call, owner, group)
        if group is not None and evidence is not Evidence.TIME:
            self._owners.put(group, owner)

    def reconsider(self, request: Inbound) -> None:
        """Decides more of the calls that may be this request's, now that it is complete.

        Each decision may help with the next, so this goes on until one round decides nothing.
        """
        is_moving = True
        while is_moving:
            is_moving = False
            for call in request.doubtful:
                if call.case is None and self._decide_late(call, request.doubtful):
                    is_moving = True

    def _decide_late(self, call: Outbound, open_calls: Sequence[Outbound]) -> bool:
        group = self._checkouts.group_of(call)
        owner, evidence = self._by_lineage(call), Evidence.LINEAGE
        if owner is None:
            owner = self._links.find_owner(call, open_calls) or self._showing.find_owner(call)
        if owner is None:
            owner, evidence = self.workers.find_continued(call), Evidence.THREAD
        if owner is None and group is not None:
            owner, evidence = self._owners.get(group), Evidence.CHECKOUT
        if owner is None or owner not in call.candidates or owner.is_resolved:
            return False
        call.case, call.evidence = owner, evidence
        self._note_decided(call, owner, group)
        if group is not None:
            self._owners.put(group, owner)
        return True

    def _find_owner(
        self,
        call: Outbound,
        raw: Sequence[Inbound],
        group: Hashable,
        upcoming: Iterable[Outbound],
    ) -> tuple[Inbound | None, Evidence]:
        if call.is_session and call.recorded.exchange.transaction is not None:
            # A COMMIT may come after the response, so only its transaction says whose it is.
            if group is None or group in self._open_groups:
                return None, Evidence.NONE
            begun_by = self._previous.get(group)
            if begun_by is not None:
                return begun_by, Evidence.CHECKOUT
        by_thread = self._by_thread(call, raw)
        if by_thread is not None and not self._is_idle_call(call):
            return by_thread, Evidence.THREAD
        by_writer = self.workers.find_writer(call)
        if by_writer is not None and not self._is_idle_call(call):
            return by_writer, Evidence.THREAD
        by_checkout = self._by_checkout(call, group, upcoming)
        if by_checkout is not None:
            return by_checkout, Evidence.CHECKOUT
        by_lineage = self._by_lineage(call)
        if by_lineage is not None:
            return by_lineage, Evidence.LINEAGE
        if len(call.candidates) == 1 and not self._is_idle_call(call):
            return call.candidates[0], Evidence.TIME
        return None, Evidence.NONE

    def _by_thread(self, call: Outbound, raw: Sequence[Inbound]) -> Inbound | None:
        if not self.threads.is_bound(call):
            return None
        found = [request for request in raw if request.tid in (call.tid, 0)]
        return found[0] if len(found) == 1 and found[0].tid == call.tid else None

    def _by_checkout(
        self, call: Outbound, group: Hashable, upcoming: Iterable[Outbound]
    ) -> Inbound | None:
        if group is None:
            return None
        owner = self._owners.get(group)
        if owner is not None:
            if owner in call.candidates:
                return owner
            if not call.is_late:
                self._checkouts.refute(call)
            return None
        return self._by_group(call, group, upcoming)

    def _by_group(
        self, call: Outbound, group: Hashable, upcoming: Iterable[Outbound]
    ) -> Inbound | None:
        """The one request that all calls of a group allow, or that its strongest member has."""
        later = self._later_members(group, upcoming)
        members = later if call.is_session else [call, *later]
        if not later or not members:
            return None
        claims = {id(found): found for found in map(self._by_own_thread, members) if found}
        allowed = self._common_candidates(members)
        if not allowed:
            if any(member.candidates for member in members):  # else it was begun for no request
                self._checkouts.refute(call)
            return None
        if claims:
            only = next(iter(claims.values()))
            return only if len(claims) == 1 and only in allowed else None
        if len(allowed) == 1:
            return allowed[0]
        chosen = [found for found in map(self._by_lineage, members) if found in allowed]
        return chosen[0] if chosen and all(one is chosen[0] for one in chosen) else None

    def _later_members(self, group: Hashable, upcoming: Iterable[Outbound]) -> list[Outbound]:
        """The calls of a group that are still to come: a connection has one group at a time."""
        calls = (other for other in upcoming if not other.is_session)
        return list(takewhile(lambda other: self._checkouts.group_of(other) == group, calls))

    def _is_own_doing(self, call: Outbound, group: Hashable, upcoming: Iterable[Outbound]) -> bool:
        """Whether a thread that works for no request made it, or what it begins."""
        if not call.is_session:
            return self.workers.drives_itself(call)
        later = self._later_members(group, upcoming) if group is not None else []
        return any(map(self.workers.drives_itself, later))

    def _by_own_thread(self, call: Outbound) -> Inbound | None:
        return self._by_thread(call, call.candidates)

    def _common_candidates(self, members: Sequence[Outbound]) -> list[Inbound]:
        narrowed = [self.threads.narrow(member) for member in members]
        return [
            request
            for request in narrowed[0]
            if all(request in candidates for candidates in narrowed[1:])
        ]

    def _by_lineage(self, call: Outbound) -> Inbound | None:
        candidates = self.threads.narrow(call)
        if len(candidates) < 2 or call.is_session:
            return None
        if any(request.recorded is None for request in candidates):
            return None  # its values are not known
        certain = [self._inputs_of(request) for request in candidates]
        doubtful = [self._doubtful_inputs(request) for request in candidates]
        index = choose_by_lineage(self._places_of(call), self._places, certain, doubtful)
        return None if index is None else candidates[index]

    def _is_idle_call(self, call: Outbound) -> bool:
        """Whether the thread makes this very call also while nothing is in flight (a poll)."""
        return len(self._idle) > 0 and (self._idle.get(self._idle_key(call)) or 0) >= IDLE_REPEATS

    def _idle_key(self, call: Outbound) -> Hashable:
        identity = self._viewer.see(call).identity
        return (call.tid, str(call.destination), hash(repr(identity)))

    def _note_open(self, call: Outbound) -> None:
        if len(call.candidates) == 1 or call.is_session:
            call.candidates = []  # a poll that fell into one request's time, or never asserted
        for request in call.candidates:
            request.doubtful.append(call)
        if call.candidates:
            self._showing.learn(call, call.candidates)

    def _note_decided(self, call: Outbound, owner: Inbound, group: Hashable) -> None:
        is_known = call.evidence in _INDEPENDENT or len(call.candidates) == 1
        call.candidates = [owner]
        if call.is_session:
            _pass_problem_on(call, owner)
            return
        if group is not None:
            self._previous.put(group, owner)
        self._showing.refute(call, owner)
        if is_known:
            self._checkouts.learn(call)
            self._learn_places(call, owner)
        owner.answers.append(call)

    def _learn_places(self, call: Outbound, owner: Inbound) -> None:
        if owner.recorded is not None and self._takes_lesson(call, "known"):
            doubtful = self._doubtful_inputs(owner)
            self._places.learn(self._places_of(call), self._inputs_of(owner), doubtful)

    def _observe_places(self, call: Outbound) -> None:
        """Learns from a call of one of several requests, if all that came in is known."""
        found = call.candidates
        if len(found) < 2 or call.is_session:
            return
        self._places.note_phrases(self._places_of(call))
        if any(map(_has_unknown_inputs, found)):
            return
        if self._takes_lesson(call, "open"):
            certain = [self._inputs_of(request) for request in found]
            doubtful = [self._doubtful_inputs(request) for request in found]
            self._places.observe(self._places_of(call), certain, doubtful)

    def _takes_lesson(self, call: Outbound, kind: str) -> bool:
        """Whether there is more to learn of calls like this one, which is then counted."""
        operation = template_of(str(self._viewer.see(call).identity.get("operation", "")))
        key = (kind, str(call.destination), operation)
        lessons = self._lessons.get(key) or 0
        if lessons >= LESSONS_PER_OPERATION:
            return False
        self._lessons.put(key, lessons + 1)
        return True

    def _places_of(self, call: Outbound) -> list[Place]:
        if call.places is None:
            views = self._viewer.see(call)
            operation = str(views.identity.get("operation", ""))
            call.places = find_places(str(call.destination), operation, views.request)
        return call.places

    def _inputs_of(self, request: Inbound) -> Inputs:
        if request.inputs is None:
            request.inputs = Inputs()
            if request.recorded is not None:
                request.inputs.add_request(self._viewer.see(request).request)
        self._take_answers(request.inputs, request.answers)
        return request.inputs

    def _doubtful_inputs(self, request: Inbound) -> Inputs:
        """What came in with the answers to calls that may be the request's own."""
        self._take_answers(request.doubtful_inputs, request.doubtful)
        return request.doubtful_inputs

    def _take_answers(self, inputs: Inputs, calls: Sequence[Outbound]) -> None:
        for call in calls[inputs.answers_taken :]:
            if call.answer is None:
                call.answer = Inputs()
                if call.recorded.exchange.response is not None:
                    call.answer.add(self._viewer.see(call).response)
            inputs.take(call.answer)
        inputs.answers_taken = len(calls)


def _has_unknown_inputs(request: Inbound) -> bool:
    """Whether something came in with it that was not seen whole."""
    calls = (*request.answers, *request.doubtful)
    return request.recorded is None or any(call.recorded.exchange.problem for call in calls)


def _pass_problem_on(call: Outbound, owner: Inbound) -> None:
    """A request whose BEGIN or COMMIT cannot be repeated cannot be either."""
    problem = call.recorded.exchange.problem
    if problem is not None and owner.problem is None:
        owner.problem = f"a call it made cannot be replayed: {problem}"
