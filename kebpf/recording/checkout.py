"""Learns what sharing a connection says about whose calls they are."""

from __future__ import annotations

from collections.abc import Hashable

from kebpf.recording.activity import Inbound, Memory, Outbound

MEMORY_CAP = 10_000  # connections and destinations remembered, each
HANDOVERS_NEEDED = 3


class Checkouts:
    """Learns, per destination, whether one request at a time holds a connection.

    A *handover* is a call on a connection whose previous call was another request's, both known
    by other evidence.  Where every handover lay at a pool's own exchange (a reset, a ping), the
    calls between two of them are one checkout; where one lay inside a transaction, not even
    transactions tell.  A COMMIT or the preparation of a statement between two requests is chance.
    """

    def __init__(self, cap: int = MEMORY_CAP) -> None:
        self._last: Memory[int, tuple[Inbound, int, int | None]] = Memory(cap)
        self._clean: Memory[str, int] = Memory(cap)
        self._shared: Memory[str, None] = Memory(cap)
        self._shares_transactions: Memory[str, None] = Memory(cap)

    def group_of(self, call: Outbound) -> Hashable:
        """The key of the calls that have the same request as this one, or ``None``."""
        exchange, destination = call.recorded.exchange, str(call.destination)
        if exchange.transaction is not None:
            shared = destination in self._shares_transactions
            key = (call.recorded.connection, "transaction", exchange.transaction)
            return None if shared else key
        if exchange.is_session or destination in self._shared:
            return None
        if (self._clean.get(destination) or 0) < HANDOVERS_NEEDED:
            return None
        return (call.recorded.connection, "checkout", call.segment)

    def learn(self, call: Outbound) -> None:
        """Takes a call whose request is known from other evidence than this."""
        connection, transaction = call.recorded.connection, call.recorded.exchange.transaction
        last = self._last.get(connection)
        if call.case is not None:
            self._last.put(connection, (call.case, call.segment, transaction))
        if last is None or last[0] is call.case:
            return
        destination = str(call.destination)
        if transaction is not None and last[2] == transaction:
            self._shares_transactions.put(destination, None)
        if last[1] == call.segment:
            self._shared.put(destination, None)
        else:
            self._clean.put(destination, (self._clean.get(destination) or 0) + 1)

    def refute(self, call: Outbound) -> None:
        """The calls of this one's group cannot all be one request's."""
        known = self._shared
        if call.recorded.exchange.transaction is not None:
            known = self._shares_transactions
        known.put(str(call.destination), None)
