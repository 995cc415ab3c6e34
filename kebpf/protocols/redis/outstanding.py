"""One command waiting for its reply, and what a transaction gathers until its EXEC."""

from __future__ import annotations

from dataclasses import dataclass, field

from kebpf.protocols.base import Document, Exchange, Mark
from kebpf.protocols.redis.catalogue import error_text, is_refusal, is_session_command
from kebpf.protocols.redis.text import Text

ENDS_TRANSACTION = frozenset({"EXEC", "DISCARD", "RESET"})
QUEUED: Document = {"type": "simple", "value": "QUEUED"}


@dataclass(slots=True)
class Transaction:
    """The commands from MULTI to EXEC or DISCARD, with the replies that queued them."""

    start: Mark
    watched: list[Text]
    is_open: bool = False  # MULTI was answered
    commands: list[list[Text]] = field(default_factory=list)
    replies: list[Document] = field(default_factory=list)
    problem: str | None = None


@dataclass(slots=True)
class Pending:
    """A command that was sent and not answered yet.

    ``replies_due`` is more than one for SUBSCRIBE and its like, 0 after CLIENT REPLY OFF.
    ``block`` is equal for the commands from WATCH or MULTI to EXEC.
    """

    command: list[Text]
    name: str
    start: Mark
    end: Mark
    db: int | None
    inline: Text | None = None
    replies_due: int = 1
    replies: list[Document] = field(default_factory=list)
    response_start: Mark | None = None
    transaction: Transaction | None = None
    block: int | None = None
    problem: str | None = None

    def request(self) -> Document:
        """The request document, of the whole transaction if this is its end."""
        request: Document = {"command": self.command}
        if self.db is not None:
            request["db"] = self.db
        if self.inline is not None:
            request["inline"] = self.inline
        if self.transaction:
            request["queued"] = self.transaction.commands
            if self.transaction.watched:
                request["watched"] = self.transaction.watched
        return request

    def response(self) -> Document:
        response: Document
        if len(self.replies) == 1:
            response = {"reply": self.replies[0]}
        else:
            response = {"replies": self.replies}
        queued = self.transaction.replies if self.transaction else []
        if any(reply != QUEUED for reply in queued):
            response["queued"] = queued
        return response

    def _is_stray_exec(self) -> bool:
        """EXEC without MULTI, which every server answers alike."""
        return self.name == "EXEC" and self.transaction is None

    def calls(self) -> int:
        """How many calls ``INFO commandstats`` counts for it."""
        own = 0 if self.replies and is_refusal(self.command, self.replies[0]) else 1
        if not self.transaction:
            return own
        if self.name != "EXEC":
            return 1 + own
        return 2 + self._executed()

    def _executed(self) -> int:
        """How many of the commands inside were executed: none if EXEC gave no array.

        A MULTI or WATCH inside MULTI is executed at once, and fails.
        """
        if not self.replies or not self.transaction:
            return len(self.transaction.commands) if self.transaction else 0
        pairs = zip(self.transaction.commands, self.transaction.replies, strict=False)
        failed = sum(error_text(r) is not None and not is_refusal(c, r) for c, r in pairs)
        return len(self.replies[0].get("items", [])) + failed

    def to_exchange(self, end: Mark | None, problem: str | None = None) -> Exchange:
        """The exchange; without ``end`` there was no response."""
        transaction = self.transaction
        has_response = end is not None and not problem
        return Exchange(
            protocol="redis",
            request=self.request(),
            response=self.response() if has_response else None,
            request_start=transaction.start if transaction else self.start,
            request_end=self.end,
            response_start=self.response_start,
            response_end=end,
            is_session=is_session_command(self.command) or self._is_stray_exec(),
            transaction=self.block,
            problem=problem,
            calls=self.calls(),
        )

    def to_refusal(self, end: Mark) -> Exchange:
        """That MULTI would not queue the command: a session fact, for a server to do likewise."""
        return Exchange(
            protocol="redis",
            request={"command": self.command, "refused": True},
            response={"reply": self.replies[0]},
            request_start=self.start,
            request_end=self.end,
            response_start=self.response_start,
            response_end=end,
            is_session=True,
            transaction=self.block,
            calls=0,
        )


def is_queue_reply(tree: Document) -> bool:
    """Whether it can be the reply to a command inside MULTI."""
    return tree == QUEUED or error_text(tree) is not None
