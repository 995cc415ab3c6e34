"""Delivers a connection's own NOTIFY to its own LISTEN, when its transaction has committed.

What other connections notify comes at no time that a recording could repeat and is not sent.
"""

from __future__ import annotations

from collections.abc import Sequence

from kebpf.protocols.postgres.lexing import Statement, Token, unquote_name

_VERBS = ("listen", "unlisten", "notify", "select")  # of `Notifications.note`


class Notifications:
    """The channels a connection listens on and what it sent to them in the open transaction."""

    def __init__(self) -> None:
        self._channels: set[str] = set()
        self._to_listen: set[str] = set()
        self._pending: dict[tuple[str, str], None] = {}  # equal ones are delivered once

    def note(self, statement: Statement, parameters: Sequence[object] = ()) -> None:
        """Takes a statement that succeeded."""
        if statement.verb not in _VERBS:
            return
        if statement.verb == "listen":
            self._to_listen.add(unquote_name(statement.tokens[1]))
        elif statement.verb == "unlisten":
            self.unlisten(statement)
        elif (sent := read_notify(statement, parameters)) is not None:
            self._pending.setdefault(sent)

    def unlisten(self, statement: Statement) -> None:
        """``UNLISTEN channel``, ``UNLISTEN *`` or ``DISCARD ALL``."""
        name = unquote_name(statement.tokens[-1])
        known = {name} if statement.verb == "unlisten" and name != "*" else set(self._channels)
        self._channels -= known
        self._to_listen -= known

    def roll_back(self) -> None:
        """Nothing of the open transaction was."""
        self._to_listen.clear()
        self._pending.clear()

    def commit(self) -> list[tuple[str, str]]:
        """Channel and payload of what the connection is to be told now."""
        if not self._to_listen and not self._pending:
            return []
        self._channels |= self._to_listen
        found = [sent for sent in self._pending if sent[0] in self._channels]
        self.roll_back()
        return found


def read_notify(statement: Statement, parameters: Sequence[object]) -> tuple[str, str] | None:
    """Channel and payload of ``NOTIFY …`` and ``SELECT pg_notify(…, …)``."""
    tokens = statement.tokens
    if statement.verb == "notify" and len(tokens) > 1:
        payload = _read_argument(tokens[3], parameters) if len(tokens) > 3 else ""
        return unquote_name(tokens[1]), payload or ""
    texts = statement.texts()
    if texts[:3] != ["select", "pg_notify", "("]:
        return None
    end = texts.index(")") if ")" in texts else 0
    separators = [place for place in range(3, end) if texts[place] == ","]
    if len(separators) != 1:
        return None
    channel = _read_argument(tokens[3], parameters)
    payload = _read_argument(tokens[separators[0] + 1], parameters)
    return None if channel is None or payload is None else (channel, payload)


def _read_argument(token: Token, parameters: Sequence[object]) -> str | None:
    """A string or a ``$n``."""
    if token.kind == "parameter":
        index = int(token.text[1:]) - 1
        value = parameters[index] if index < len(parameters) else None
        return value if isinstance(value, str) else None
    if token.kind != "string" or not token.text.startswith("'"):
        return None
    return token.text[1:-1].replace("''", "'")
