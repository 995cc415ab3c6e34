"""Classes of generated values as patterns, and texts with such values as placeholders.

A template is a text in which each generated value is ``{class}`` and literal braces are doubled.
Class names: ``uuid4`` (any version digit), ``ulid``, ``ksuid``, ``objectid``, ``snowflake``,
``hex:32``, ``HEX:32``, ``lower:10`` and ``UPPER:10`` (letters of one case and digits),
``token:43`` (letters and digits), ``base64url:43``, ``base64:44``,
``escaped64:43`` (URL-encoded), ``crypt:53``, ``bytes:16``, ``secret:8`` (redacted, and not of
what came in), the tokens of
`kebpf.recording.wrapping` (``jwt`` and its kin) with what is generated in them, and
``time:FORMAT`` with an optional ``@+3600`` (seconds it lies beside the window).
Two prefixes say how a time-carrying value is checked: ``seen:`` was made earlier, so only its
binding counts; ``either:`` is as likely an echo of an input as the time of the call.
The classes of `loose`, which verification finds, are not bound.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from kebpf.recording import clocks, ids, times, wrapping
from kebpf.recording.loose import is_loose_class, loose_pattern
from kebpf.recording.times import Window

_FIXED_PATTERNS = {
    "ulid": r"[0-7][0-9A-HJKMNP-TV-Z]{25}",
    "ksuid": r"[0-9A-Za-z]{27}",
    "objectid": r"[0-9a-f]{24}",
    "snowflake": r"\d{15,20}",
    "jwt": r"[\w-]+\.[\w-]+\.[\w-]*",
    "json64": r"[\w+/-]+={0,2}",
    "gzip": r"\x1f\x8b\x08[\s\S]+",
    "zlib": r"x[\x01\x5e\x9c\xda][\s\S]+",
    "zjson64": r"\.[\w-]+",
}
_CHARSETS = {
    "hex": "[0-9a-f]", "HEX": "[0-9A-F]", "lower": "[0-9a-z]", "UPPER": "[0-9A-Z]",
    "token": "[A-Za-z0-9_+/-]",
    "base64url": "[A-Za-z0-9_-]", "base64": "[A-Za-z0-9+/=]",
    "escaped64": "(?:[A-Za-z0-9_-]|%2[BF])", "bytes": r"[\s\S]", "secret": r"[\s\S]",
    "crypt": "[./A-Za-z0-9]",
}  # fmt: skip
_NARROW_FIRST = ("hex", "HEX", "lower", "UPPER", "base64url")


def write_charset(texts: Iterable[str]) -> str:
    """The narrowest class of letters and digits, less its length, that all texts are of."""
    whole = "".join(texts)
    if re.fullmatch(r"[0-9A-Za-z]*", whole, re.ASCII) and not whole.islower() | whole.isupper():
        return "token"
    fitting = (one for one in _NARROW_FIRST if re.fullmatch(f"{_CHARSETS[one]}*", whole, re.ASCII))
    return next(fitting, "token")


def instance_class(class_name: str) -> str:
    """A class name without its ``seen:`` or ``either:`` prefix."""
    return class_name.removeprefix("seen:").removeprefix("either:")


def is_time_class(class_name: str) -> bool:
    """Whether values of the class are times (which need not be distinct)."""
    return instance_class(class_name).startswith("time:")


def split_time_class(class_name: str) -> tuple[str, float]:
    """The format and the shift in seconds of a time class."""
    body = instance_class(class_name).removeprefix("time:")
    match = re.fullmatch(r"(.*)@([+-]\d+(?:\.\d+)?)", body)
    return (match.group(1), float(match.group(2))) if match else (body, 0)


@lru_cache(maxsize=4096)
def class_pattern(class_name: str) -> str:
    """The regular expression, without groups, of a class.  Raises ``ValueError``."""
    name = instance_class(class_name)
    opened = wrapping.read_class(name)
    name = name if opened is None else opened[0]
    if name in _FIXED_PATTERNS:
        return _FIXED_PATTERNS[name]
    if name.startswith("time:"):
        return times.format_pattern(split_time_class(name)[0])
    if re.fullmatch(r"uuid[1-8]?", name):
        digit = "[0-9a-fA-F]"
        third = f"{name[4:] or digit}{digit}{{3}}"
        return f"{digit}{{8}}-{digit}{{4}}-{third}-{digit}{{4}}-{digit}{{12}}"
    if is_loose_class(name):
        return loose_pattern(name)
    charset, _, size = name.partition(":")
    if charset not in _CHARSETS or not size.isdigit():
        raise ValueError(f"unknown value class {class_name!r}")
    return f"{_CHARSETS[charset]}{{{size}}}"


def matches_class(text: str, class_name: str, window: Window | None) -> bool:
    """Whether a text is of a class and, where it carries a time, made within the window."""
    if re.fullmatch(class_pattern(class_name), text, re.ASCII | re.DOTALL) is None:
        return False
    if class_name.startswith("seen:") or window is None:
        return True
    return _is_made_within(text, instance_class(class_name), window)


def _is_made_within(text: str, name: str, window: Window) -> bool:
    if name.startswith("time:"):
        format_, shift = split_time_class(name)
        value = times.parse_in_format(text, format_)
        return value is not None and times.is_in_shifted(value, shift, window)
    if name.startswith("clock:"):
        return clocks.is_clock_within(text, name.removeprefix("clock:"), window)
    if name in ("uuid1", "uuid6", "uuid7"):
        return window.holds(ids.read_uuid_time(text), 1_000_000)
    if name == "ulid":
        return window.holds(ids.read_ulid_time(text), 1_000_000)
    if name == "ksuid":
        return window.holds(ids.read_ksuid_time(text), times.SECOND_NS)
    if name == "objectid":
        return window.holds(int(text[:8], 16) * times.SECOND_NS, times.SECOND_NS)
    if name == "snowflake":
        return ids.classify_number(text, window) == "snowflake"
    return True


_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}]+)\}")


@lru_cache(maxsize=16384)
def _compile_template(template: str) -> tuple[re.Pattern[str], tuple[str, ...]]:
    pieces, classes, end = [], [], 0
    for match in _PLACEHOLDER.finditer(template):
        pieces.append(re.escape(template[end : match.start()]))
        if match.group(1) is None:
            pieces.append(re.escape(match.group()[0]))
        else:
            classes.append(match.group(1))
            pieces.append(f"({class_pattern(match.group(1))})")
        end = match.end()
    pieces.append(re.escape(template[end:]))
    return re.compile("".join(pieces), re.ASCII | re.DOTALL), tuple(classes)


def match_template(template: str, text: str) -> list[tuple[str, str]] | None:
    """``(class, token)`` for each placeholder when the text follows the template's literal parts.

    Raises ``ValueError`` when the template names an unknown class.
    """
    pattern, classes = _compile_template(template)
    match = pattern.fullmatch(text)
    return None if match is None else list(zip(classes, match.groups(), strict=True))


def placeholder_spans(template: str, text: str) -> list[tuple[int, int, str]]:
    """``(start, end, class)`` of each placeholder in a text; none if it does not follow."""
    pattern, classes = _compile_template(template)
    match = pattern.fullmatch(text)
    if match is None:
        return []
    return [(*match.span(number), name) for number, name in enumerate(classes, 1)]


def write_template(text: str, placeholders: Iterable[tuple[int, int, str]]) -> str:
    """The text with ``(start, end, class)`` pieces, in order, as placeholders."""
    pieces, end = [], 0
    for start, stop, class_name in placeholders:
        pieces.append(_double_braces(text[end:start]) + f"{{{class_name}}}")
        end = stop
    return "".join([*pieces, _double_braces(text[end:])])


def _double_braces(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
