"""SUBSCRIBE and its like on the server's side: acknowledgements, and the recorded messages."""

from __future__ import annotations

from kebpf.protocols.base import Document
from kebpf.protocols.redis.catalogue import (
    SUBSCRIBING,
    UNSUBSCRIBING,
    bare_reply,
    command_name,
)
from kebpf.protocols.redis.text import Text


class Subscriptions:
    """What one connection is subscribed to.

    Recorded messages follow the acknowledgement of their subscription at once and in their
    order: a sans-IO session has no clock by which to send them later.
    """

    def __init__(self, pushes: dict[tuple[str, Text], list[Document]]) -> None:
        self._pushes = pushes
        self._names: dict[str, list[Text]] = {"channel": [], "pattern": [], "shard": []}

    def __bool__(self) -> bool:
        return any(self._names.values())

    def clear(self) -> None:
        for names in self._names.values():
            names.clear()

    def subscribe(self, command: list[Text]) -> list[Document]:
        """The acknowledgements of a (P|S)SUBSCRIBE, each followed by its recorded messages."""
        verb = command_name(command)
        kind = SUBSCRIBING[verb]
        replies: list[Document] = []
        for name in command[1:]:
            if name not in self._names[kind]:
                self._names[kind].append(name)
            replies.append(self._acknowledge(verb, kind, name))
            replies += [_as_push(push) for push in self._pushes.get((verb, name), [])]
        return replies

    def unsubscribe(self, command: list[Text]) -> list[Document]:
        """The acknowledgements of a (P|S)UNSUBSCRIBE; without names, of all it ends."""
        verb = command_name(command)
        kind = UNSUBSCRIBING[verb]
        names = command[1:] or list(self._names[kind])
        replies: list[Document] = []
        for name in names:
            if name in self._names[kind]:
                self._names[kind].remove(name)
            replies.append(self._acknowledge(verb, kind, name))
        return replies or [self._acknowledge(verb, kind, None)]

    def _acknowledge(self, verb: str, kind: str, name: Text | None) -> Document:
        if kind == "shard":
            count = len(self._names["shard"])
        else:
            count = len(self._names["channel"]) + len(self._names["pattern"])
        subject = {"type": "null-bulk"} if name is None else {"type": "bulk", "value": name}
        items = [{"type": "bulk", "value": verb.lower()}, subject]
        return {"type": "push", "items": [*items, {"type": "integer", "value": count}]}


def _as_push(tree: Document) -> Document:
    """A message recorded as a RESP2 array becomes a push; writing it as RESP2 reverses that."""
    return {"type": "push", "items": bare_reply(tree)["items"]}
