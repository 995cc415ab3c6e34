"""Chooses the recorded answer to each call of the application; never by similarity.

A call is the recorded one when destination, protocol and identity are equal once the bindings
have translated it; recorded values that the program generated are compared by class and bound.
Looked for, in this order: the calls of the case now running, in recorded order among equal
ones; calls shared by several cases; those that may be its own or a request's that was left out,
each once, and interchangeable among cases where they are equal; the start-up tier, each once, and
without end before the first case; the background tier, without end.  A call that only another case
made is answered as there, so that the application goes on, and reported as extra.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice

from kebpf.protocols.base import Document, Miss, ProtocolSpec
from kebpf.protocols.registry import get_protocol
from kebpf.recording.model import Endpoint, Mock, TestCase, Tier, Tls
from kebpf.recording.times import SECOND_NS, Window
from kebpf.replay.answers import DestinationAnswers, are_equal
from kebpf.replay.assignment import Assignments
from kebpf.replay.binding import Bindings
from kebpf.replay.caches import Caches, describe_overuse
from kebpf.replay.call import Call
from kebpf.replay.case_calls import CaseCalls, describe_missing, pair_call
from kebpf.replay.events import CallFinding, Ledger
from kebpf.replay.index import MOST_VERIFIED, Group, MockIndex, MockSource, Recorded, key_of
from kebpf.replay.kept import KeptRequests
from kebpf.replay.noise import Noise
from kebpf.replay.opened import OpenedNow
from kebpf.replay.orders import Orders
from kebpf.replay.outside import Outside, widen
from kebpf.replay.revalidation import without_conditions
from kebpf.replay.sharing import SharedCall
from kebpf.replay.strays import Stray, find_nearest
from kebpf.replay.trail import Ended
from kebpf.replay.transactions import Transactions, find_transactions

LONGEST_CASE_NS = 3600 * SECOND_NS  # a case's window stays open so long while it runs
DNS_PORT = 53
MOST_UNUSED = 1000  # names of mocks that were not used, in the account of a run


def _open_window(start_ns: int) -> Window:
    """The window of a case whose end is not known yet."""
    return Window(start_ns, start_ns + LONGEST_CASE_NS)


class Matcher:
    """Answers the calls of one run of one test set and keeps account of them.

    ``case_names`` are the cases of the run in their order, ``set_apart`` those that are kept but
    not run: their calls are asserted of nobody, and answer once each whom they fit.  ``watch``, if
    set, is shown every mock while the set is read; ``on_call`` is called after each answered call,
    ``watch_call`` before, with the mock that answers it.
    ``routes`` are those of all recorded cases; ``index`` is the test set's, if it is made already.
    """

    def __init__(
        self,
        test_set: MockSource,
        bindings: Bindings,
        get_spec: Callable[[str], ProtocolSpec] = get_protocol,
        case_names: Sequence[str] = (),
        watch: Callable[[Mock], None] | None = None,
        set_apart: Collection[str] = (),
        routes: Mapping[str, str] | None = None,
        noise: Noise | None = None,
        index: MockIndex | None = None,
    ) -> None:
        self._places = {name: place for place, name in enumerate(case_names)}
        self.on_call: Callable[[], None] | None = None
        self.watch_call: Callable[[Call, Recorded | None], None] | None = None
        self.bindings = bindings
        self.get_spec = get_spec
        self.noise = noise or Noise()
        if index is None:
            index = MockIndex(test_set, get_spec, watch, set_apart, self.noise)
        self.index = index
        self.orders = Orders(index)
        self._assignments = Assignments(self.index.load)
        self._kept: dict[tuple[Endpoint, str], KeptRequests] = defaultdict(KeptRequests)
        self._outside = Outside(self.index, bindings, self._is_unused)
        self._caches = Caches(self.index, routes or {})
        self.opened = OpenedNow(index.openings, index.encryptions)
        self._current = CaseCalls(None, _open_window(0))
        self._used = bytearray(len(self.index))
        self._has_begun = False
        self._ran: set[str] = set()
        self._findings: list[CallFinding] = []
        self._misses = 0
        self._cached: list[str] = []

    def begin_case(self, case: TestCase | None, window_start_ns: int) -> None:
        """Calls from now on are those of ``case`` (``None``: of no case)."""
        self._close(window_start_ns)
        self._current = CaseCalls(None, _open_window(window_start_ns))
        if case is None:
            return
        self._has_begun = True
        self._ran.add(case.name)
        index, load = self.index, self.index.load
        record = self.orders.record_of(case.name)
        self._current = CaseCalls(
            case,
            _open_window(window_start_ns),
            record,
            sorted(map(load, index.shared(case.name)), key=self._urgency),
            Transactions(find_transactions(record.own, record.session)),
            map(load, index.possible(case.name)),
        )

    def _urgency(self, item: Recorded) -> tuple[int, int]:
        """Of equal shared mocks, the one goes first whose last case to use it comes first."""
        places = [self._places.get(name, 0) for name in item.mock.candidates]
        return max(places, default=0), item.ordinal

    def end_case(self, now_ns: int) -> list[CallFinding]:
        """Ends the case; gives what about its calls was not as recorded."""
        current, self._current = self._current, CaseCalls(None, _open_window(now_ns))
        return current.finish(now_ns, self)

    def own_calls(self) -> Iterable[Recorded]:
        """The calls that the current case alone was recorded to make."""
        return self._current.recorded.values()

    def note_call(self, call: Call, item: Recorded | None) -> None:
        """A call came, which ``item`` answers if it is one of the case's."""
        if self.watch_call is not None:
            self.watch_call(call, item)

    def pending(self) -> list[str]:
        """Descriptions of the current case's asserted calls that were not made yet."""
        return self._current.pending(self._caches.may_leave_out)

    def pending_delay_ns(self) -> int | None:
        """How long after its request the last missing call was made; ``None``: any time may do."""
        return self._current.pending_delay_ns()

    @property
    def current(self) -> CaseCalls:
        """The calls of the case now running."""
        return self._current

    def finish(self) -> tuple[list[CallFinding], Ledger]:
        """Findings that belong to no one case, and the account of all mocks that were to be used.

        Mocks of cases that did not run are in no column.
        """
        self._close(self._current.window.end_ns)
        findings = [*self._judge_shared(), *self.opened.list_findings()]
        findings += map(describe_overuse, self._caches.made_too_often())
        unused = [ordinal for ordinal in self._due_ordinals() if not self._used[ordinal]]
        names = [self.index.name_of(ordinal) for ordinal in unused[:MOST_UNUSED]]
        asserted_of_nobody = sum(self._used[ordinal] for ordinal in self.index.left_out)
        ledger = Ledger(
            sum(self._used),
            names,
            self._misses,
            len(unused) - len(names),
            asserted_of_nobody,
            list(self._cached),
        )
        return self._findings + findings, ledger

    def _judge_shared(self) -> Iterator[CallFinding]:
        """Calls that none of their cases made, though all ran, whoever made which of the others."""
        judged = bytearray(len(self.index))
        for ordinal in self._of_ran(self.index.shared):
            if self._used[ordinal] or judged[ordinal]:
                continue
            judged[ordinal] = 1
            item = self.index.load(ordinal)
            is_due = self._have_run(item.mock.candidates) and not self._caches.is_given_up(item)
            if is_due and not self._cover(item):
                yield describe_missing(item)

    def list_shared(self) -> Iterator[SharedCall]:
        """Calls of several cases, not all of which ran here: who ran the others knows the rest."""
        index = self.index
        judged = bytearray(len(index))
        for ordinals_of in (index.shared, index.possible):
            for ordinal in self._of_ran(ordinals_of):
                if judged[ordinal]:
                    continue
                judged[ordinal] = 1
                item = index.load(ordinal)
                if not (self._have_run(item.mock.candidates) or self._caches.is_given_up(item)):
                    yield self._tell_shared(item)

    def _tell_shared(self, item: Recorded) -> SharedCall:
        mock = item.mock
        own = frozenset(self._ran.intersection(mock.candidates))
        return SharedCall(
            mock.name,
            key_of(mock, item.leaves),
            frozenset(mock.candidates),
            own,
            bool(self._used[item.ordinal]),
            mock.tier is Tier.CASE,
            describe_missing(item),
        )

    def _cover(self, item: Recorded) -> bool:
        bucket = self.index.undecided.bucket_of(item.mock, item.leaves)
        spare = self._assignments.cover(bucket, item.ordinal, self._have_run)
        if spare is None:
            return False
        self._used[item.ordinal], self._used[spare] = 1, 0
        return True

    def _have_run(self, cases: Sequence[str]) -> bool:
        return self._ran.issuperset(cases)

    def _of_ran(self, ordinals_of: Callable[[str], Iterable[int]]) -> Iterator[int]:
        return (ordinal for name in self._ran for ordinal in ordinals_of(name))

    def _due_ordinals(self) -> Iterator[int]:
        """Mocks of the cases that ran (shared ones when all their cases did), and of no case."""
        is_due = bytearray(len(self.index))
        for ordinals in (self.index.outside, self._of_ran(self.index.own)):
            for ordinal in ordinals:
                is_due[ordinal] = 1
        for ordinal in self._of_ran(self.index.shared):
            if not self._used[ordinal] and not is_due[ordinal]:
                is_due[ordinal] = self._have_run(self.index.load(ordinal).mock.candidates)
        return (ordinal for ordinal, due in enumerate(is_due) if due)

    def _close(self, end_ns: int) -> None:
        """What happened outside any case, or in one never ended, belongs to the run."""
        self._findings += self._current.finish(end_ns, self)

    def mark_used(self, item: Recorded) -> None:
        """Notes in the ledger that a mock answered a call."""
        self._used[item.ordinal] = 1

    def protocol_of(self, endpoint: Endpoint) -> str | None:
        """The protocol recorded most often at an endpoint, ``None`` when nothing was."""
        counts = self.index.protocols.get(endpoint)
        return max(counts, key=lambda name: counts[name]) if counts else None

    def for_destination(
        self, endpoint: Endpoint, protocol: str | None = None, tls: Tls | None = None
    ) -> DestinationAnswers:
        """The answers for a server session of a destination, on one connection."""
        place = self._find_resolver(endpoint)
        name = protocol or self.protocol_of(place) or "opaque"
        return DestinationAnswers(self, place, name, tls)

    def kept_at(self, endpoint: Endpoint, protocol: str) -> KeptRequests:
        """The requests that the connections to a destination have in common."""
        return self._kept[endpoint, protocol]

    def _find_resolver(self, endpoint: Endpoint) -> Endpoint:
        """Which machine resolves names is the host's affair: any recorded resolver answers."""
        if endpoint.port != DNS_PORT or endpoint in self.index.protocols:
            return endpoint
        recorded = (place for place in self.index.protocols if place.port == DNS_PORT)
        return next(recorded, endpoint)

    def facts_for(self, endpoint: Endpoint) -> list[Document]:
        """The recorded session exchanges of an endpoint, one of each identity."""
        mocks = (self.index.load(i).mock for i in self.index.facts.get(endpoint, ()))
        return [{"request": mock.request, "response": mock.response} for mock in mocks]

    def note_ending(self, protocol: str, endpoint: Endpoint, ended: Ended) -> None:
        """The application committed or rolled back what it had called for on one connection."""
        self._current.transactions.note((protocol, str(endpoint), ended.verb), ended)

    def may_leave_out(self, item: Recorded) -> bool:
        """Whether a case need not make a call: the program remembers the answer, or gave it up."""
        return self._caches.may_leave_out(item) or self._caches.is_given_up(item)

    def is_made_twice(self, call: Call, case: str) -> bool:
        """Whether a case made a read as recorded and in the form of another case too."""
        return self._caches.is_made_twice(call, case)

    def note_cached(self, call: str) -> None:
        """A call was made or left out because of what the program remembers."""
        self._cached.append(call)

    def borrow(self, stray: Stray, item: Recorded) -> bool:
        """Whether a read that only others recorded may be made by the case, for now."""
        case = self.name_of_case()
        if case is None or not self._caches.may_make(stray.call, item, case):
            return False
        self._current.borrowed.append(stray)
        self._caches.note_made(stray.call, case)
        self._caches.note_borrowed(stray.call, case)
        return True

    def race(self, call: Call) -> bool:
        """Whether the case may make a read that the recorded program gave up; then it did."""
        case = self.name_of_case()
        if case is None or not self._caches.may_race(call, case):
            return False
        self._caches.note_made(call, case)
        self.note_cached(call.description)
        return True

    def find_plain(self, call: Call) -> Recorded | None:
        """The case's own due read, if the call is that in a conditional form nobody recorded."""
        current, plain = self._current, without_conditions(call)
        if plain is None:
            return None
        item = self._first(current.group, plain, lambda i: i in current.due, current.recorded)
        if item is None or not self._caches.may_answer_plainly(item, call, plain):
            return None
        return item

    def find(self, call: Call) -> Recorded | None:
        """The mock that answers the call, without using it up."""
        item = self._find_inside(call)
        return item or self._outside.find(call, self._current.window, self._has_begun)

    def is_due(self, call: Call) -> bool:
        """Whether a call for whose answer the program waits can be answered by now."""
        inside = self._find_inside(call)
        return inside is not None or self._outside.is_due(call, self._current.window)

    def _find_inside(self, call: Call) -> Recorded | None:
        """The mock of a case, or of what may be a case's."""
        current = self._current
        return (
            self._first(current.group, call, lambda i: i in current.due, current.recorded)
            or self._first(current.shared_group, call, self._is_unused, current.shared)
            or self._first(current.possible_group, call, self._is_unused, current.possible)
            or self._change_places(call)
            or self._first(self.index.spare, call, self._is_unused)
        )

    def _change_places(self, call: Call) -> Recorded | None:
        """A mock that is another case's, which used one of this case's; nothing is served yet."""
        case = self.name_of_case()
        if case is None:
            return None
        for bucket in self.index.undecided.buckets(call):
            item = self._assignments.find_place(bucket, case, partial(self._fits, call=call))
            if item is not None:
                return item
        return None

    def _fits(self, item: Recorded, call: Call) -> bool:
        """Whether a mock is unused and is the call's, with what is bound by now."""
        pairs = pair_call(item, call)
        is_free = not self._used[item.ordinal] and pairs is not None
        return is_free and self.bindings.fits(pairs or [], self._current.window)

    def find_known(self, call: Call) -> list[Recorded]:
        """The mocks with the call's identity that were the case's to use, all used up by now."""
        current = self._current
        found = [
            *self._known(current.group, call, current.recorded),
            *self._known(current.shared_group, call, current.shared),
            *self._known(current.possible_group, call, current.possible),
        ]
        found = found or list(islice(self._known(self.index.startup, call), MOST_VERIFIED))
        return [item for item in found if self._used[item.ordinal]]

    def has_one_answer(self, call: Call, known: list[Recorded]) -> bool:
        """Whether the ``known`` mocks of the call all hold the same response."""
        return are_equal(known)

    def find_elsewhere(self, call: Call) -> Recorded | None:
        """A mock of another case with the same identity."""
        current = self.name_of_case()
        for item in self._known(self.index.anywhere, call):
            is_other = current is None or item.mock.case != current
            if is_other and self.bindings.fits(pair_call(item, call) or [], self._current.window):
                return item
        return None

    def _is_unused(self, ordinal: int) -> bool:
        return not self._used[ordinal]

    def _first(
        self,
        group: Group,
        call: Call,
        is_usable: Callable[[int], bool],
        loaded: Mapping[int, Recorded] | None = None,
    ) -> Recorded | None:
        for bucket in group.buckets(call):
            for ordinal in islice(bucket.usable(is_usable), MOST_VERIFIED):
                item = self.index.load_for(ordinal, call) if loaded is None else loaded[ordinal]
                pairs = pair_call(item, call)
                if pairs is None:
                    continue
                if not pairs or self.bindings.fits(pairs, self._current.window):
                    return item
        return None

    def _known(
        self,
        group: Group,
        call: Call,
        loaded: Mapping[int, Recorded] | None = None,
        most: int | None = MOST_VERIFIED,
    ) -> Iterator[Recorded]:
        """Mocks with the call's identity, used or not, whatever their values are bound to."""
        for bucket in group.buckets(call):
            for ordinal in islice(reversed(bucket), most):
                item = self._load(ordinal, loaded)
                if pair_call(item, call) is not None:
                    yield item

    def _load(self, ordinal: int, loaded: Mapping[int, Recorded] | None) -> Recorded:
        return self.index.load(ordinal) if loaded is None else loaded[ordinal]

    def serve(self, item: Recorded, call: Call) -> Document | None:
        """Uses a mock up, binds its values and gives its response in the run's own values."""
        self._used[item.ordinal] = 1
        self._current.note_served(item)
        case = self.name_of_case()
        self.note_made(call, case)
        if case is not None and item.mock.candidates:
            self._assignments.note(item.ordinal, case)
        pairs = pair_call(item, call) if item.answers is None and item.mock.generated else None
        if pairs and self.bindings.try_bind(pairs, self._window_of(item)):
            self._current.note_times(call, pairs)
        return self.respond(item)

    def _window_of(self, item: Recorded) -> Window:
        is_anyones = item.mock.case is None and not item.mock.candidates
        return widen(self._current.window) if is_anyones else self._current.window

    def note_made(self, call: Call, case: str | None) -> None:
        """A call was answered with a mock that was to be used: another may be left out for it."""
        self._caches.note_made(call, case)

    def use(self, item: Recorded) -> Document | None:
        """Uses a mock of the case up for a call in another form; gives its response."""
        self._used[item.ordinal] = 1
        self._current.due.pop(item.ordinal, None)
        return self.respond(item)

    def respond(self, item: Recorded) -> Document | None:
        """The response of a mock in the run's own values."""
        response: Document | None = self.bindings.hand_over(item.response)
        return response

    def note_stray(self, stray: Stray) -> None:
        """Keeps what will be a finding of the case."""
        self._current.strays.note(stray)

    def note_answer(self) -> None:
        """A call was answered, if only with a miss."""
        if self.on_call is not None:
            self.on_call()

    def count_miss(self, call: Call, miss: Miss) -> None:
        """A call got no answer but ``miss``."""
        self._misses += 1

    def find_nearest(self, call: Call) -> Recorded | None:
        """What a call without a mock was most likely meant to be: for the message only."""
        sampled = map(self.index.load, self.index.samples(call.destination, call.operation))
        return self._current.find_nearest(call) or find_nearest(call, sampled)

    def count_made(self, known: Sequence[Recorded]) -> int:
        """How many of some used mocks the case now running used."""
        current, case = self._current, self.name_of_case()
        own = sum(item.ordinal in current.recorded for item in known)
        return own + self._assignments.count(case, (item.ordinal for item in known))

    def name_users(self, known: Sequence[Recorded]) -> list[str]:
        """The other cases that used some mocks that were as much theirs."""
        names = self._assignments.callers(item.ordinal for item in known)
        others = (name for name in names if name != self.name_of_case())
        return sorted(others, key=lambda name: (self._places.get(name, 0), name))

    def name_of_case(self) -> str | None:
        """The case now running."""
        return self._current.case.name if self._current.case else None

    def session_mock(self, call: Call) -> Recorded | None:
        """The first session exchange with the call's identity."""
        return next(self._known(self.index.session, call), None)
