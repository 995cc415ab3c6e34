"""SUBSCRIBE and its like on the server's side: acknowledgements and messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from kebpf.protocols.base import Document
from kebpf.protocols.redis.catalogue import (
    SUBSCRIBING,
    UNSUBSCRIBING,
    bare_reply,
    command_name,
)
from kebpf.protocols.redis.patterns import matches_pattern
from kebpf.protocols.redis.text import Text

PUBLISHING = {"PUBLISH": ("message", "channel"), "SPUBLISH": ("smessage", "shard")}
_VERBS = {"message": "PUBLISH", "pmessage": "PUBLISH", "smessage": "SPUBLISH"}


class Subscriptions:
    """What one connection is subscribed to.

    A message that a served client will publish comes when it does; ``is_awaited`` says of a
    command whether that is so.  Other recorded messages follow the acknowledgement of their
    subscription at once and in their order: a sans-IO session has no clock by which to send them
    later.
    """

    def __init__(
        self,
        pushes: dict[tuple[str, Text], list[Document]],
        is_awaited: Callable[[list[Text]], bool],
    ) -> None:
        self._pushes = pushes
        self._is_awaited = is_awaited
        self._names: dict[str, list[Text]] = {"channel": [], "pattern": [], "shard": []}
        self._early: Counter[tuple[Text, ...]] = Counter()

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
            replies += self._give_early(self._pushes.get((verb, name), []))
        return replies

    def _give_early(self, pushes: list[Document]) -> Iterator[Document]:
        for push in pushes:
            values = _values(push)
            if not self._is_awaited([_VERBS[str(values[0])], *values[-2:]]):
                self._early[values] += 1
                yield {"type": "push", "items": bare_reply(push)["items"]}

    def hear(self, command: list[Text]) -> Iterator[Document]:
        """The messages that a (S)PUBLISH brings, without those that were sent before their time."""
        for values in self._find_messages(command):
            if self._early[values]:
                self._early[values] -= 1
            else:
                yield {"type": "push", "items": [{"type": "bulk", "value": v} for v in values]}

    def _find_messages(self, command: list[Text]) -> Iterator[tuple[Text, ...]]:
        what, kind = PUBLISHING[command_name(command)]
        channel, payload = command[1:3]
        if channel in self._names[kind]:
            yield what, channel, payload
        if kind == "channel":
            for pattern in self._names["pattern"]:
                if matches_pattern(pattern, channel):
                    yield "pmessage", pattern, channel, payload

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


def _values(push: Document) -> tuple[Text, ...]:
    """Kind, channel and what else a recorded message holds."""
    return tuple(item["value"] for item in bare_reply(push)["items"])
