"""Holds back the answer to a query that was cancelled until its client cancels it again (55.2.8).

A recorded cancellation came when the client had lost patience; given at once, the answer would
come before the client has asked for it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from kebpf.protocols.base import Document
from kebpf.protocols.postgres import messages as m

_CANCELED = "57014"
_BY_USER = "user request"  # and not for a timeout, of which the same code tells
_process_ids = itertools.count(1)


class Cancelling:
    """The key of one served connection, and what it holds back.

    Nothing is held back if no cancel request was recorded: somebody else cancelled then.
    """

    def __init__(self, facts: Sequence[Document]) -> None:
        self.process_id = next(_process_ids)
        self._is_recorded = any(fact["request"].get("kind") == "cancel" for fact in facts)
        self._requests: list[Document] = []
        self._held: bytes | None = None

    @property
    def key(self) -> m.BackendKeyData:
        """What its client cancels with; there is no process behind it."""
        return m.BackendKeyData(self.process_id, self.process_id.to_bytes(4, "big"))

    @property
    def can_hold(self) -> bool:
        """Whether any answer may be held back."""
        return self._is_recorded

    @property
    def is_holding(self) -> bool:
        return self._held is not None

    def is_awaited(self, error: Document) -> bool:
        """Whether a query that ended so is answered only when it is cancelled."""
        is_cancel = error.get("code") == _CANCELED and _BY_USER in str(error.get("message"))
        return is_cancel and self._is_recorded

    def hold(self, answer: bytes) -> None:
        self._held = answer

    def ask(self, message: m.CancelRequest) -> None:
        """This connection is one that only cancels what another one does."""
        self._requests.append({"cancel": message.process_id})

    def take_requests(self) -> list[Document]:
        """News of what is to be cancelled."""
        requests, self._requests = self._requests, []
        return requests

    def release(self, news: Document) -> bytes | None:
        """What was held back, if it is this connection that is meant and there was anything."""
        if news["cancel"] != self.process_id:
            return None
        held, self._held = self._held, None
        return held
