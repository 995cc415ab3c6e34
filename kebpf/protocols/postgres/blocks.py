"""Numbers the transaction blocks of a connection and says which exchange belongs to which."""

from __future__ import annotations

from kebpf.protocols.base import Exchange
from kebpf.protocols.postgres.statements import (
    block_effect,
    is_session_sql,
    is_transaction_statement,
    split_sql,
)

_FAILED_BLOCK = "25P02"
# Errors the responder's own state machine gives too: wrong block state, unknown savepoint.
_OWN_ERROR_CLASSES = ("25", "3B")


class BlockCounter:
    """Follows the blocks by the tags of completed statements and by ReadyForQuery."""

    def __init__(self) -> None:
        self._current: int | None = None
        self._last = 0

    def place(self, exchange: Exchange) -> None:
        """Sets the transaction of the next exchange of the connection."""
        exchange.transaction = self._current
        response, sql = exchange.response, exchange.request.get("sql")
        if response is None or not response.get("results"):
            return
        statements = split_sql(sql) if isinstance(sql, str) and sql else ()
        for index, result in enumerate(response["results"]):
            statement = statements[index] if index < len(statements) else None
            self._apply(block_effect(statement, result["tag"] or ""), exchange)

    def _apply(self, effect: str, exchange: Exchange) -> None:
        if effect == "open" and self._current is None:
            self._open()
        if exchange.transaction is None:
            exchange.transaction = self._current
        if effect in ("close", "chain"):
            self._current = None
        if effect == "chain":
            self._open()

    def settle(self, status: str, exchanges: list[Exchange]) -> None:
        """Takes ReadyForQuery's word for the state after ``exchanges``."""
        if status == "I":
            self._current = None
        elif self._current is None:
            self._open()
            if exchanges and exchanges[-1].transaction is None:
                exchanges[-1].transaction = self._current

    def lose(self) -> None:
        """Bytes were lost: the block that was open may have ended since."""
        self._current = None

    def _open(self) -> None:
        self._last += 1
        self._current = self._last


def judge_session(exchange: Exchange) -> None:
    """Sets ``is_session`` of a query, and its problem if the responder cannot repeat it."""
    sql = exchange.request.get("sql")
    error = (exchange.response or {}).get("error")
    code = str(error.get("code", "")) if error else ""
    if code == _FAILED_BLOCK:
        exchange.is_session = True
        return
    if not isinstance(sql, str) or not is_session_sql(sql):
        return
    exchange.is_session = True
    own = code.startswith(_OWN_ERROR_CLASSES)
    if code and not own and any(map(is_transaction_statement, split_sql(sql))):
        exchange.problem = exchange.problem or "the end of a transaction failed when recorded"
