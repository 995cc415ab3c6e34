"""The places of secrets in calls to PostgreSQL and Redis: columns, parameters, keys, fields."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from kebpf.protocols.base import Document
from kebpf.recording.redaction.assignments import Assignments, looks_drawn
from kebpf.recording.redaction.columns import find_places, split_literal
from kebpf.recording.redaction.headers import Finder
from kebpf.recording.redaction.names import Names, split_words
from kebpf.recording.redaction.spans import HEX, RAW, Span, decode
from kebpf.recording.redaction.walking import Editor, Walker

# The first argument of these names what the one of that index is.
_VALUE_AT = {
    "SET": 2, "SETNX": 2, "GETSET": 2, "SETEX": 3, "PSETEX": 3, "APPEND": 2,
    "LPUSH": 2, "RPUSH": 2, "SADD": 2,
}  # fmt: skip
_FIELDS_FROM = {"HSET": 2, "HMSET": 2, "HSETNX": 2, "MSET": 1, "MSETNX": 1}
_READS_KEY = frozenset(("GET", "GETEX", "GETDEL", "GETSET"))
_READS_FIELDS = {"HGET": 2, "HMGET": 2, "MGET": 1}
_READS_PAIRS = frozenset(("HGETALL", "CONFIG", "HELLO", "XRANGE", "XREAD"))
_BYTEA = re.compile(r"(?P<mark>\\{1,2}x)(?P<data>(?:[0-9a-f]{2})+)")  # escaped in E''
_SECRET_KEYS = frozenset((
    "session", "sessions", "sess", "sid", "token", "tokens", "auth", "jwt", "refresh", "access",
    "otp", "csrf", "xsrf", "apikey", "reset", "verify", "verification", "invite", "nonce",
    "remember", "login",
))  # fmt: skip


class Calls:
    """Walks through the documents of calls, each place with what finds the secrets in it."""

    def __init__(self, names: Names, assignments: Assignments, walker: Walker) -> None:
        self._names = names
        self._assignments = assignments
        self._walker = walker

    # PostgreSQL

    def walk_query(self, request: Document, editor: Editor) -> Document:
        """A request; its SQL's literals and its parameters by the columns they belong to."""
        sql = request.get("sql")
        if not isinstance(sql, str):
            return self._walk_rest(request, editor)
        columns: dict[int, list[str]] = {}
        literals = []
        if self._names.may_hold(sql.lower()):
            for place in find_places(sql):
                if place.parameter < 0:
                    literals.append(place)
                else:
                    columns.setdefault(place.parameter, []).append(place.column)
        finder = (lambda text: self._find_literals(text, literals)) if literals else None
        changed: Document = {}
        if (written := editor.edit(sql, finder)) is not sql:
            changed["sql"] = written
        parameters = request.get("parameters")
        if parameters:
            values = [
                self._walk_value(value, columns.get(index, ()), editor)
                for index, value in enumerate(parameters)
            ]
            if not _are_same(values, parameters):
                changed["parameters"] = values
        changed.update(self._walk_others(request, ("sql", "parameters"), editor))
        return {**request, **changed} if changed else request

    def _find_literals(self, text: str, places: Sequence[Any]) -> Iterator[Span]:
        for place in places:
            start, end = split_literal(text[place.start : place.end])
            value = text[place.start + start : place.start + end].replace("''", "'")
            kind = self._assignments.judge(place.column, value)
            if kind is not None and value:
                span = _read_bytea(value, kind) or Span(0, end - start, value, kind)
                yield _move(span, place.start + start)

    def walk_rows(self, response: Document, editor: Editor) -> Document:
        """A response; its values by the names of their columns."""
        results = response.get("results")
        changed: Document = {}
        if results:
            written = [self._walk_result(result, editor) for result in results]
            if not _are_same(written, results):
                changed["results"] = written
        changed.update(self._walk_others(response, ("results",), editor))
        return {**response, **changed} if changed else response

    def _walk_result(self, result: Document, editor: Editor) -> Document:
        columns, rows = result.get("columns"), result.get("rows")
        changed: Document = {}
        if columns and rows:
            names = tuple(column.get("name", "") for column in columns)
            written = self._walk_table(names, rows, editor)
            if written is not rows:
                changed["rows"] = written
        if result.get("copy"):
            changed.update(self._walk_others(result, ("columns", "rows"), editor))
        return {**result, **changed} if changed else result

    def _walk_table(self, names: tuple[str, ...], rows: Any, editor: Editor) -> Any:
        telling = {index for index, name in enumerate(names) if self._assignments.is_telling(name)}
        if not telling:
            return self._walker.walk_tree(rows, editor)
        written = [
            [
                self._walk_value(value, (names[index],) if index in telling else (), editor)
                for index, value in enumerate(row)
            ]
            for row in rows
        ]
        return rows if all(map(_are_same, written, rows)) else written

    # Redis

    def walk_command(self, request: Document, editor: Editor) -> Document:
        """A request: a command, perhaps with those queued before it."""
        changed: Document = {}
        command = request.get("command")
        if command and (written := self._walk_words(command, editor)) is not command:
            changed["command"] = written
        queued = request.get("queued")
        if queued:
            rewritten = [self._walk_words(words, editor) for words in queued]
            if not _are_same(rewritten, queued):
                changed["queued"] = rewritten
        changed.update(self._walk_others(request, ("command", "queued"), editor))
        return {**request, **changed} if changed else request

    def _walk_words(self, words: list[Any], editor: Editor) -> list[Any]:
        if len(words) < 2:
            return words
        name = _text(words[0]).upper()
        labels: dict[int, str] = {}
        at = _VALUE_AT.get(name)
        if at is not None:
            labels = dict.fromkeys(range(at, len(words)), _last_part(_text(words[1])))
        elif name in _FIELDS_FROM:
            first = _FIELDS_FROM[name]
            labels = {
                index + 1: _last_part(_text(words[index])) for index in range(first, len(words), 2)
            }
        written = [
            self._walk_word(word, labels.get(index, ""), editor) for index, word in enumerate(words)
        ]
        return words if _are_same(written, words) else written

    def _walk_word(self, word: Any, label: str, editor: Editor) -> Any:
        if label:
            return self._walk_value(word, (label,), editor)
        text = _text(word)
        if ":" in text and len(text) > 16 and (parts := split_key(text)):
            return _edit(word, editor, lambda _: parts)
        return self._walk_value(word, (), editor)

    def walk_reply(self, request: Document, response: Document, editor: Editor) -> Document:
        """A response, whose values are named by the keys and fields that were asked for."""
        reply = response.get("reply")
        words = request.get("command") or []
        if reply is None or len(words) < 2:
            return self._walk_rest(response, editor)
        labels = self._label_reply(words, reply)
        if not labels:
            return self._walk_rest(response, editor)
        items = reply.get("items")
        if items is None:
            written = self._walk_item(reply, labels.get(0, ""), editor)
        else:
            edited = [
                self._walk_item(item, labels.get(index, ""), editor)
                for index, item in enumerate(items)
            ]
            written = reply if _are_same(edited, items) else {**reply, "items": edited}
        return response if written is reply else {**response, "reply": written}

    def _label_reply(self, words: list[Any], reply: Document) -> dict[int, str]:
        name = _text(words[0]).upper()
        if name in _READS_KEY:
            labels = {0: _last_part(_text(words[1]))}
        elif name in _READS_FIELDS:
            asked = words[_READS_FIELDS[name] :]
            labels = {index: _last_part(_text(word)) for index, word in enumerate(asked)}
        elif name in _READS_PAIRS:
            items = reply.get("items") or []
            labels = {
                index + 1: _text(items[index].get("value")) for index in range(0, len(items) - 1, 2)
            }
        else:
            labels = {}
        return {
            index: label for index, label in labels.items() if self._assignments.is_telling(label)
        }

    def _walk_item(self, item: Any, label: str, editor: Editor) -> Any:
        value = item.get("value") if isinstance(item, dict) else None
        if not isinstance(value, str | bytes):
            return self._walker.walk_tree(item, editor)
        written = self._walk_value(value, (label,) if label else (), editor)
        return item if written is value else {**item, "value": written}

    # both

    def _walk_value(self, value: Any, labels: Iterable[str], editor: Editor) -> Any:
        """One value, under any of these names."""
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str | bytes) and (spans := self._judge_value(_text(value), labels)):
            return _edit(value, editor, lambda _: spans)
        return self._walker.walk_tree(value, editor)

    def _judge_value(self, text: str, labels: Iterable[str]) -> list[Span]:
        for label in labels:
            if text.startswith("{") and text.endswith("}") and '"' not in text:
                return list(self._judge_array(text, label))
            kind = self._assignments.judge(label, text)
            if kind is not None and text:
                return [_read_bytea(text, kind) or Span(0, len(text), text, kind)]
        return []

    def _judge_array(self, text: str, label: str) -> Iterator[Span]:
        start = 1
        for item in text[1:-1].split(","):
            kind = self._assignments.judge(label, item)
            if kind is not None and item:
                yield Span(start, start + len(item), item, kind)
            start += len(item) + 1

    def _walk_rest(self, document: Document, editor: Editor) -> Document:
        changed = self._walk_others(document, (), editor)
        return {**document, **changed} if changed else document

    def _walk_others(self, document: Document, seen: tuple[str, ...], editor: Editor) -> Document:
        changed = {}
        for key, value in document.items():
            if key in seen or not isinstance(value, str | bytes | list | dict) or not value:
                continue
            written = self._walker.walk_tree(value, editor)
            if written is not value:
                changed[key] = written
        return changed


def _read_bytea(text: str, kind: str) -> Span | None:
    """Bytes as PostgreSQL writes them: in hexadecimal behind a mark; perhaps those of a text."""
    found = _BYTEA.fullmatch(text)
    if found is None:
        return None
    data = bytes.fromhex(found["data"])
    if data.isascii() and data.decode().isprintable():
        return Span(*found.span("data"), data.decode(), kind, HEX)
    return Span(*found.span("data"), found["data"], kind)


def _move(span: Span, by: int) -> Span:
    return span._replace(start=span.start + by, end=span.end + by)


def _edit(value: Any, editor: Editor, find: Finder) -> Any:
    if isinstance(value, str):
        return editor.edit(value, find)
    text = _text(value)
    written = editor.edit(text, find)
    return value if written is text else written.encode("latin-1", "replace")


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


@lru_cache(maxsize=4096)
def split_key(key: str) -> tuple[Span, ...]:
    """The part of a Redis key that is a credential: ``session:TOKEN``."""
    spans, start = [], 0
    previous: list[str] = []
    for part in key.split(":"):
        if not _SECRET_KEYS.isdisjoint(previous) and _is_credential(part):
            spans.append(Span(start, start + len(part), decode(part, RAW), "token"))
        previous = split_words(part)
        start += len(part) + 1
    return tuple(spans)


def _is_credential(part: str) -> bool:
    return len(part) >= 16 and (looks_drawn(part) or _is_unguessable(part))


def _is_unguessable(part: str) -> bool:
    """A UUID, or hexadecimal with digits."""
    digits = part.replace("-", "")
    return len(digits) >= 20 and digits.isalnum() and not digits.isalpha() and not digits.isdigit()


def _last_part(key: str) -> str:
    return key.rpartition(":")[2].rpartition(".")[2] if ":" in key or "." in key else key


def _are_same(items: Sequence[Any], others: Sequence[Any]) -> bool:
    return len(items) == len(others) and all(
        one is other for one, other in zip(items, others, strict=True)
    )
