"""Published messages and other out-of-band data, as exchanges of their own.

A push is recorded as a session exchange whose request is the subscription that brings it, with
``"pushed": true``, so that a server session can find among its facts what to send after
acknowledging that subscription.
"""

from __future__ import annotations

from kebpf.protocols.base import Document, Exchange
from kebpf.protocols.redis.catalogue import bare_reply, push_kind
from kebpf.protocols.redis.connection_facts import ConnectionFacts
from kebpf.protocols.redis.stream import Message
from kebpf.protocols.redis.text import Text

COMMAND_OF_KIND = {"message": "SUBSCRIBE", "pmessage": "PSUBSCRIBE", "smessage": "SSUBSCRIBE"}
_HEADS = (
    b">",
    b"*3\r\n$7\r\nmessage\r\n",
    b"*4\r\n$8\r\npmessage\r\n",
    b"*3\r\n$8\r\nsmessage\r\n",
)


def looks_like_push(data: bytes) -> bool:
    """Whether bytes of the server begin like a push (RESP3) or a published message (RESP2)."""
    return data.startswith(_HEADS)


def make_push_exchange(message: Message, facts: ConnectionFacts) -> Exchange:
    """The exchange for one push."""
    exchange = Exchange(
        protocol="redis",
        request={"command": _subscription(message.document), "pushed": True},
        response={"reply": message.document},
        request_start=message.start,
        request_end=message.start,
        response_start=message.start,
        response_end=message.end,
        is_session=True,
        problem="part of the message was lost" if message.is_damaged else None,
        calls=0,
    )
    facts.stamp(exchange)
    return exchange


def _subscription(tree: Document) -> list[Text]:
    """The command that asked for the push; ``PUSH kind`` for one that no command names."""
    kind = push_kind(tree)
    items = bare_reply(tree)["items"]
    command = COMMAND_OF_KIND.get(kind)
    if command and len(items) > 1:
        return [command, items[1].get("value", "")]
    return ["PUSH", kind]
