"""A secret's place in a text, and how it is written there."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Iterable
from typing import NamedTuple
from urllib.parse import quote, unquote, unquote_plus

RAW, JSON, URL, FORM, HTML = "raw", "json", "url", "form", "html"
HEX = "hex"  # of its UTF-8
BASE64 = "base64"  # the value is a part of what is there in base64
_SAFE = "!#$&'()*+,/:;=?@[]~"  # characters that some programs escape in an URL and some do not


class Span(NamedTuple):
    """``text[start:end]`` spells ``value`` as ``style`` has it.

    ``stand_in`` is what is to be there, if that is known already.
    """

    start: int
    end: int
    value: str
    kind: str
    style: str = RAW
    stand_in: str | None = None


def choose_spans(spans: Iterable[Span]) -> list[Span]:
    """Those that do not overlap, in order: what begins first, and the longest of these."""
    chosen: list[Span] = []
    end = 0
    for span in sorted(spans, key=_place_of):
        if span.start >= end:
            chosen.append(span)
            end = span.end
    return chosen


def _place_of(span: Span) -> tuple[int, int, bool]:
    return span.start, -span.end, span.stand_in is None


def write_spans(text: str, spans: list[Span], replace: Callable[[Span], str]) -> str:
    """The text with what stands for the secret in each span, written as that was."""
    pieces, end = [], 0
    for span in spans:
        pieces.append(text[end : span.start])
        pieces.append(encode_like(replace(span), span.style, text[span.start : span.end]))
        end = span.end
    return "".join([*pieces, text[end:]])


def decode(text: str, style: str) -> str:
    """What a text says that is written in a style; itself if it does not follow it."""
    if style == JSON and "\\" in text:
        return _decode_json(text)
    if style == URL and "%" in text:
        return unquote(text)
    if style == FORM:
        return unquote_plus(text)
    return html.unescape(text) if style == HTML and "&" in text else text


def _decode_json(text: str) -> str:
    try:
        return str(json.loads(f'"{text}"', strict=False))
    except ValueError:
        return text


def encode_like(value: str, style: str, model: str) -> str:
    """A value in a style, escaping what the model escapes."""
    if style == JSON:
        return json.dumps(value, ensure_ascii=model.isascii())[1:-1]
    if style in (URL, FORM):
        safe = "".join(one for one in _SAFE if one in model)
        written = quote(value, safe=safe.replace("+", "") if style == FORM else safe)
        if style == FORM and "%20" not in model:
            written = written.replace("%20", "+")
        return _lower_escapes(written) if _has_lower_escapes(model) else written
    if style == HEX:
        return value.encode().hex()
    return html.escape(value, quote="&quot;" in model) if style == HTML else value


def _has_lower_escapes(model: str) -> bool:
    escapes = [piece[:2] for piece in model.split("%")[1:]]
    return any(one != one.upper() for one in escapes)


def _lower_escapes(text: str) -> str:
    first, *rest = text.split("%")
    return "%".join([first, *(one[:2].lower() + one[2:] for one in rest)])


def variants_of(value: str) -> list[tuple[str, str]]:
    """The other spellings of a value, each with its style; none for plain letters and digits."""
    if value.isalnum() and value.isascii():
        return []
    spelled = {
        json.dumps(value)[1:-1]: JSON,
        json.dumps(value, ensure_ascii=False)[1:-1]: JSON,
        quote(value, safe=""): URL,
        quote(value): URL,
        quote(value, safe=_SAFE): URL,
        quote(value, safe="").replace("%20", "+"): FORM,
        html.escape(value): HTML,
        value.replace("~", "~0").replace("/", "~1"): RAW,
    }
    lowered = {_lower_escapes(text): style for text, style in spelled.items() if style != JSON}
    spelled = {**lowered, **spelled}
    spelled.pop(value, None)
    return list(spelled.items())
