"""How a program writes its JSON, so that the same bytes can be written again from the tree."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

_SEPARATORS = {
    "compact": (",", ":"),
    "spaced": (", ", ": "),
    "colon-spaced": (",", ": "),
    "colon-padded": (",", " : "),
}
_INDENT = re.compile(r"[\[{]\r?\n([ \t]*)")
_HTML = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}
MAX_DEPTH = 60


@dataclass(frozen=True, slots=True)
class JsonStyle:
    """The writing habits of a JSON encoder.

    ``ascii`` escapes all other characters; ``html`` escapes ``<>&`` (Go), ``slashes`` writes
    ``\\/`` (PHP); ``end`` is the white space after the value.
    """

    separators: str = "compact"
    indent: str | None = None
    ascii: bool = False
    html: bool = False
    slashes: bool = False
    end: str = ""

    def dump(self, tree: Any) -> str:
        """The tree as text in this style."""
        text = json.dumps(
            tree,
            ensure_ascii=self.ascii,
            separators=_SEPARATORS[self.separators],
            indent=self.indent,
        )
        if self.html:
            text = re.sub("[<>&]", lambda found: _HTML[found[0]], text)
        return (text.replace("/", "\\/") if self.slashes else text) + self.end

    def __str__(self) -> str:
        words = [self.separators]
        if self.indent is not None:
            words.append("indent=" + (self.indent.replace("\t", "t").replace(" ", "s") or "0"))
        words += [word for word in ("ascii", "html", "slashes") if getattr(self, word)]
        if self.end:
            words.append("end=" + json.dumps(self.end)[1:-1].replace(" ", "\\u0020"))
        return " ".join(words)

    @classmethod
    def parse(cls, text: str) -> JsonStyle:
        """The reverse of ``str()``.  Raises ``ValueError``."""
        first, *words = text.split(" ")
        if first not in _SEPARATORS:
            raise ValueError(f"unknown JSON style {text!r}")
        values = dict(word.split("=", 1) for word in words if "=" in word)
        indent = values.get("indent")
        if indent is not None:
            indent = indent.replace("0", "").replace("t", "\t").replace("s", " ")
        return cls(
            separators=first,
            indent=indent,
            ascii="ascii" in words,
            html="html" in words,
            slashes="slashes" in words,
            end=json.loads(f'"{values["end"]}"') if "end" in values else "",
        )


def _depth_fits(tree: Any, left: int = MAX_DEPTH) -> bool:
    if not isinstance(tree, dict | list):
        return True
    items = tree.values() if isinstance(tree, dict) else tree
    return left > 0 and all(_depth_fits(item, left - 1) for item in items)


def parse_json_tree(text: str) -> Any:
    """The object or array that ``text`` is, or ``None`` if it is not one people can read."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        tree = json.loads(text)
        canonical_json(tree).encode()  # lone surrogates have no place in a file
    except (ValueError, RecursionError):
        return None
    return tree if _depth_fits(tree) else None


def canonical_json(tree: Any) -> str:
    """Equal for trees that are the same JSON, types and order of keys included."""
    return json.dumps(tree, ensure_ascii=False, separators=(",", ":"))


def guess_style(text: str) -> JsonStyle:
    """The style ``text`` seems to be written in; exact or not is for the caller to try."""
    inner = text.rstrip()
    indent = _INDENT.match(inner)
    colon = re.search(r'"(\s*:\s*)', inner)
    by_colon = {":": "compact", ": ": "spaced", " : ": "colon-padded"}
    separators = by_colon.get(colon[1] if colon else ":", "compact")
    if separators == "spaced" and (indent or ('": ' in inner and ", " not in inner)):
        separators = "colon-spaced"
    if not colon and ", " in inner and not indent:
        separators = "spaced"
    return JsonStyle(
        separators=separators,
        indent=indent[1] if indent else None,
        ascii=inner.isascii() and bool(re.search(r"\\u(?!003[ce]|0026)[0-9a-f]", inner)),
        html=bool(re.search(r"\\u(003[ce]|0026)", inner)),
        slashes="\\/" in inner,
        end=text[len(inner) :],
    )
