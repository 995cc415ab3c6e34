"""Header lists by name: the order within a name counts, that among names does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

# What says how a body is cut into bytes on this one connection (RFC 9110 section 7.6.1,
# RFC 9112 section 6): the body itself is compared instead.
FRAMING_HEADERS = frozenset(
    ("content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer")
)


# Of these, what the comparison of the body settles as well.
BODY_HEADERS = frozenset(("content-length", "transfer-encoding"))


class Header(NamedTuple):
    """A value and the JSON pointer it has in the recorded view."""

    value: Any
    path: str


def group_headers(pairs: Sequence[Sequence[Any]], key: str) -> dict[str, list[Header]]:
    """Values by lower-case name, in the order in which they came."""
    found: dict[str, list[Header]] = {}
    for index, (name, value) in enumerate(pairs):
        text = name.decode("latin-1") if isinstance(name, bytes) else str(name)
        found.setdefault(text.lower(), []).append(Header(value, f"/{key}/{index}/1"))
    return found
