"""What the replies of a connection tell about the protocol version it speaks."""

from __future__ import annotations

from kebpf.protocols.base import Document, Exchange
from kebpf.protocols.redis.catalogue import bare_reply, error_text
from kebpf.protocols.redis.outstanding import Pending
from kebpf.protocols.redis.text import to_printable

ONLY_RESP3 = frozenset(
    {"map", "set", "push", "null", "double", "boolean", "big-number", "verbatim", "attribute"}
)


class ConnectionFacts:
    """Whether the connection speaks RESP3, as HELLO or the types of replies say."""

    def __init__(self) -> None:
        self.is_resp3 = False

    def learn(self, pending: Pending) -> None:
        """Takes in an answered command."""
        if not pending.replies or error_text(pending.replies[0]) is not None:
            return
        if pending.name == "RESET":
            self.is_resp3 = False
        elif pending.name == "HELLO" and len(pending.command) > 1:
            self.is_resp3 = to_printable(pending.command[1]) == "3"

    def stamp(self, exchange: Exchange) -> None:
        """Notes in a response that it was given in RESP3, as far as is known."""
        response = exchange.response
        if response is None:
            return
        replies = response["replies"] if "replies" in response else [response["reply"]]
        if any(_is_resp3(reply) for reply in replies):
            self.is_resp3 = True
        if self.is_resp3:
            response["resp"] = 3


def _is_resp3(tree: Document) -> bool:
    """Whether the reply, looked at one level deep, can only be RESP3."""
    types = {tree["type"], *(item["type"] for item in bare_reply(tree).get("items", [])[:16])}
    return not ONLY_RESP3.isdisjoint(types)
