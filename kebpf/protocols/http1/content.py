"""Decodes bodies as far as their media type allows: JSON, form, text or bytes.

A decoding is used only if nothing is lost in it; otherwise the body stays text or bytes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

from kebpf.protocols.base import ProtocolError
from kebpf.protocols.http1.coding import decode_codings
from kebpf.protocols.http1.grammar import get_tokens, get_value
from kebpf.protocols.http1.json_text import parse_json

BOUNDARY = "boundary"  # stands in decoded multipart bodies for the sender's (random) one

_CHARSETS = re.compile(
    r"utf-?8|us-ascii|ascii|latin-?1|iso-?8859-\d{1,2}|windows-125\d|cp125\d|utf-16(?:le|be)?|"
    r"shift_jis|euc-jp|euc-kr|gbk|gb2312|gb18030|big5|koi8-[ru]"
)
_PARAMETER = re.compile(
    r""";[ \t]*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^;\s"]*))"""
)
_TEXT_TYPES = re.compile(
    r"text/.+|.+\+xml|application/(?:xml|javascript|ecmascript|graphql|yaml|x-yaml|toml|sql"
    r"|x-ndjson|jsonl|json-seq|x-www-form-urlencoded|json)|.+\+json|image/svg\+xml"
)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f]")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")

Headers = Sequence[Sequence[str]]
Decoded = tuple[str, Any]  # kind, body


def parse_media_type(value: str) -> tuple[str, dict[str, str]]:
    """The type in lower case and its parameters, names in lower case."""
    media_type, _, _ = value.partition(";")
    parameters = {
        name.lower(): re.sub(r"\\(.)", r"\1", quoted) if quoted else plain
        for name, quoted, plain in _PARAMETER.findall(value)
    }
    return media_type.strip().lower(), parameters


def decode_body(headers: Headers, body: bytes) -> Decoded:
    """``(kind, body)`` with kind json, form, text, binary or empty."""
    if not body:
        return "empty", None
    media_type, parameters = parse_media_type(get_value(headers, "content-type"))
    try:
        data = decode_codings(body, _get_codings(headers))
    except ProtocolError:
        return "binary", body
    if media_type.startswith("multipart/"):
        data = _replace_boundary(data, parameters.get("boundary", ""))
    return _decode_data(media_type, parameters.get("charset", ""), data)


def _get_codings(headers: Headers) -> list[str]:
    """Content codings, then transfer codings other than chunked, in the order applied."""
    transfer = [name for name in get_tokens(headers, "transfer-encoding") if name != "chunked"]
    return get_tokens(headers, "content-encoding") + transfer


def _decode_data(media_type: str, charset: str, data: bytes) -> Decoded:
    text = _decode_text(media_type, charset.lower(), data)
    if text is None:
        return "binary", data
    if media_type == "application/json" or media_type.endswith("+json") or _is_bare(media_type):
        return _decode_json(media_type, text)
    if media_type == "application/x-www-form-urlencoded":
        pairs = decode_pairs(text)
        return ("text", text) if pairs is None else ("form", pairs)
    return "text", text


def _is_bare(media_type: str) -> bool:
    return not media_type


def _decode_json(media_type: str, text: str) -> Decoded:
    if _is_bare(media_type) and text.lstrip()[:1] not in ("{", "["):
        return "text", text
    try:
        return "json", parse_json(text)
    except ProtocolError:
        return "text", text


def _decode_text(media_type: str, charset: str, data: bytes) -> str | None:
    """The text, or ``None`` when it is not known to be text or does not come back the same."""
    if charset and _CHARSETS.fullmatch(charset) is None:
        return None
    is_text = bool(charset) or _TEXT_TYPES.fullmatch(media_type) is not None
    try:
        text = data.decode(charset or "utf-8")
        is_exact = text.encode(charset or "utf-8") == data
    except (UnicodeError, LookupError):
        return None
    return text if is_exact and (is_text or _CONTROL.search(text) is None) else None


def decode_pairs(text: str) -> list[list[str | None]] | None:
    """``a=1&b`` as ``[["a", "1"], ["b", None]]``; ``None`` when an escape is not UTF-8.

    WHATWG URL section 5.1, but a name without ``=`` is told from one with an empty value, and
    empty pairs are kept.
    """
    pairs: list[list[str | None]] = []
    try:
        for pair in text.split("&"):
            name, equals, value = pair.partition("=")
            pairs.append([_unescape(name), _unescape(value) if equals else None])
    except ValueError:
        return None
    return pairs


def _unescape(text: str) -> str:
    if _BAD_ESCAPE.search(text):
        raise ValueError("a stray %")
    return unquote_to_bytes(text.replace("+", " ")).decode()


def _replace_boundary(data: bytes, boundary: str) -> bytes:
    """A multipart body with `BOUNDARY` for its delimiters (RFC 2046 section 5.1.1).

    Clients invent a boundary a message; it says nothing.  A body that is not exactly parts
    between delimiters is left as it is.
    """
    delimiter = b"--" + boundary.encode("latin-1", "replace")
    parts = (b"\r\n" + data).split(b"\r\n" + delimiter)
    is_whole = parts[0] == b"" and parts[-1] in (b"--", b"--\r\n") and len(parts) > 1
    if not boundary or not is_whole or not all(part.startswith(b"\r\n") for part in parts[1:-1]):
        return data
    return (b"\r\n--" + BOUNDARY.encode()).join(parts).removeprefix(b"\r\n")


def replace_boundary_parameter(value: str) -> str:
    """A multipart Content-Type with `BOUNDARY` as its boundary; other values as they are."""
    media_type, parameters = parse_media_type(value)
    if not media_type.startswith("multipart/") or "boundary" not in parameters:
        return value
    kept = {**parameters, "boundary": BOUNDARY}
    return "; ".join([media_type, *(f"{name}={text}" for name, text in kept.items())])
