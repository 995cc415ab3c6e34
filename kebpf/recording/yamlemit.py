"""Writes what most cases are made of as YAML, several times as fast as `yamltext.dump_yaml`.

It writes only what is sure to read back, to the same characters as that: one-line text without
control characters, blocks of such lines, numbers, pairs, lists and maps with short keys.  For
all else it gives nothing, and the case is written by PyYAML and read again to be sure.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from kebpf.recording.yamltext import (
    BODY_TAG,
    BodyForm,
    is_pair,
    looks_like_other,
    pick_style,
)

LONGEST_LINE = 100_000  # characters, far from where YAML would be folded
LONGEST_KEY = 128  # bytes: libyaml writes longer ones in another form
_CACHED_SIZE = 64  # characters of a text worth remembering

# What libyaml calls printable, up to the basic plane's end; a tab is not.
_PRINTABLE = "\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd"
_LINE = re.compile(f"[{_PRINTABLE}]*")
_BLOCK = re.compile(f"[\n{_PRINTABLE}]*")
# What cannot stand unquoted (yaml_emitter_analyze_scalar): at the beginning, and anywhere.
_INDICATOR = re.compile(r"[ #,\[\]{}&*!|>'\"%@`]|[?:-](?: |\Z)|---|\.\.\.")
_INDICATED = re.compile(r":(?: |\Z)| (?:#|\Z)")
_FLOW_INDICATOR = re.compile(r"[ #,\[\]{}&*!|>'\"%@`?:]|-(?: |\Z)|---|\.\.\.")
_FLOW_INDICATED = re.compile(r"[,?:\[\]{}]| (?:#|\Z)")


class _UncommonError(Exception):
    """It holds something this module does not write."""


def emit_yaml(tree: dict[str, Any]) -> str | None:
    """The tree as ``dump_yaml`` writes it, or ``None`` if it holds something uncommon."""
    lines: list[str] = []
    try:
        _emit_map(lines, tree, "", "")
    except (_UncommonError, RecursionError, ValueError):
        return None
    lines.append("")
    return "\n".join(lines)


def _emit_map(lines: list[str], tree: dict[str, Any], indent: str, lead: str) -> None:
    """One that is not empty; its first line begins with ``lead``, the others with ``indent``."""
    for key, value in tree.items():
        start = f"{lead}{_write_key(key)}:"
        lead = indent
        kind = type(value)
        if kind is str and len(value) <= _CACHED_SIZE and (line := _write_short(value)):
            lines.append(f"{start} {line}")
        elif kind is dict and value:
            lines.append(start)
            _emit_map(lines, value, indent + "  ", indent + "  ")
        elif kind is list and value and not is_pair(value):
            lines.append(start)
            _emit_list(lines, value, indent, indent)
        elif kind is BodyForm and value:
            lines.append(f"{start} {BODY_TAG}")
            _emit_map(lines, value, indent + "  ", indent + "  ")
        elif kind is str and "\n" in value:
            _emit_block(lines, value, indent + "  ", start)
        else:
            lines.append(f"{start} {_write_leaf(value)}")


def _emit_list(lines: list[str], items: list[Any], indent: str, lead: str) -> None:
    """One that is not empty and no pair; as `_emit_map`."""
    if _is_byte_pair(items[0]):
        raise _UncommonError  # it may be all such pairs, which are written in another form
    deeper = indent + "  "
    for item in items:
        start = f"{lead}- "
        lead = indent
        kind = type(item)
        if kind is dict and item:
            _emit_map(lines, item, deeper, start)
        elif kind is list and item and not is_pair(item):
            _emit_list(lines, item, deeper, start)
        else:
            lines.append(f"{start}{_write_leaf(item)}")


def _is_byte_pair(item: Any) -> bool:
    return type(item) is list and len(item) == 2 and type(item[0]) is bytes


def _emit_block(lines: list[str], text: str, indent: str, start: str) -> None:
    if pick_style(text) != "|" or not _BLOCK.fullmatch(text):
        raise _UncommonError
    lines.append(f"{start} {'|' if text.endswith(chr(10)) else '|-'}")
    for line in text.removesuffix("\n").split("\n"):
        lines.append(indent + line if line else "")


def _write_leaf(value: Any) -> str:
    """What takes one line: a scalar, a pair, or something empty."""
    write = _LEAVES.get(type(value))
    if write is None:
        raise _UncommonError
    return write(value)


def _write_list(items: list[Any]) -> str:
    return "[" + ", ".join([_write_in_flow(item) for item in items]) + "]"


def _write_map(tree: dict[str, Any]) -> str:
    if tree:
        raise _UncommonError
    return "{}"


def _write_float(value: float) -> str:
    if not math.isfinite(value):
        raise _UncommonError
    text = repr(value)
    return text if "." in text else text.replace("e", ".0e")


def _write_text(text: str) -> str:
    if len(text) > LONGEST_LINE or not _LINE.fullmatch(text):
        raise _UncommonError
    is_plain = not (_INDICATOR.match(text) or _INDICATED.search(text))
    return _quote(text, is_plain)


@lru_cache(maxsize=4096)
def _write_short(text: str) -> str:
    """Empty for a block."""
    return "" if "\n" in text else _write_text(text)


def _write_in_flow(item: Any) -> str:
    if type(item) is not str:
        raise _UncommonError
    return _write_short_in_flow(item) if len(item) <= _CACHED_SIZE else _write_flow_text(item)


def _write_flow_text(text: str) -> str:
    if not _LINE.fullmatch(text):
        raise _UncommonError
    is_plain = not (_FLOW_INDICATOR.match(text) or _FLOW_INDICATED.search(text))
    return _quote(text, is_plain)


_write_short_in_flow = lru_cache(maxsize=4096)(_write_flow_text)


def _quote(text: str, is_plain: bool) -> str:
    if is_plain and not looks_like_other(text):
        return text
    return "'" + text.replace("'", "''") + "'"


@lru_cache(maxsize=4096)
def _write_key(key: Any) -> str:
    if type(key) is not str or len(key.encode()) > LONGEST_KEY:
        raise _UncommonError
    return _write_text(key)


_LEAVES: dict[type, Callable[[Any], str]] = {
    str: _write_text,
    int: str,
    bool: {True: "true", False: "false"}.__getitem__,
    type(None): lambda _: "null",
    float: _write_float,
    list: _write_list,
    dict: _write_map,
}
