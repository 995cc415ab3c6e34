"""Finds values by the name that stands beside them, in any text: JSON, forms, queries, XML, HTML.

One look at the text does for all of these, whole or cut off, and for JSON within JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from kebpf.recording.randomness import is_random
from kebpf.recording.redaction.names import DRAWN, KEY, Names
from kebpf.recording.redaction.rules import Rules
from kebpf.recording.redaction.spans import FORM, HTML, JSON, RAW, URL, Span, decode

LEAST_DRAWN = 16  # characters of a value that tells by looking drawn

_NAME = r"(?<![\w.])(?<!\w-)(?P<name>[A-Za-z_][\w.-]{0,63}+)"
_QUOTED = re.compile(  # "name": "value", also with escaped quotes; name: "value"; name='value'
    _NAME + r"(?:\[\])?(?:\\*[\"'])?\s{0,8}(?::|=>|=)\s{0,8}(?:"
    r"\"(?P<double>(?:[^\"\\]|\\.)*+)\"|'(?P<single>(?:[^'\\]|\\.)*+)'"
    r"|\\+\"(?P<nested>(?:[^\"\\]|\\{2,}[^\\])*+)\\+\"|(?P<number>\d[\d.]*+)(?=\s*[,}\]\r\n]|\s*\Z)"
    r"|\[(?P<items>[^\[\]{}]*+)\])",
    re.DOTALL,
)
_ITEM = re.compile(r"\"((?:[^\"\\]|\\.)*+)\"", re.DOTALL)
_BARE = re.compile(_NAME + r"=(?P<bare>[^\s,;&\"'<>{}()\\|]++)")
_PAIR = re.compile(r"(?:\A|(?<=[&?]))(?P<name>[^=&#]{1,192})=(?P<value>[^&#]++)")
_ELEMENT = re.compile(
    r"<(?:[\w.-]+:)?(?P<name>[A-Za-z_][\w.-]{0,63})(?:\s[^<>]*)?>(?P<value>[^<>]{1,4096})</"
)
_TAG = re.compile(r"<(?:input|meta)\b[^<>]{1,1024}>", re.IGNORECASE)
_TAG_NAME = re.compile(r"\bname\s*=\s*[\"']?([\w.\[\]-]+)", re.IGNORECASE)
_TAG_VALUE = re.compile(r"\b(?:value|content)\s*=\s*\"([^\"]+)\"", re.IGNORECASE)
_PART = re.compile(
    r"name=\"?(?P<name>[\w.\[\]-]+)\"?[^\r\n]*\r\n(?:[\w-]+:[^\r\n]*\r\n)*\r\n"
    r"(?P<value>[^\r\n]+)\r\n--"
)
# What stands for no value, or was masked by the program itself.
_NO_VALUE = re.compile(
    r"(?i)null|none|nil|true|false|undefined|string|bearer|basic|\**|[x•]+|<[^<>]*>"
    r"|\[[^\[\]]*\]|\$?\{[^{}]*\}|\$\d+|%s|\?"
)


class Assignments:
    """Finds the secrets beside names that tell."""

    def __init__(self, names: Names, rules: Rules) -> None:
        self._names = names
        self._rules = rules

    def judge(self, name: str, value: str) -> str | None:
        """The kind of secret that ``value`` is under ``name``, or ``None``."""
        kind = self._names.classify(name)
        if kind is None or _NO_VALUE.fullmatch(value) or self._rules.keeps(name):
            return None
        if kind == DRAWN:
            return KEY if looks_drawn(value) else None
        return kind

    def is_telling(self, name: str) -> bool:
        """Whether a name can make any value a secret."""
        return self._names.classify(name) is not None and not self._rules.keeps(name)

    def keeps(self, name: str) -> bool:
        """Whether the project wants fields of that name as they are."""
        return self._rules.keeps(name)

    def find(self, text: str) -> Iterator[Span]:
        """In a text of any kind.  It is worth asking `Names.may_hold` before."""
        yield from self._find_quoted(text)
        if "=" in text:
            for found in _BARE.finditer(text):
                style = URL if "%" in found["bare"] else RAW
                yield from self._judge_group(found, "bare", style)
        if "</" in text:
            for found in _ELEMENT.finditer(text):
                yield from self._judge_group(found, "value", HTML)
        if "<" in text:
            yield from self._find_tags(text)
        if "\r\n--" in text:
            for found in _PART.finditer(text):
                yield from self._judge_group(found, "value", RAW)

    def find_pairs(self, text: str, style: str = FORM) -> Iterator[Span]:
        """In a form or the query of a target, which may have a path before it."""
        for found in _PAIR.finditer(text):
            name = decode(found["name"], FORM).rpartition("?")[2]
            value = decode(found["value"], style)
            kind = self.judge(name, value)
            if kind is not None:
                yield Span(*found.span("value"), value, kind, style)

    def _find_quoted(self, text: str) -> Iterator[Span]:
        at = 0
        while (found := _QUOTED.search(text, at)) is not None:
            group = found.lastgroup or ""
            at = found.end()
            if self._names.classify(found["name"]) is None:
                inner = found[group]
                if ":" in inner or "=" in inner:  # another may be in what this one names
                    at = found.start(group)
            elif group == "items":
                yield from self._find_items(found)
            else:
                yield from self._judge_group(found, group, JSON if group == "double" else RAW)

    def _find_items(self, found: re.Match[str]) -> Iterator[Span]:
        start = found.start("items")
        for item in _ITEM.finditer(found["items"]):
            value = decode(item[1], JSON)
            kind = self.judge(found["name"], value)
            if kind is not None:
                yield Span(start + item.start(1), start + item.end(1), value, kind, JSON)

    def _find_tags(self, text: str) -> Iterator[Span]:
        for tag in _TAG.finditer(text):
            name, value = _TAG_NAME.search(tag[0]), _TAG_VALUE.search(tag[0])
            if name is None or value is None:
                continue
            said = decode(value[1], HTML)
            kind = self.judge(name[1], said)
            if kind is not None:
                start = tag.start() + value.start(1)
                yield Span(start, start + len(value[1]), said, kind, HTML)

    def _judge_group(self, found: re.Match[str], group: str, style: str) -> Iterator[Span]:
        value = decode(found[group], style)
        kind = self.judge(found["name"], value) if value else None
        if kind is not None:
            yield Span(*found.span(group), value, kind, style)


def looks_drawn(value: str) -> bool:
    """Whether a value was drawn at random, as credentials are, and is long enough for one."""
    return len(value) >= LEAST_DRAWN and " " not in value and is_random(value)
