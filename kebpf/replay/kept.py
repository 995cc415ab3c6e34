"""Requests of one destination that a server session may make again, with the calls they are."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from kebpf.protocols.base import Document
from kebpf.replay.call import Call

MOST_KEPT = 1024  # requests of one destination


@dataclass(slots=True)
class _Kept:
    """A request with the call it was under some bindings, if it was made."""

    request: Document
    version: int = -1
    call: Call | None = None


class KeptRequests:
    """Requests by what they were read from; a call holds as long as nothing more is bound."""

    def __init__(self) -> None:
        self._requests: dict[Hashable, Document] = {}
        self._calls: dict[int, _Kept] = {}  # by the identity of the request

    def keep(self, source: Hashable, request: Document) -> None:
        """From now on `find` gives ``request``, which is never changed, for ``source``."""
        if len(self._requests) >= MOST_KEPT:
            self._requests.clear()
            self._calls.clear()
        self._requests[source] = request
        self._calls[id(request)] = _Kept(request)

    def find(self, source: Hashable) -> Document | None:
        """The request read from ``source`` before, if it is still kept."""
        return self._requests.get(source)

    def find_call(self, request: Document, version: int) -> Call | None:
        """The call that ``request``, this very document, was under the same bindings."""
        kept = self._calls.get(id(request))
        if kept is None or kept.request is not request or kept.version != version:
            return None
        return kept.call

    def note_call(self, request: Document, version: int, call: Call) -> None:
        """``request`` was made into a call; only those that are kept are remembered."""
        kept = self._calls.get(id(request))
        if kept is not None and kept.request is request:
            kept.version, kept.call = version, call
