"""Reads start lines and header sections of HTTP/1 exactly (RFC 9112 sections 2 to 5).

Nothing is normalised away: names keep their case, fields their order, a folded value its folds.
Where the white space differs from ``Name: value`` CRLF, ``layout`` notes it, so that a head can
be written again byte for byte without keeping its bytes a second time (a second copy would
escape redaction).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kebpf.protocols.base import Document, ProtocolError

MAX_HEAD_SIZE = 128 * 1024

Headers = list[list[str]]
Layout = list[list[int | str]]

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_NAME = re.compile(_TOKEN)
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([^\x00-\x20\x7f]+) HTTP/(1\.[0-9])")
_STATUS_LINE = re.compile(rb"HTTP/(1\.[0-9]) ([1-9][0-9]{2})(?:( )([^\x00\r\n]*))?")
# The same with the line's end, on text; and a field as nearly all are: one space, no folds.
_USUAL_REQUEST = re.compile(_REQUEST_LINE.pattern.decode() + "\r\n")
_USUAL_STATUS = re.compile(r"HTTP/(1\.[0-9]) ([1-9][0-9]{2}) ([^\x00\r\n]*)\r\n")
_USUAL_FIELD = re.compile(_TOKEN.decode().join("()") + ": (?![ \t])([^\x00\r\n]*)(?<![ \t])\r\n")
_FOLD = re.compile(r"[ \t]*\r?\n[ \t]+")
_BLANK_LINE = re.compile(rb"\n\r?\n")
_OWS = b" \t"
CRLF = "\r\n"


@dataclass(frozen=True, slots=True)
class Fields:
    """A header or trailer section; ``layout`` holds ``[index, before, after]`` where unusual."""

    headers: Headers
    layout: Layout


def find_head_end(buffer: bytearray, scanned: int) -> int | None:
    """The size of a head with its blank line, looking from ``scanned`` on; ``None``: need more."""
    found = _BLANK_LINE.search(buffer, max(scanned - 2, 0))
    return found.end() if found else None


def parse_usual_request(block: bytes) -> Document | None:
    """What `parse_request_head` gives, at a third of its price; ``None`` for unusual heads."""
    text = block.decode("latin-1")
    found = _USUAL_REQUEST.match(text)
    headers = found and _parse_usual_fields(text, found.end())
    if not found or headers is None:
        return None
    method, target, version = found.groups()
    return {"method": method, "target": target, "version": version, "headers": headers}


def parse_usual_status(block: bytes) -> Document | None:
    """What `parse_status_head` gives, at a third of its price; ``None`` for unusual heads."""
    text = block.decode("latin-1")
    found = _USUAL_STATUS.match(text)
    headers = found and _parse_usual_fields(text, found.end())
    if not found or headers is None:
        return None
    version, status, reason = found.groups()
    return {"status": int(status), "reason": reason, "version": version, "headers": headers}


def _parse_usual_fields(text: str, at: int) -> Headers | None:
    """The fields from ``at`` up to the blank line that ends ``text``, if all are as usual."""
    headers: Headers = []
    size = at + len(CRLF)
    for name, value in _USUAL_FIELD.findall(text, at):
        headers.append([name, value])
        size += len(name) + len(value) + 4
    # `findall` passes over what is no such field: then something is missing from the sum
    return headers if size == len(text) and text.endswith("\r\n\r\n") else None


def parse_request_head(block: bytes) -> Document:
    """Method, target, version, headers (and layout).  Raises ``ProtocolError``."""
    usual = parse_usual_request(block)
    return parse_any_request(block) if usual is None else usual


def parse_status_head(block: bytes) -> Document:
    """Status, reason, version, headers (and layout).  Raises ``ProtocolError``."""
    usual = parse_usual_status(block)
    return parse_any_status(block) if usual is None else usual


def parse_any_request(block: bytes) -> Document:
    """`parse_request_head` for heads that may be unusual.  Raises ``ProtocolError``."""
    start, ending, rest = _split_start(block)
    found = _REQUEST_LINE.fullmatch(start)
    if found is None:
        raise ProtocolError("not a request line")
    method, target, version = (part.decode("latin-1") for part in found.groups())
    head: Document = {"method": method, "target": target, "version": version}
    return _add_fields(head, [] if ending == CRLF else [[-1, " ", ending]], rest)


def parse_any_status(block: bytes) -> Document:
    """`parse_status_head` for heads that may be unusual.  Raises ``ProtocolError``."""
    start, ending, rest = _split_start(block)
    found = _STATUS_LINE.fullmatch(start)
    if found is None:
        raise ProtocolError("not a status line")
    version, status, space, reason = found.groups(b"")
    head: Document = {
        "status": int(status),
        "reason": reason.decode("latin-1"),
        "version": version.decode("latin-1"),
    }
    usual = ending == CRLF and space == b" "
    return _add_fields(head, [] if usual else [[-1, space.decode(), ending]], rest)


def check_start_line(line: bytes, is_request: bool) -> None:
    """Raises ``ProtocolError`` if a whole first line (without its end) cannot start a message."""
    pattern = _REQUEST_LINE if is_request else _STATUS_LINE
    if pattern.fullmatch(line) is None:
        raise ProtocolError("not a request line" if is_request else "not a status line")


def _split_start(block: bytes) -> tuple[bytes, str, list[bytes]]:
    lines = block.split(b"\n")[:-1]
    start, ending = _split_ending(lines[0])
    return start, ending, lines[1:]


def _split_ending(line: bytes) -> tuple[bytes, str]:
    return (line[:-1], CRLF) if line.endswith(b"\r") else (line, "\n")


def _add_fields(head: Document, layout: Layout, lines: Sequence[bytes]) -> Document:
    fields = parse_fields(lines)
    head["headers"] = fields.headers
    if layout or fields.layout:
        head["layout"] = [*layout, *fields.layout]
    return head


def parse_fields(lines: Sequence[bytes]) -> Fields:
    """Lines (without LF) up to and with the blank one.  Raises ``ProtocolError``."""
    headers: Headers = []
    layout: Layout = []
    for index, (name, raw, ending) in enumerate(_join_folds(lines[:-1])):
        value = raw.strip(_OWS)
        at = raw.index(value) if value else len(raw)
        before, after = raw[:at].decode(), raw[at + len(value) :].decode() + ending
        headers.append([name.decode("latin-1"), value.decode("latin-1")])
        if (before, after) != (" ", CRLF):
            layout.append([index, before, after])
    blank = _split_ending(lines[-1])[1]
    if blank != CRLF:
        layout.append([len(headers), "", blank])
    return Fields(headers, layout)


def _join_folds(lines: Sequence[bytes]) -> list[tuple[bytes, bytes, str]]:
    """``(name, everything after the colon, line end)``, folded lines put together raw."""
    fields: list[tuple[bytes, bytes, str]] = []
    for whole in lines:
        line, ending = _split_ending(whole)
        if b"\r" in line or b"\x00" in line:
            raise ProtocolError("a header line holds CR or NUL")
        if line[:1] in (b" ", b"\t"):
            if not fields:
                raise ProtocolError("a folded line without a field before it")
            name, raw, previous = fields[-1]
            fields[-1] = (name, raw + previous.encode() + line, ending)
            continue
        name, colon, raw = line.partition(b":")
        if not colon or _NAME.fullmatch(name) is None:
            raise ProtocolError("a header line is not Name: value")
        fields.append((name, raw, ending))
    return fields


def unfold(value: str) -> str:
    """A value with its obsolete folds as one space each (RFC 9112 section 5.2)."""
    return _FOLD.sub(" ", value).strip(" \t") if "\n" in value else value


def get_values(headers: Sequence[Sequence[str]], name: str) -> list[str]:
    """All values of a field in order; ``name`` in lower case."""
    return [unfold(value) for key, value in headers if key.lower() == name]


def get_value(headers: Sequence[Sequence[str]], name: str) -> str:
    """The first value of a field, or an empty string; ``name`` in lower case."""
    return next(iter(get_values(headers, name)), "")


def get_tokens(headers: Sequence[Sequence[str]], name: str) -> list[str]:
    """The comma-separated members of a field over all its lines, in lower case."""
    values = get_values(headers, name)
    if not values:
        return []
    members = ",".join(values).split(",")
    return [member.strip(" \t").lower() for member in members if member.strip(" \t")]
