"""Second thoughts on calls that stayed open: what a request did and answered afterwards tells too.

When a call begins, only what came in before it is known.  Once every request it may belong to is
complete, so are their answers and their other calls: an id that the program made and that turns
up in the call and in the answer of one request only says whose call it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kebpf.recording.activity import Inbound, Outbound, Viewer
from kebpf.recording.lineage import find_words, is_distinctive, iter_scalars, list_texts

MOST_COMPARED = 16  # open calls that ask the same, looked at together


def collect_tokens(view: Any) -> set[str]:
    """The words of a tree, map keys included."""
    return {word for text in list_texts(view) for word in find_words(text)}


class Links:
    """Finds the one request that shares telling values with an open call."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer

    def find_owner(self, call: Outbound, open_calls: Sequence[Outbound]) -> Inbound | None:
        """The only candidate that holds values of the call which no other one holds.

        ``open_calls`` are all that may be a candidate's own: what came in with their answers any
        candidate may hold, so it does not tell.
        """
        candidates = [request for request in call.candidates if request.recorded is not None]
        if call.is_session or len(candidates) != len(call.candidates) or len(candidates) < 2:
            return None
        others = [other for other in open_calls if other is not call and other.case is None]
        known = [self._known_of(request, call) for request in candidates]
        by_values = _choose(self._find_telling(call, candidates, others), known, candidates)
        return by_values or self._compare_equal_calls(call, candidates, others)

    def _find_telling(
        self, call: Outbound, candidates: Sequence[Inbound], others: Sequence[Outbound]
    ) -> set[str]:
        """Distinctive arguments, and distinctive values that first came with the answer."""
        arguments, answer = self._tokens_of_call(call)
        asked = set().union(*(self._tokens_of_request(request)[0] for request in candidates))
        doubtful = set().union(*(self._tokens_of_call(other)[1] for other in others))
        telling = (arguments - answer | arguments - asked) | (answer - asked)
        return {token for token in telling - doubtful if is_distinctive(token)}

    def _compare_equal_calls(
        self, call: Outbound, candidates: Sequence[Inbound], others: Sequence[Outbound]
    ) -> Inbound | None:
        """Of equal calls made by equal requests, whose different answer shows in which response.

        Only when that gives every one of the calls a request of its own.
        """
        equal = [call, *(other for other in others if self._ask_same(other, call))]
        if not 2 <= len(equal) <= MOST_COMPARED or not _are_equal_requests(candidates):
            return None
        answered = self._tokens_that_differ(candidates)
        owners = []
        for one in equal:
            rest = set().union(
                *(self._tokens_of_call(other)[1] for other in equal if other is not one)
            )
            owners.append(_choose(self._tokens_of_call(one)[1] - rest, answered, candidates))
        found = [id(owner) for owner in owners if owner is not None]
        return owners[0] if len(set(found)) == len(equal) else None

    def _ask_same(self, one: Outbound, other: Outbound) -> bool:
        if one.destination != other.destination:
            return False
        first, second = one.recorded.exchange, other.recorded.exchange
        see = self._viewer.see
        return first.protocol == second.protocol and see(one).identity == see(other).identity

    def _tokens_that_differ(self, requests: Sequence[Inbound]) -> list[set[str]]:
        """The words of each response at the places where the responses are not all the same."""
        scalars = [self._scalars_of_response(request) for request in requests]
        paths = {path for found in scalars for path in found}
        differing = [path for path in paths if len({found.get(path) for found in scalars}) > 1]
        return [
            {token for path in differing for token in find_words(found.get(path, ""))}
            for found in scalars
        ]

    def _scalars_of_response(self, request: Inbound) -> dict[str, str]:
        exchange = request.recorded.exchange if request.recorded is not None else None
        if exchange is None or exchange.response is None:
            return {}
        return dict(iter_scalars(self._viewer.see(request).response))

    def _known_of(self, request: Inbound, asked: Outbound) -> set[str]:
        """What a request brought, answered, asked for and got.

        That it asked the very same before does not tell: another may have asked it as well.
        """
        tokens = set().union(*self._tokens_of_request(request))
        others = [call for call in request.answers if not self._ask_same(call, asked)]
        return tokens.union(*(part for call in others for part in self._tokens_of_call(call)))

    def _tokens_of_request(self, request: Inbound) -> tuple[set[str], set[str]]:
        if request.links is None and request.recorded is not None:
            request.links = self._tokens_of(request)
        return request.links or (set(), set())

    def _tokens_of_call(self, call: Outbound) -> tuple[set[str], set[str]]:
        if call.links is None:
            call.links = self._tokens_of(call)
        return call.links

    def _tokens_of(self, one: Inbound | Outbound) -> tuple[set[str], set[str]]:
        views = self._viewer.see(one)
        return collect_tokens(views.request), collect_tokens(views.response)


def _are_equal_requests(requests: Sequence[Inbound]) -> bool:
    """Whether all ask for the same thing by the same method."""
    exchanges = [request.recorded.exchange for request in requests if request.recorded is not None]
    asked = {(one.request.get("method"), one.request.get("target")) for one in exchanges}
    return len(asked) == 1 and len(exchanges) == len(requests)


def _choose(
    own: set[str], held: Sequence[set[str]], candidates: Sequence[Inbound]
) -> Inbound | None:
    """The only candidate that holds some of ``own`` by itself."""
    voters = []
    for index, tokens in enumerate(held):
        elsewhere = set().union(*held[:index], *held[index + 1 :])
        if own & tokens - elsewhere:
            voters.append(candidates[index])
    return voters[0] if len(voters) == 1 else None
