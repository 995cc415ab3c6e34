"""Tells from the first bytes whether a connection speaks HTTP/1, and where a message starts."""

from __future__ import annotations

import re

from kebpf.protocols.base import Detection

MAX_START_LINE_SIZE = 8192
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
SURE_SIZE = 256  # of a start line not yet whole, from which a known method and a path suffice

_REQUEST_LINE = re.compile(
    rb"[A-Z][A-Z0-9_-]{0,19} "
    rb"(?:/|\*(?= )|[A-Za-z][A-Za-z0-9+.-]*://|[\[\]A-Za-z0-9.:_-]+:[0-9]+(?= ))[^\x00-\x20\x7f]* "
    rb"HTTP/1\.[0-9]\r?"
)
_METHOD_START = re.compile(rb"[A-Z][A-Z0-9_-]{0,19}")
_LINE_START = re.compile(rb"[A-Z][A-Z0-9_-]{0,19} (?:[^\x00-\x20\x7f]* ?[HTP/1.0-9]{0,8}\r?)?")
_KNOWN_START = re.compile(rf"(?:{'|'.join(METHODS)}) (?:/|https?://)[^\x00-\x20\x7f]*".encode())
_METHOD_NAMES = tuple(method.encode() for method in METHODS)
_STATUS_START = b"HTTP/1."


def judge_request(data: bytes) -> Detection:
    """Whether ``data`` starts with a request line of HTTP/1.x (so not with HTTP/2's preface)."""
    line, newline, _ = data[:MAX_START_LINE_SIZE].partition(b"\n")
    if newline:
        return Detection.YES if _REQUEST_LINE.fullmatch(line) else Detection.NO
    if len(line) >= SURE_SIZE and _KNOWN_START.match(line):
        return Detection.YES
    if len(line) >= MAX_START_LINE_SIZE or (b"PRI * H".startswith(line[:7]) and len(line) > 5):
        return Detection.NO
    could_be = _METHOD_START.fullmatch(line) or _LINE_START.fullmatch(line)
    return Detection.NEED_MORE if could_be or not line else Detection.NO


def judge_resumption(data: bytes) -> Detection:
    """Whether a request starts at bytes that may be the middle of one.

    Only the methods of RFC 9110 and PATCH count: none of them is the end of another, while the
    rest of a ``GET`` whose first byte was lost would pass for a method called ``ET``.
    """
    method, space, _ = data[:9].partition(b" ")
    if space:
        return judge_request(data) if method in _METHOD_NAMES else Detection.NO
    could_be = any(known.startswith(method) for known in _METHOD_NAMES)
    return Detection.NEED_MORE if could_be else Detection.NO


def judge_response(data: bytes) -> Detection:
    """Whether ``data`` starts with a status line of HTTP/1.x."""
    head = data[: len(_STATUS_START)]
    if head == _STATUS_START:
        return Detection.YES
    return Detection.NEED_MORE if _STATUS_START.startswith(head) else Detection.NO


def detect(client: bytes, server: bytes) -> Detection:
    """Judges the start of a connection; a server never speaks first in HTTP/1."""
    asked, answered = judge_request(client), judge_response(server)
    if Detection.NO in (asked, answered):
        return Detection.NO
    if not client and answered is Detection.YES:  # such as 408 on an idle connection
        return Detection.YES
    return asked


def resynchronise(client: bytes, server: bytes) -> Detection:
    """Whether a message starts at byte 0 of either direction of a connection joined midway."""
    verdicts = []
    if client:
        verdicts.append(judge_resumption(client))
    if server:
        verdicts.append(judge_response(server))
    if Detection.YES in verdicts:
        return Detection.YES
    return Detection.NEED_MORE if Detection.NEED_MORE in verdicts or not verdicts else Detection.NO
