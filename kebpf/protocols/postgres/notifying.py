"""Delivers NOTIFY to LISTEN: of the connection itself and of others that are served.

What a transaction sends is heard when it has committed, and by a connection in a transaction of
its own when that has ended.  What programs that are not served notified comes at no time that a
recording could repeat and is not sent.
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
        self._sent: list[tuple[str, str]] = []
        self._heard: list[tuple[str, str]] = []

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
        if not (self._to_listen or self._pending or self._heard):
            return []
        self._channels |= self._to_listen
        self._sent += self._pending
        heard = self.take_heard()
        heard += [sent for sent in self._pending if sent[0] in self._channels]
        self.roll_back()
        return heard

    def take_sent(self) -> list[tuple[str, str]]:
        """Channel and payload of what was sent and committed since the last call."""
        sent, self._sent = self._sent, []
        return sent

    def hear(self, channel: str, payload: str) -> None:
        """Another connection sent something, which the next `commit` gives if it is listened to."""
        if channel in self._channels:
            self._heard.append((channel, payload))

    def take_heard(self) -> list[tuple[str, str]]:
        """What others sent, in its order."""
        heard, self._heard = self._heard, []
        return heard


def may_notify(statement: Statement) -> bool:
    """Whether `Notifications.note` may have to take a statement apart."""
    if statement.verb == "select":
        return "pg_notify" in statement.sql.lower()
    return statement.verb in _VERBS


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
