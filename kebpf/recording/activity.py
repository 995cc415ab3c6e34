"""What attribution works on: inbound requests, outbound calls, and their threads."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from kebpf.protocols.base import Exchange, Mark, ProtocolSpec
from kebpf.recording.lineage import Inputs, Place, template_of
from kebpf.recording.model import Endpoint, Evidence, RecordedExchange
from kebpf.recording.views import Views

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")

ProtocolFinder = Callable[[str], ProtocolSpec]

FOREVER_NS = 1 << 63  # when a request ends that is still open


class Memory(Generic[KeyT, ValueT]):
    """A mapping of at most ``cap`` entries that forgets what was not used for longest."""

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._items: OrderedDict[KeyT, ValueT] = OrderedDict()

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, key: KeyT) -> bool:
        return key in self._items

    def get(self, key: KeyT) -> ValueT | None:
        """The value of ``key``, which counts as used; ``None`` if it is not there."""
        if key not in self._items:
            return None
        self._items.move_to_end(key)
        return self._items[key]

    def put(self, key: KeyT, value: ValueT) -> None:
        """Remembers a value and forgets the oldest beyond the cap."""
        self._items[key] = value
        self._items.move_to_end(key)
        if len(self._items) > self._cap:
            self._items.popitem(last=False)


def last_mark(exchange: Exchange) -> Mark:
    """The latest mark an exchange has."""
    return exchange.response_end or exchange.response_start or exchange.request_end


@dataclass(slots=True, eq=False)
class Inbound:
    """A request the target served, from its first byte read to its last byte answered.

    ``recorded`` is ``None`` for one that was still open when it had to be judged; ``problem``
    says why it cannot become a test case.  ``answers`` are the calls held to be its own,
    ``doubtful`` those that may be.  ``task`` is the asyncio task that began to answer it, or 0.
    ``is_followed``: a later request on its connection was answered.  ``echoes`` and what
    follows are what redaction needs to know of it, also when it is resolved.
    """

    start_ns: int
    end_ns: int
    tid: int
    pid: int
    recorded: RecordedExchange | None
    problem: str | None = None
    answers: list[Outbound] = field(default_factory=list)
    doubtful: list[Outbound] = field(default_factory=list)
    inputs: Inputs | None = None
    doubtful_inputs: Inputs = field(default_factory=Inputs)
    name: str | None = None
    is_resolved: bool = False
    size: int = 0
    links: tuple[set[str], set[str]] | None = None  # words of the request, of the response
    views: Views | None = None
    route: str | None = None
    shown: dict[str, list[str]] | None = None  # by text, where the response holds it
    task: int = 0
    is_followed: bool = False
    echoes: set[str] = field(default_factory=set)  # its secrets that are common words
    credentials: list[str] = field(default_factory=list)  # by which it was let in
    is_unproved: bool = False  # a password of its was checked against a hash not known how
    is_refused: bool = False  # it was not let in, and will not be again
    is_orphan: bool = False  # what gave it a credential is no case
    makers: list[Inbound] = field(default_factory=list)  # whose responses gave it a credential

    def covers(self, time_ns: int) -> bool:
        """Whether it was in flight at that time."""
        return self.start_ns <= time_ns <= self.end_ns


@dataclass(slots=True, eq=False)
class Outbound:
    """A call the target made; ``candidates`` were in flight when it began.

    ``is_late`` when it became known only after its time had been judged.  ``generated`` are the
    templates found for it so far (``None``: none sought yet); ``name`` is its mock's.  ``task`` is
    the asyncio task that sent its first byte, or 0.  ``behind`` is the request that its thread had
    answered last, ``recent`` are those of its process, of a thread that answers none; ``begun_by``
    is the one whose thread made this call's.
    """

    recorded: RecordedExchange
    start_ns: int
    end_ns: int
    tid: int
    candidates: list[Inbound] = field(default_factory=list)
    segment: int = 0
    is_placed: bool = False
    is_late: bool = False
    case: Inbound | None = None
    evidence: Evidence = Evidence.NONE
    is_startup: bool = False
    generated: dict[str, str] | None = None
    answer: Inputs | None = None
    links: tuple[set[str], set[str]] | None = None  # words of its request, of its answer
    name: str | None = None
    size: int = 0
    views: Views | None = None
    places: list[Place] | None = None
    before: Outbound | None = None  # on the same thread, if that is a worker
    operation: tuple[str, str] | None = None  # where it went, without the literals in its text
    task: int = 0
    behind: Inbound | None = None
    recent: list[Inbound] = field(default_factory=list)
    begun_by: Inbound | None = None

    @property
    def is_session(self) -> bool:
        return self.recorded.exchange.is_session

    @property
    def may_end_checkout(self) -> bool:
        """Whether a pool may have done it between two requests: a reset, a ping.

        A COMMIT is the request's own; what the server does not count (a preparation) a driver's.
        """
        exchange = self.recorded.exchange
        return exchange.is_session and exchange.transaction is None and exchange.calls > 0

    @property
    def destination(self) -> Endpoint:
        return self.recorded.remote


class Viewer:
    """Gives the views of requests and calls."""

    def __init__(self, find_protocol: ProtocolFinder) -> None:
        self._find_protocol = find_protocol

    def see(self, one: Inbound | Outbound) -> Views:
        """Of a call, or of a request whose exchange is known."""
        if one.views is None:
            assert one.recorded is not None
            exchange = one.recorded.exchange
            one.views = Views(self._find_protocol(exchange.protocol), exchange, one.size)
        return one.views

    def name_operation(self, call: Outbound) -> tuple[str, str]:
        """Where a call went and what it asked for, without the literals in its text."""
        if call.operation is None:
            operation = str(self.see(call).identity.get("operation", ""))
            call.operation = (str(call.destination), template_of(operation))
        return call.operation


class Threads:
    """What is known of the target's threads: which read requests, and whether work moves."""

    def __init__(self, cap: int = 10_000) -> None:
        self._readers: Memory[int, None] = Memory(cap)
        self._serving: Memory[int, None] = Memory(cap)
        self._moving: Memory[int, None] = Memory(cap)

    def learn_request(self, recorded: RecordedExchange) -> None:
        """Remembers who read a request."""
        self._readers.put(recorded.exchange.request_start.tid, None)
        self._serving.put(recorded.pid, None)
        self.learn_exchange(recorded)

    def learn_exchange(self, recorded: RecordedExchange) -> None:
        """Notices work that changes threads half-way (Go, work-stealing pools)."""
        exchange = recorded.exchange
        marks = (exchange.request_start, exchange.request_end, exchange.response_start)
        tids = {mark.tid for mark in marks if mark is not None and mark.tid}
        if len(tids) > 1:
            self._moving.put(recorded.pid, None)

    def is_bound(self, call: Outbound) -> bool:
        """Whether the call's thread says anything: known, and in a process that keeps to them."""
        return call.tid != 0 and call.recorded.pid not in self._moving

    def is_by_reader(self, call: Outbound) -> bool:
        """Whether the thread that read a call's request sent the call."""
        request = call.case
        return (
            request is not None
            and self.is_bound(call)
            and ((call.recorded.pid, call.tid) == (request.pid, request.tid))
        )

    def narrow(self, call: Outbound) -> list[Inbound]:
        """The candidates that process and thread leave possible.

        A process that serves requests itself makes calls for its own only; a thread that reads
        requests, for the ones it read.
        """
        pid, found = call.recorded.pid, call.candidates
        if pid and pid in self._serving:
            found = [request for request in found if request.pid in (pid, 0)]
        if self.is_bound(call) and call.tid in self._readers:
            found = [request for request in found if request.tid in (call.tid, 0)]
        return found
