"""Second thoughts on calls that stayed open: what a request did and answered afterwards tells too.

When a call begins, only what came in before it is known.  Once every request it may belong to is
complete, so are their answers and their other calls: an id that the program made and that turns
up in the call and in the answer of one request only says whose call it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from kebpf.protocols.base import Document
from kebpf.recording.activity import Inbound, Outbound
from kebpf.recording.lineage import is_distinctive, iter_scalars, iter_tokens

Viewer = Callable[[str, Document], Any]


def collect_distinctive(view: Any) -> set[str]:
    """The values in a tree that two places cannot well share by chance."""
    return {
        token
        for _, text in iter_scalars(view)
        for token in iter_tokens(text)
        if is_distinctive(token)
    }


class Links:
    """Finds the one request that shares a distinctive value with an open call."""

    def __init__(self, view: Viewer) -> None:
        self._view = view

    def find_owner(self, call: Outbound) -> Inbound | None:
        """The only candidate that holds values of the call that no other one holds."""
        candidates = [request for request in call.candidates if request.recorded is not None]
        if call.is_session or len(candidates) != len(call.candidates) or len(candidates) < 2:
            return None
        own = self._tokens_of_call(call)
        if not own:
            return None
        held = [own & self._tokens_of_request(request) for request in candidates]
        voters = [
            request
            for index, request in enumerate(candidates)
            if held[index] - set().union(*held[:index], *held[index + 1 :])
        ]
        return voters[0] if len(voters) == 1 else None

    def _tokens_of_request(self, request: Inbound) -> set[str]:
        tokens: set[str] = set()
        if request.recorded is not None:
            exchange = request.recorded.exchange
            tokens |= self._tokens_of(exchange.protocol, exchange.request, exchange.response)
        for call in request.answers:
            tokens |= self._tokens_of_call(call)
        return tokens

    def _tokens_of_call(self, call: Outbound) -> set[str]:
        if call.links is None:
            exchange = call.recorded.exchange
            messages = (exchange.request, exchange.response)
            call.links = self._tokens_of(exchange.protocol, *messages)
        return call.links

    def _tokens_of(self, protocol: str, *messages: Document | None) -> set[str]:
        return set().union(*self._collect(protocol, messages))

    def _collect(self, protocol: str, messages: tuple[Document | None, ...]) -> Iterator[set[str]]:
        for message in messages:
            if message is not None:
                yield collect_distinctive(self._view(protocol, message))
