"""Values as people and JSON read them: bytes as text, control characters escaped, long ones cut."""

from __future__ import annotations

import base64
import json
import math
import re
from typing import Any

ELLIPSIS = "…"
_COLOUR_CODE = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


def to_json(value: Any) -> Any:
    """The value as a tree JSON can hold: bytes as text when UTF-8, else ``{"base64": …}``."""
    if isinstance(value, bytes | bytearray):
        return _bytes_to_json(bytes(value))
    if isinstance(value, dict):
        return {_to_key(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, str | int | float):
        return value
    return str(value)


def _bytes_to_json(value: bytes) -> Any:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode("ascii")}


def _to_key(key: Any) -> str:
    return key if isinstance(key, str) else str(to_json(key))


def escape_controls(text: str) -> str:
    """Makes characters visible that a terminal would obey or nobody would see; keeps newlines."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else _escape(c) for c in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def strip_colours(text: str) -> str:
    """A line of a program's output without its colour codes and with the rest made visible."""
    return escape_controls(_COLOUR_CODE.sub("", text).rstrip("\r\n"))


def show_value(value: Any) -> str:
    """The value on one line: JSON, except bytes that are no text, which are shown in hex."""
    if isinstance(value, bytes | bytearray):
        value = bytes(value)
        return _show_bytes(value) if not _is_text(value) else show_value(value.decode())
    text = json.dumps(to_json(value), ensure_ascii=False, default=str)
    return escape_controls(text)


def _is_text(value: bytes) -> bool:
    return isinstance(_bytes_to_json(value), str)


def _show_bytes(value: bytes) -> str:
    return f"{len(value):,} bytes {value.hex(' ')}"


def pretty(value: Any) -> str:
    """The value on as many lines as it needs: text as it is, all else as indented JSON."""
    plain = to_json(value)
    if isinstance(plain, str):
        return escape_controls(plain)
    return escape_controls(json.dumps(plain, ensure_ascii=False, indent=2))


def cut(text: str, width: int) -> str:
    """At most ``width`` characters of ``text``; what is cut off shows as an ellipsis."""
    return text if len(text) <= width else text[: max(width - 1, 0)] + ELLIPSIS


def cut_pair(left: str, right: str, width: int) -> tuple[str, str]:
    """Cuts two texts to ``width`` alike, so that the first difference is seen in both."""
    if len(left) <= width and len(right) <= width:
        return left, right
    start = max(0, _first_difference(left, right) - width // 3)
    return _window(left, start, width), _window(right, start, width)


def _first_difference(left: str, right: str) -> int:
    pairs = zip(left, right, strict=False)
    shorter = min(len(left), len(right))
    return next((at for at, (one, other) in enumerate(pairs) if one != other), shorter)


def _window(text: str, start: int, width: int) -> str:
    head = ELLIPSIS if start else ""
    return cut(head + text[start:], width)
