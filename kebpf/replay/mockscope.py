"""Which mocks answer now: scopes that a test opens and closes, while connections stay open."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field

from kebpf.protocols.base import Document, Miss, ProtocolSpec
from kebpf.recording.model import Endpoint, Tls
from kebpf.replay.answers import DestinationAnswers
from kebpf.replay.index import MockIndex
from kebpf.replay.mockset import FreeMocks, MissedCall, MockMatcher, is_named
from kebpf.replay.noise import Noise
from kebpf.replay.routing import Route, Routes
from kebpf.replay.stages import Recorded

MOST_INDEXES = 16  # selections of mocks whose index is kept for the next test that asks for it
Selection = tuple[tuple[str, ...], tuple[str, ...]]  # names of sets, and of cases (none: all)


class SelectionError(Exception):
    """What a test asks for is not there; the text is one sentence."""


@dataclass(slots=True)
class Totals:
    """What became of the calls of all scopes that are closed."""

    answered: int = 0
    used: int = 0
    mocks: int = 0
    missed: int = 0
    tolerated: int = 0  # misses that the test said it provokes
    misses: Counter[MissedCall] = field(default_factory=Counter)

    def add(self, scope: Scope) -> None:
        """Takes in a scope that is over."""
        matcher = scope.matcher
        self.answered += matcher.answered
        self.used += matcher.used
        self.mocks += matcher.total
        if scope.is_lenient:
            self.tolerated += matcher.missed
            return
        self.missed += matcher.missed
        self.misses += matcher.misses


class Scope:
    """Mocks that are served from one moment on; ``is_lenient`` where misses are meant to be."""

    def __init__(self, matcher: MockMatcher, routes: Routes, is_lenient: bool = False) -> None:
        self.matcher = matcher
        self.routes = routes
        self.is_lenient = is_lenient
        self._told: Counter[MissedCall] = Counter()

    def take_misses(self) -> Counter[MissedCall]:
        """The misses since the last call."""
        fresh = self.matcher.misses - self._told
        self._told = self.matcher.misses.copy()
        return fresh

    def place_of(self, asked: Endpoint) -> Endpoint:
        """What these mocks call a destination that a connection was opened to, maybe long ago."""
        if asked.is_local:
            return asked
        return self.routes.find(asked.transport, asked.host, asked.port).destination


class MockLibrary:
    """Makes scopes; what was read once for one is kept for the next."""

    def __init__(
        self,
        open_sets: Callable[[Sequence[str]], Sequence[Recorded]],
        protocols: Mapping[str, ProtocolSpec],
        noise: Noise | None = None,
    ) -> None:
        self._open_sets = open_sets
        self._protocols = protocols
        self._noise = noise or Noise()
        self._kept: OrderedDict[Selection, tuple[FreeMocks, MockIndex, Routes]] = OrderedDict()

    def make_scope(
        self, sets: Sequence[str], cases: Sequence[str] = (), is_lenient: bool = False
    ) -> Scope:
        """The mocks of some sets (none: no mock) from now on, each unused.

        Raises `SelectionError` for a case that is in none of them, and what opening them raises.
        """
        selection = (tuple(sets), tuple(cases))
        if selection not in self._kept:
            self._kept[selection] = self._read(*selection)
            if len(self._kept) > MOST_INDEXES:
                self._kept.popitem(last=False)
        self._kept.move_to_end(selection)
        mocks, index, routes = self._kept[selection]
        return self._make(mocks, index.renew(), routes, is_lenient)

    def make_scope_of(self, recorded: Sequence[Recorded], now_ns: int) -> Scope:
        """The mocks of sets that are open already, for a program that started at ``now_ns``."""
        routes, mocks = Routes(), FreeMocks(recorded)
        index = MockIndex(mocks, self._protocols.__getitem__, routes.add, noise=self._noise)
        return self._make(mocks, index, routes, False, now_ns)

    def _read(
        self, sets: tuple[str, ...], cases: tuple[str, ...]
    ) -> tuple[FreeMocks, MockIndex, Routes]:
        recorded = self._open_sets(sets) if sets else []
        _check_cases(recorded, cases)
        routes, mocks = Routes(), FreeMocks(recorded, cases)
        index = MockIndex(mocks, self._protocols.__getitem__, routes.add, noise=self._noise)
        return mocks, index, routes

    def _make(
        self,
        mocks: FreeMocks,
        index: MockIndex,
        routes: Routes,
        is_lenient: bool,
        now_ns: int | None = None,
    ) -> Scope:
        find = self._protocols.__getitem__
        matcher = MockMatcher(mocks, find, noise=self._noise, index=index)
        matcher.begin_run(time.time_ns() if now_ns is None else now_ns)
        return Scope(matcher, routes, is_lenient)


def _check_cases(sets: Sequence[Recorded], patterns: Sequence[str]) -> None:
    if not patterns:
        return
    names = [case.name for one in sets for case in (*one.cases(), *one.apart())]
    for pattern in patterns:
        if not any(is_named(name, [pattern]) for name in names):
            known = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
            raise SelectionError(f"no case is called {pattern} (there are: {known or 'none'})")


class Scopes:
    """Answers every connection with the mocks of the innermost open scope.

    ``make_base`` makes what answers while none is open, when it is first needed.
    """

    def __init__(self, make_base: Callable[[], Scope], totals: Totals) -> None:
        self.on_call: Callable[[], None] | None = None
        self.routes = ScopedRoutes(self)
        self._make_base = make_base
        self._totals = totals
        self._stack: list[Scope] = []

    @property
    def current(self) -> Scope:
        """The scope whose mocks answer now."""
        if not self._stack:
            self._stack.append(self._make_base())
        return self._stack[-1]

    @property
    def depth(self) -> int:
        """How many scopes are open, the base not counted."""
        return max(len(self._stack) - 1, 0)

    def replace_base(self, make_base: Callable[[], Scope]) -> None:
        """From now on something else answers while no scope is open.

        What answered before counts only if it was called.
        """
        if len(self._stack) == 1 and not self._stack[0].matcher.calls:
            self._stack.clear()
        self.close()
        self._make_base = make_base

    def push(self, scope: Scope) -> None:
        """The scope answers from now on, and only it."""
        _ = self.current  # the base is below it
        self._stack.append(scope)

    def pop(self) -> Scope:
        """Ends the innermost scope."""
        scope = self._stack.pop()
        self._totals.add(scope)
        return scope

    def close(self) -> None:
        """Ends all of them."""
        while self._stack:
            self.pop()

    def for_destination(
        self, destination: Endpoint, protocol: str | None, tls: Tls | None = None
    ) -> ScopedAnswers:
        """Answers the calls on one connection, in whichever scope they are made."""
        return ScopedAnswers(self, destination, protocol, tls)

    def facts_for(self, destination: Endpoint) -> list[Document]:
        """The recorded session exchanges of a destination, where the current scope has any."""
        scope = self.current
        return scope.matcher.facts_for(scope.place_of(destination))


class ScopedRoutes(Routes):
    """The destinations of the innermost open scope."""

    def __init__(self, scopes: Scopes) -> None:
        super().__init__()
        self._scopes = scopes

    def find(self, transport: str, host: str, port: int) -> Route:
        """The route for what the application asked for."""
        return self._scopes.current.routes.find(transport, host, port)

    def find_names(self, host: str) -> list[str]:
        """What a numeric address is called."""
        return self._scopes.current.routes.find_names(host)

    @property
    def protocols(self) -> set[str]:
        """Those spoken at any of them."""
        return self._scopes.current.routes.protocols

    @property
    def has_tls(self) -> bool:
        """Whether any destination was called over TLS."""
        return self._scopes.current.routes.has_tls

    @property
    def local(self) -> list[Route]:
        """Those to Unix sockets, which are in their places before the program starts."""
        return self._scopes.current.routes.local


class ScopedAnswers:
    """An `Answerer` for one connection that may live longer than a scope."""

    def __init__(
        self, scopes: Scopes, place: Endpoint, protocol: str | None, tls: Tls | None = None
    ) -> None:
        self._scopes = scopes
        self._place = place
        self._protocol = protocol
        self._tls = tls
        self._scope: Scope | None = None
        self._answers: DestinationAnswers | None = None

    def _find(self) -> DestinationAnswers:
        scope = self._scopes.current
        if self._answers is None or scope is not self._scope:
            place = scope.place_of(self._place)
            self._scope = scope
            self._answers = scope.matcher.for_destination(place, self._protocol, self._tls)
        return self._answers

    def answer(self, request: Document) -> Document | Miss:
        """The recorded response to a call."""
        return self._find().answer(request)

    def peek(self, request: Document) -> bool:
        """Whether a mock could be served for exactly this call; changes nothing."""
        return self._find().peek(request)

    def session(self, request: Document) -> Document | None:
        """The recorded response to a session call, any number of times."""
        return self._find().session(request)

    def find_request(self, source: Hashable) -> Document | None:
        """The request that the current scope keeps for ``source``."""
        return self._find().find_request(source)

    def keep_request(self, source: Hashable, request: Document) -> None:
        """Keeps a request as long as the current scope is open."""
        self._find().keep_request(source, request)
