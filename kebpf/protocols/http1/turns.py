"""Keeps a request together with its response until both are whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from kebpf.protocols.base import Document, Exchange, Mark
from kebpf.protocols.http1.framing import is_tunnel
from kebpf.protocols.http1.parser import MAX_BODY_SIZE, Message

NAME = "http"


@dataclass(slots=True)
class Turn:
    """A request under way; ``is_dropped`` once it was given up and reported."""

    request: Message
    response: Message | None = None
    response_start: Mark | None = None
    interim: list[Document] = field(default_factory=list)
    problem: str | None = None
    is_dropped: bool = False
    may_switch: bool = False  # what follows the request may turn out not to be HTTP

    def is_complete(self) -> bool:
        """Both messages are whole."""
        return self.request.is_complete and self.is_answered()

    def is_answered(self) -> bool:
        """The final response is whole."""
        return self.response is not None and self.response.is_complete

    def make_exchange(self) -> Exchange:
        """The exchange as far as it has come, with what is wrong with it."""
        response = self.response
        return Exchange(
            protocol=NAME,
            request=self.request.make_document(),
            response=None if response is None else self._make_response(response),
            request_start=self.request.start,
            request_end=self.request.end,
            response_start=self.response_start,
            response_end=None if response is None else response.end,
            is_session=self._is_opening(),
            problem=self._get_problem(),
        )

    def _is_opening(self) -> bool:
        """Whether it only opened a tunnel: who uses one that is kept is chance."""
        if self.response is None or self.request.head.get("method") != "CONNECT":
            return False
        return is_tunnel("CONNECT", self.response.head.get("status", 0))

    def _make_response(self, response: Message) -> Document:
        document = response.make_document()
        document["interim"] = self.interim
        return document

    def _get_problem(self) -> str | None:
        if self.problem is None and not _has_flaw(self.request) and not _has_flaw(self.response):
            return None
        problems = [describe_message_loss(self.request, "request")]
        if self.response is not None:
            problems.append(describe_message_loss(self.response, "response"))
        problems.append(self.problem)
        return "; ".join(problem for problem in problems if problem) or None


def _has_flaw(message: Message | None) -> bool:
    if message is None:
        return False
    return message.lost_size > 0 or message.has_unknown_loss or message.is_oversized


def describe_message_loss(message: Message, what: str) -> str | None:
    """What the body of a message lacks, or ``None``."""
    if message.lost_size or message.has_unknown_loss:
        size = 0 if message.has_unknown_loss else message.lost_size
        return describe_loss(size, f"the {what}")
    if message.is_oversized:
        return f"the body of the {what} is over {MAX_BODY_SIZE:,} bytes"
    return None


def describe_loss(size: int, what: str) -> str:
    """A gap in words; ``size`` 0 is an unknown number of bytes."""
    if size == 1:
        return f"1 byte of {what} was lost"
    amount = f"{size:,}" if size else "an unknown number of"
    return f"{amount} bytes of {what} were lost"


def make_interim(message: Message) -> Document:
    """A 1xx response as it stands in ``interim``."""
    return {key: value for key, value in message.head.items() if key != "version"}


def make_orphan(problem: str, mark: Mark) -> Exchange:
    """Reports a loss that no known request can be blamed for; its request is empty."""
    request: dict[str, Any] = {
        "method": "",
        "target": "",
        "version": "",
        "headers": [],
        "body": b"",
        "trailers": [],
        "framing": "none",
    }
    return Exchange(NAME, request, None, mark, mark, problem=problem)
