"""Goes through the documents of exchanges with an editor, which is told what each text is.

A document is given back itself where nothing was changed, else a copy of what was.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import brotli
import zstandard

from kebpf.protocols.base import Document, ProtocolError
from kebpf.protocols.http1.coding import decode_codings
from kebpf.protocols.http1.grammar import get_tokens, get_value
from kebpf.recording.redaction.assignments import Assignments
from kebpf.recording.redaction.headers import Finder, Headers
from kebpf.recording.redaction.names import Names

# What is no text holds everything by chance; of characters in a row so many are none.
_WORDS = re.compile(r"[\t\n\r -~]{8,}")
_LEAST_TEXT = 16
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")


class Editor(Protocol):
    """Takes a text, with what finds secrets by their place in it, and gives what it becomes."""

    def edit(self, text: str, find: Finder | None = None, only_known: bool = False) -> str:
        """The text itself if nothing is to be changed.

        ``only_known``: its form says nothing.
        """

    @property
    def needs_all(self) -> bool:
        """Whether texts without a finder are to be edited too."""

    def passes(self, texts: Iterable[str]) -> bool:
        """Whether `edit` would change none of these texts without a finder."""


_ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "identity": bytes,
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "x-gzip": lambda data: gzip.compress(data, mtime=0),
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": lambda data: zstandard.ZstdCompressor().compress(data),
}


class Walker:
    """Knows the places of HTTP messages and of plain trees."""

    def __init__(self, names: Names, assignments: Assignments) -> None:
        self._names = names
        self.assignments = assignments
        self._headers = Headers(assignments)

    # HTTP

    def walk_http(self, message: Document, editor: Editor) -> Document:
        """A request or a response."""
        changed: Document = {}
        target = message.get("target")
        if target:
            find = self._find_pairs if "=" in target else None
            _note(changed, "target", target, editor.edit(target, find))
        for part in ("headers", "trailers"):
            if fields := message.get(part):
                _note(changed, part, fields, self._walk_fields(fields, editor))
        if body := message.get("body"):
            self._note_body(changed, message, body, editor)
        interim = message.get("interim")
        if interim and any(one.get("headers") for one in interim):
            changed["interim"] = [self._walk_interim(one, editor) for one in interim]
        return {**message, **changed} if changed else message

    def _note_body(self, changed: Document, message: Document, body: bytes, editor: Editor) -> None:
        written = self._walk_body(message, body, editor)
        if written is not body:
            headers = changed.get("headers") or message["headers"]
            changed["headers"] = _correct_length(headers, len(body), len(written))
            changed["body"] = written

    def _find_pairs(self, text: str) -> Iterable[Any]:
        return self.assignments.find_pairs(text)

    def _walk_interim(self, part: Document, editor: Editor) -> Document:
        return {**part, "headers": self._walk_fields(part["headers"], editor)}

    def _walk_fields(self, fields: list[list[str]], editor: Editor) -> list[list[str]]:
        finder_of, edit, needs_all = self._headers.finder_of, editor.edit, editor.needs_all
        changed: dict[int, str] = {}
        for index, (name, value) in enumerate(fields):
            find = finder_of(name)
            if find is not None or needs_all:
                written = edit(value, find)
                if written is not value:
                    changed[index] = written
        if not changed:
            return fields
        return [[name, changed.get(index, value)] for index, (name, value) in enumerate(fields)]

    def _walk_body(self, message: Document, body: bytes, editor: Editor) -> bytes:
        headers = message["headers"]
        codings = _list_codings(headers)
        try:
            data = decode_codings(bytes(body), codings) if codings else bytes(body)
        except ProtocolError:
            return body
        text, charset = _decode(data)
        find = self._choose_finder(headers, text)
        if find is None and not editor.needs_all:
            return body
        is_form = _media_type(headers).startswith("multipart/")  # texts beside files
        if charset == "utf-8" or is_form or not _CONTROL.search(text):
            written = editor.edit(text, find)
        else:
            written = edit_binary(text, editor, find)
        if written is text:
            return body
        for coding in codings:
            data = _ENCODERS[coding](written.encode(charset) if coding is codings[0] else data)
        return data if codings else written.encode(charset)

    def _choose_finder(self, headers: Sequence[Sequence[str]], text: str) -> Finder | None:
        if not self._names.may_hold(text.lower()):
            return None
        if _media_type(headers) == "application/x-www-form-urlencoded":
            return self.assignments.find_pairs
        return self.assignments.find

    # trees

    def walk_tree(self, tree: Any, editor: Editor, with_places: bool = True) -> Any:
        """Any values; ``with_places``: JSON and the like within texts is looked into."""
        texts: list[str] = []
        _list_texts(tree, texts)
        may_tell = with_places and self._names.may_hold("\n".join(texts).lower())
        if not may_tell and editor.passes(texts):
            return tree
        return self._edit_tree(tree, editor, may_tell)

    def _edit_tree(self, tree: Any, editor: Editor, may_tell: bool) -> Any:
        if isinstance(tree, str):
            return editor.edit(tree, self.find_in_text(tree) if may_tell else None)
        if isinstance(tree, bytes):
            return self.edit_bytes(tree, editor, may_tell)
        if isinstance(tree, list | tuple):
            items = [self._edit_tree(value, editor, may_tell) for value in tree]
            return tree if _are_same(items, tree) else items
        if isinstance(tree, dict):
            values = [self._edit_tree(value, editor, may_tell) for value in tree.values()]
            keys = [self._edit_tree(key, editor, False) for key in tree]
            is_same = _are_same(values, tree.values()) and _are_same(keys, tree)
            return tree if is_same else dict(zip(keys, values, strict=True))
        return tree

    def find_in_text(self, text: str) -> Finder | None:
        """What finds assignments in a text that may have some."""
        has_signs = len(text) > 6 and (":" in text or "=" in text or "</" in text)
        return self.assignments.find if has_signs else None

    def edit_bytes(self, data: bytes, editor: Editor, may_tell: bool) -> bytes:
        """What is not UTF-8 as if each byte were a character, if its length stays."""
        text, charset = _decode(data)
        find = self.find_in_text(text) if may_tell else None
        if charset == "utf-8" or not _CONTROL.search(text):
            written = editor.edit(text, find)
        else:
            written = edit_binary(text, editor, find)
        return data if written is text else written.encode(charset, "replace")


def edit_binary(text: str, editor: Editor, find: Finder | None) -> str:
    """What is no text, a character for each byte: only the texts within it are looked at."""
    pieces, end = [], 0
    for found in _WORDS.finditer(text):
        words = found.group()
        is_text = len(words) >= _LEAST_TEXT
        written = editor.edit(words, find if is_text else None, only_known=not is_text)
        if written is not words:
            pieces += [text[end : found.start()], written]
            end = found.end()
    return "".join([*pieces, text[end:]]) if pieces else text


def _media_type(headers: Sequence[Sequence[str]]) -> str:
    return get_value(headers, "content-type").partition(";")[0].strip().lower()


def _note(changed: Document, key: str, before: Any, after: Any) -> None:
    if after is not before:
        changed[key] = after


def _list_codings(headers: Sequence[Sequence[str]]) -> list[str]:
    """Content codings, then transfer codings other than chunked, in the order applied."""
    if not any(name.lower().endswith("-encoding") for name, _ in headers):
        return []
    transfer = [one for one in get_tokens(headers, "transfer-encoding") if one != "chunked"]
    return get_tokens(headers, "content-encoding") + transfer


def _decode(data: bytes) -> tuple[str, str]:
    try:
        return data.decode(), "utf-8"
    except UnicodeDecodeError:
        return data.decode("latin-1"), "latin-1"


def _are_same(items: Iterable[Any], others: Iterable[Any]) -> bool:
    return all(one is other for one, other in zip(items, others, strict=True))


def _list_texts(tree: Any, texts: list[str]) -> None:
    if isinstance(tree, str):
        texts.append(tree)
    elif isinstance(tree, bytes):
        texts.append(tree.decode("latin-1"))
    elif isinstance(tree, list | tuple):
        for value in tree:
            if type(value) is str:
                texts.append(value)
            elif value is not None:
                _list_texts(value, texts)
    elif isinstance(tree, dict):
        for key, value in tree.items():
            _list_texts(key, texts)
            _list_texts(value, texts)


def _correct_length(headers: list[list[str]], before: int, after: int) -> list[list[str]]:
    """A Content-Length that was right is right again."""
    return [
        [name, str(after)]
        if name.lower() == "content-length" and value.strip() == str(before)
        else [name, value]
        for name, value in headers
    ]
