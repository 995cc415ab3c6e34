"""Server bytes to replies, as exact typed trees (RESP2, and the RESP3 specification).

=============  =======================================================================
wire           tree
=============  =======================================================================
``+`` ``-``    ``{"type": "simple" | "error", "value": text}``
``:``          ``{"type": "integer", "value": int}`` (text if not in canonical form)
``$`` ``!``    ``{"type": "bulk" | "bulk-error", "value": text}``
``$-1``        ``{"type": "null-bulk"}``
``*-1``        ``{"type": "null-array"}``
``_``          ``{"type": "null"}``
``,`` ``(``    ``{"type": "double" | "big-number", "value": digits as sent}``
``#``          ``{"type": "boolean", "value": bool}``
``=``          ``{"type": "verbatim", "format": three characters, "value": text}``
``*`` ``~``    ``{"type": "array" | "set", "items": [tree, …]}``
``>``          ``{"type": "push", "items": [tree, …]}``
``%``          ``{"type": "map", "items": [key, value, key, value, …]}``
``|``          ``{"type": "attribute", "items": [key, value, …], "reply": tree}``
``$?``         ``{"type": "streamed-bulk", "chunks": [text, …]}``
``*?`` …       as the aggregate, with ``"streamed": true``
=============  =======================================================================
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from kebpf.protocols.base import Document, ProtocolError
from kebpf.protocols.redis import whole
from kebpf.protocols.redis.parser import Parser
from kebpf.protocols.redis.stream import MAX_DEPTH, MAX_ITEMS, parse_length
from kebpf.protocols.redis.text import to_text

AGGREGATES = {b"*": "array", b"~": "set", b">": "push", b"%": "map", b"|": "attribute"}
BLOBS = {b"$": "bulk", b"!": "bulk-error", b"=": "verbatim"}
LINES = {b"+": "simple", b"-": "error", b":": "integer", b",": "double", b"(": "big-number"}
STREAMABLE = frozenset({"array", "set", "map"})

_INTEGER = re.compile(rb"[+-]?[0-9]{1,20}\Z")
_BIG_NUMBER = re.compile(rb"[+-]?[0-9]+\Z")
_DOUBLE = re.compile(rb"([+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?|[+-]?inf|[+-]?nan)\Z")


@dataclass(slots=True)
class _Frame:
    """An aggregate being read; ``left`` counts down, or is ``None`` while it is streamed."""

    node: Document
    left: int | None
    items: list[Any] = field(default_factory=list)

    @property
    def is_chunked(self) -> bool:
        return "chunks" in self.node

    @property
    def awaits_reply(self) -> bool:
        return self.left == 0  # only an attribute stays on the stack with nothing left


class ReplyParser(Parser):
    """The replies and pushes of one connection."""

    def __init__(self) -> None:
        super().__init__()
        self._stack: list[_Frame] = []
        self._count = 0

    def _forget(self) -> None:
        super()._forget()
        self._stack = []
        self._count = 0

    def _read_whole(self, data: bytes, at: int) -> tuple[Document | None, int]:
        return whole.read_reply(data, at)

    def _step(self) -> Document | None:
        line = self._buffer.find_line()
        if line is None:
            self._refuse_garbage()
            return None
        if b"\r" in line or b"\n" in line:
            raise ProtocolError("a line holds a bare CR or LF")
        kind = line[:1]
        if self._stack and self._stack[-1].is_chunked:
            return self._take_chunk(line)
        if kind in BLOBS:
            return self._take_blob(kind, line)
        self._buffer.consume(len(line) + 2)
        if kind in AGGREGATES:
            return self._open(AGGREGATES[kind], line[1:])
        if line == b".":
            return self._close_streamed()
        return self._place(_read_line(kind, line[1:]))

    def _refuse_garbage(self) -> None:
        """No need to wait for the end of a line that cannot be one."""
        if self._buffer.peek() not in b"+-:,(#_$!=*~>%|;.":
            raise ProtocolError("a reply begins with an unknown type byte")

    def _take_blob(self, kind: bytes, line: bytes) -> Document | None:
        if line == b"$-1":
            self._buffer.consume(5)
            return self._place({"type": "null-bulk"})
        if line == b"$?":
            self._buffer.consume(4)
            self._nest({"type": "streamed-bulk", "chunks": []}, None)
            return None
        payload = self._take_payload(line)
        if payload is None:
            return None
        if kind != b"=":
            return self._place({"type": BLOBS[kind], "value": to_text(payload)})
        if len(payload) < 4 or payload[3:4] != b":":
            raise ProtocolError("a verbatim string has no format")
        format_, value = to_text(payload[:3]), to_text(payload[4:])
        return self._place({"type": "verbatim", "format": format_, "value": value})

    def _take_chunk(self, line: bytes) -> Document | None:
        if line[:1] != b";":
            raise ProtocolError("a streamed string holds something else than chunks")
        if line == b";0":
            self._buffer.consume(4)
            return self._place(self._stack.pop().node)
        payload = self._take_payload(line)
        if payload is not None:
            self._stack[-1].node["chunks"].append(to_text(payload))
            self._count_item()
        return None

    def _open(self, type_: str, count: bytes) -> Document | None:
        if type_ == "array" and count == b"-1":
            return self._place({"type": "null-array"})
        node: Document = {"type": type_, "items": []}
        if count == b"?":
            if type_ not in STREAMABLE:
                raise ProtocolError("an aggregate of this type cannot be streamed")
            node["streamed"] = True
            self._nest(node, None)
            return None
        left = parse_length(count) * (2 if type_ in ("map", "attribute") else 1)
        if self._count + left > MAX_ITEMS:
            raise ProtocolError("a reply has more elements than the cap")
        if left or type_ == "attribute":
            self._nest(node, left)
            return None
        return self._place(node)

    def _nest(self, node: Document, left: int | None) -> None:
        if len(self._stack) >= MAX_DEPTH:
            raise ProtocolError("a reply is nested deeper than the cap")
        frame = _Frame(node, left)
        if "items" in node:
            node["items"] = frame.items
        self._stack.append(frame)

    def _close_streamed(self) -> Document | None:
        frame = self._stack.pop() if self._stack else None
        if frame is None or frame.left is not None:
            raise ProtocolError("an end mark outside a streamed aggregate")
        if frame.node["type"] == "map" and len(frame.items) % 2:
            raise ProtocolError("a streamed map ends after a key")
        return self._place(frame.node)

    def _place(self, node: Document) -> Document | None:
        """Puts a finished node where it belongs; gives the reply if that was its last part."""
        self._count_item()
        while self._stack:
            frame = self._stack[-1]
            if frame.awaits_reply:
                frame.node["reply"] = node
            else:
                frame.items.append(node)
                if frame.left is None:
                    return None
                frame.left -= 1
                if frame.left or frame.node["type"] == "attribute":
                    return None
            node = self._stack.pop().node
        return node

    def _count_item(self) -> None:
        self._count += 1
        if self._count > MAX_ITEMS + 1:
            raise ProtocolError("a reply has more elements than the cap")


def _read_line(kind: bytes, rest: bytes) -> Document:
    if kind in (b"+", b"-"):
        return {"type": LINES[kind], "value": to_text(rest)}
    if kind == b":" and _INTEGER.match(rest):
        number = int(rest)
        return {"type": "integer", "value": number if b"%d" % number == rest else rest.decode()}
    if (kind == b"," and _DOUBLE.match(rest)) or (kind == b"(" and _BIG_NUMBER.match(rest)):
        return {"type": LINES[kind], "value": rest.decode()}
    if kind == b"#" and rest in (b"t", b"f"):
        return {"type": "boolean", "value": rest == b"t"}
    if kind == b"_" and not rest:
        return {"type": "null"}
    raise ProtocolError("a reply begins with an unknown type byte or is malformed")
