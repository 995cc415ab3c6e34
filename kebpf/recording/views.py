"""An exchange as attribution and provenance look at it: each look is taken once and kept.

What large exchanges look like is not kept, as a decoded tree takes many times its bytes.
"""

from __future__ import annotations

from typing import Any

from kebpf.protocols.base import Document, Exchange, ProtocolSpec
from kebpf.recording.intake import Intake

KEPT_SIZE = 64 << 10  # bytes of an exchange whose views are kept


class Views:
    """``size`` is the exchange's, in bytes."""

    __slots__ = ("_exchange", "_identity", "_intakes", "_is_kept", "_protocol", "_seen")

    def __init__(self, protocol: ProtocolSpec, exchange: Exchange, size: int) -> None:
        self._protocol = protocol
        self._exchange = exchange
        self._is_kept = size <= KEPT_SIZE
        self._identity: Document | None = None
        self._seen: dict[bool, Any] = {}  # by whether it is the response
        self._intakes: dict[bool, Intake] = {}

    @property
    def identity(self) -> Document:
        """What of the request makes it the same call as another."""
        identity = self._identity
        if identity is None:
            identity = self._protocol.identity(self._exchange.request)
            self._identity = identity if self._is_kept else None
        return identity

    @property
    def request(self) -> Any:
        return self._look(False)

    @property
    def response(self) -> Any:
        """``None`` if there was none."""
        return None if self._exchange.response is None else self._look(True)

    @property
    def request_intake(self) -> Intake:
        """What came in with a request that was served."""
        return self._take_in(False)

    @property
    def response_intake(self) -> Intake:
        """What came in with the answer to a call."""
        return self._take_in(True)

    def _look(self, is_response: bool) -> Any:
        if is_response in self._seen:
            return self._seen[is_response]
        message = self._exchange.response if is_response else self._exchange.request
        seen = self._protocol.view(message or {})
        if self._is_kept:
            self._seen[is_response] = seen
        return seen

    def _take_in(self, is_response: bool) -> Intake:
        intake = self._intakes.get(is_response)
        if intake is None:
            intake = Intake(self.response if is_response else self.request)
            if self._is_kept:
                self._intakes[is_response] = intake
        return intake
