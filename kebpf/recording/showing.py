"""Answers that show in responses: whose call it was, told by what the request answered.

A program often passes on what it was told, so the answer's value at one place is the response's at
another.  Such places have to prove themselves: over calls of one operation with several different
answers some request of one route, in flight each time, must have shown the value there, and not
once none.  Then a call belongs to the one request that shows all that its answer should.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from kebpf.recording.activity import Inbound, Memory, Outbound, Viewer
from kebpf.recording.lineage import iter_scalars
from kebpf.recording.naming import name_route_of

OPERATIONS_CAP = 1000  # remembered
MOST_PLACES = 256  # looked at in one answer
MOST_SHOWN = 1024  # scalars looked at in one response
MOST_CANDIDATES = 64
MOST_ROUTES = 16  # of requests in flight when an operation was first seen
LESSONS = 64  # calls of one operation that are learned from
PROOFS_NEEDED = 4  # different answers
ANSWERS_KEPT = 8


@dataclass(slots=True)
class _Operation:
    """What is known of one: by route, by place of the answer, where responses always showed it."""

    routes: dict[str, dict[str, set[str]]]
    answers: list[dict[str, str]] = field(default_factory=list)
    lessons: int = 0

    def find_proved(self) -> list[str]:
        """The routes whose responses showed so many different answers."""
        return [route for route, places in self.routes.items() if self._is_proved(places)]

    def _is_proved(self, places: dict[str, set[str]]) -> bool:
        shown = {tuple(map(answer.get, places)) for answer in self.answers}
        return bool(places) and len(shown) >= PROOFS_NEEDED


class Showing:
    """Learns from calls in the order in which they were made."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._known: Memory[Hashable, _Operation] = Memory(OPERATIONS_CAP)

    def learn(self, call: Outbound, candidates: Sequence[Inbound]) -> None:
        """Takes a call that one of the candidates made, all of which are complete."""
        if len(candidates) > MOST_CANDIDATES or call.recorded.exchange.response is None:
            return
        key, by_route = self._viewer.name_operation(call), self._by_route(candidates)
        known = self._known.get(key)
        if known is None:
            known = _Operation({route: {} for route in list(by_route)[:MOST_ROUTES]})
            self._known.put(key, known)
        if known.lessons >= LESSONS or not known.routes:
            return
        answer = self._scalars_of(call)
        for route in list(known.routes):
            if route not in by_route:
                del known.routes[route]  # it cannot have made this one
            else:
                self._compare(known, route, answer, by_route[route])
        known.lessons += 1
        if len(known.answers) < ANSWERS_KEPT and answer not in known.answers:
            known.answers.append(answer)

    def refute(self, call: Outbound, owner: Inbound) -> None:
        """Takes a call whose request is known: no other route makes all of them."""
        known = self._known.get(self._viewer.name_operation(call)) if len(self._known) else None
        if known is not None:
            own = self._route_of(owner)
            known.routes = {route: one for route, one in known.routes.items() if route == own}

    def find_owner(self, call: Outbound) -> Inbound | None:
        """The one candidate that shows all that it should, if one route alone shows anything."""
        if call.is_session or call.recorded.exchange.response is None:
            return None
        if any(request.recorded is None for request in call.candidates):
            return None  # what it answered is not known
        known = self._known.get(self._viewer.name_operation(call))
        proved = known.find_proved() if known is not None else []
        if known is None or len(proved) != 1:
            return None
        holders = [one for one in call.candidates if self._route_of(one) == proved[0]]
        answer = self._scalars_of(call)
        for path, paths in known.routes[proved[0]].items():
            if path in answer:
                holders = [one for one in holders if self._shows(one, answer[path], paths)]
        return holders[0] if len(holders) == 1 else None

    def _compare(
        self,
        known: _Operation,
        route: str,
        answer: dict[str, str],
        requests: Sequence[Inbound],
    ) -> None:
        """Keeps the places that some request of the route shows this time, too."""
        places = known.routes[route]
        shown = [self._shown_by(request) for request in requests]
        for path, text in answer.items():
            paths = set().union(*(one.get(text, ()) for one in shown))
            if known.lessons == 0:
                places[path] = paths
            elif path in places:
                places[path] &= paths
            if path in places and not places[path]:
                del places[path]

    def _shows(self, request: Inbound, text: str, paths: set[str]) -> bool:
        return not paths.isdisjoint(self._shown_by(request).get(text, ()))

    def _shown_by(self, request: Inbound) -> dict[str, list[str]]:
        """By text, the places of a response that hold it."""
        if request.shown is None:
            request.shown = {}
            exchange = request.recorded.exchange if request.recorded is not None else None
            if exchange is not None and exchange.response is not None:
                scalars = iter_scalars(self._viewer.see(request).response)
                for (path, text), _ in zip(scalars, range(MOST_SHOWN), strict=False):
                    request.shown.setdefault(text, []).append(path)
        return request.shown

    def _scalars_of(self, call: Outbound) -> dict[str, str]:
        scalars = iter_scalars(self._viewer.see(call).response)
        return {path: text for (path, text), _ in zip(scalars, range(MOST_PLACES), strict=False)}

    def _by_route(self, requests: Sequence[Inbound]) -> dict[str, list[Inbound]]:
        found: dict[str, list[Inbound]] = {}
        for request in requests:
            found.setdefault(self._route_of(request), []).append(request)
        return found

    def _route_of(self, request: Inbound) -> str:
        if request.route is None:
            asked = {} if request.recorded is None else request.recorded.exchange.request
            request.route = name_route_of(asked)
        return request.route
