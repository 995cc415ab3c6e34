"""Writes HTTP/1 messages: byte for byte as parsed, or chunked again in one chunk (RFC 9112).

``Content-Length`` is written anew only where the body has another length than was recorded
(because values in it were replaced).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from kebpf.protocols.base import Document, ProtocolError
from kebpf.protocols.http1.framing import CHUNKED, LENGTH, get_content_length
from kebpf.protocols.http1.grammar import CRLF

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"(?:[^\x00\r\n]|\r?\n[ \t])*")
_TARGET = re.compile(r"[^\x00-\x20\x7f]+")
_SPACE = re.compile(r"[ \t]*(?:\r?\n)?")
_USUAL = (" ", CRLF)

Pairs = Sequence[Sequence[str]]


def write_request(request: Document) -> bytes:
    """The request on the wire.  Raises ``ProtocolError`` for what cannot be written."""
    method, target = request["method"], request["target"]
    if _NAME.fullmatch(method) is None or _TARGET.fullmatch(target) is None:
        raise ProtocolError("the method or target of the request cannot be written")
    layout = read_layout(request)
    ending = layout.get(-1, _USUAL)[1]
    start = f"{method} {target} HTTP/{request['version']}{ending}"
    return _write_message(start, request, layout)


def write_response(response: Document) -> bytes:
    """The interim responses and the final one.  Raises ``ProtocolError``."""
    interim = b"".join(
        write_interim(part, response["version"]) for part in response.get("interim", ())
    )
    layout = read_layout(response)
    start = write_status_line(response, response["version"], layout)
    return interim + _write_message(start, response, layout)


def write_interim(interim: Document, version: str) -> bytes:
    """One 1xx response.  Raises ``ProtocolError``."""
    layout = read_layout(interim)
    start = write_status_line(interim, version, layout)
    return write_head(start, interim["headers"], layout)


def write_status_line(
    response: Document, version: str, layout: Mapping[int, tuple[str, str]]
) -> str:
    """The status line with its end.  Raises ``ProtocolError``."""
    reason = response["reason"]
    if "\r" in reason or "\n" in reason or not 100 <= response["status"] <= 999:
        raise ProtocolError("the status line of the response cannot be written")
    space, ending = layout.get(-1, _USUAL)
    if reason:
        space = " "
    return f"HTTP/{version} {response['status']}{space}{reason}{ending}"


def write_head(start: str, headers: Pairs, layout: Mapping[int, tuple[str, str]]) -> bytes:
    """Start line, fields and blank line.  Raises ``ProtocolError``."""
    parts = [start]
    for index, (name, value) in enumerate(headers):
        if _NAME.fullmatch(name) is None or _VALUE.fullmatch(value) is None:
            raise ProtocolError(f"the header {name!r} cannot be written")
        before, after = layout.get(index, _USUAL)
        parts.append(f"{name}:{before}{value}{after or CRLF}")
    parts.append(layout.get(len(headers), ("", CRLF))[1])
    try:
        return "".join(parts).encode("latin-1")
    except UnicodeEncodeError as error:
        raise ProtocolError("a head holds characters beyond latin-1") from error


def write_cut(body: bytes, kind: str) -> bytes:
    """What was read of a body before its receiver closed, in a framing that says more follows."""
    if kind == CHUNKED:
        return b"%x\r\n%b\r\n" % (len(body), body) if body else b""
    return body


def write_chunked(body: bytes, trailers: Pairs) -> bytes:
    """A body as one chunk, with its trailers.  Raises ``ProtocolError``."""
    return write_cut(body, CHUNKED) + b"0\r\n" + write_head("", trailers, {})


def read_layout(message: Document) -> dict[int, tuple[str, str]]:
    """The white space of a head by line: -1 the start line, the last index the blank line."""
    layout: dict[int, tuple[str, str]] = {}
    for index, before, after in message.get("layout", ()):
        if _SPACE.fullmatch(before) is None or _SPACE.fullmatch(after) is None:
            raise ProtocolError("the layout of a head is not white space")
        layout[index] = (before, after)
    return layout


def correct_length(headers: Pairs, size: int) -> list[list[str]]:
    """Headers with a Content-Length of ``size``: as they are, changed in place, or added."""
    pairs = [list(pair) for pair in headers]
    try:
        recorded = get_content_length(pairs)
    except ProtocolError:
        recorded = -1
    if recorded == size:
        return pairs
    if recorded is None:
        return [*pairs, ["Content-Length", str(size)]]
    for pair in pairs:
        if pair[0].lower() == "content-length":
            pair[1] = str(size)
    return pairs


def _write_message(start: str, message: Document, layout: dict[int, tuple[str, str]]) -> bytes:
    body: bytes = message["body"]
    headers: list[list[Any]] = message["headers"]
    is_cut = message.get("is_cut", False)
    if message["framing"] == LENGTH and not is_cut:
        headers = correct_length(headers, len(body))
    head = write_head(start, headers, layout)
    if is_cut:
        return head + write_cut(body, message["framing"])
    if message["framing"] == CHUNKED:
        return head + write_chunked(body, message["trailers"])
    return head + body
