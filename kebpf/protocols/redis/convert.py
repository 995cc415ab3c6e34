"""Gives a reply recorded in one version of RESP as the other version would have sent it.

The form of a tree tells which version it was recorded in wherever the two differ, so converting
what needs none changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kebpf.protocols.base import Document, ProtocolError
from kebpf.protocols.redis.catalogue import command_name
from kebpf.protocols.redis.connection_facts import ONLY_RESP3
from kebpf.protocols.redis.shapes import Shape, finds_null_array, shape_of
from kebpf.protocols.redis.text import Text, to_bytes, to_printable, to_text

_NULLS = frozenset({"null", "null-bulk", "null-array"})
_SCALARS = frozenset({"simple", "error", "integer", "bulk", *_NULLS})


def convert_reply(
    tree: Document,
    request: Document,
    version: int,
    is_recorded_resp3: bool = False,
) -> Document:
    """The reply to ``request`` in RESP ``version`` (2 or 3).

    Raises `ProtocolError` where the recording does not tell what the other version would send.
    """
    if "queued" in request and "items" in tree:
        commands = request["queued"]
        items = [
            convert_reply(item, {"command": command}, version, is_recorded_resp3)
            for item, command in zip(tree["items"], commands, strict=False)
        ]
        return {**tree, "items": items}
    if version == 2:
        return _to_resp2(tree, request["command"])
    return _to_resp3(tree, request["command"], is_recorded_resp3)


# RESP3 → RESP2


def _to_resp2(tree: Document, command: Sequence[Text]) -> Document:
    if tree["type"] in _NULLS:
        if tree["type"] != "null":
            return tree
        return {"type": "null-array" if finds_null_array(command) else "null-bulk"}
    shape = shape_of(command)
    if shape in (Shape.PAIRS, Shape.FIELD_PAIRS) and _is_nested(tree):
        tree = _array([part for pair in tree["items"] for part in pair["items"]])
    if command_name(command) == "XPENDING" and tree.get("items", [])[-1:] == [{"type": "null"}]:
        tree = _array([*tree["items"][:-1], {"type": "null-array"}])
    if shape is Shape.MAP and command_name(command) in ("XREAD", "XREADGROUP"):
        tree = _nest_pairs(tree)
    return _flatten(tree, "null-array" if shape is Shape.POSITIONS else "null-bulk")


def _is_nested(tree: Document) -> bool:
    items = tree.get("items", [])
    return bool(items) and all(item["type"] == "array" for item in items)


def _nest_pairs(tree: Document) -> Document:
    """XREAD's map of streams is in RESP2 an array of [stream, entries]."""
    if tree["type"] != "map":
        return tree
    items = tree["items"]
    return _array([_array([k, v]) for k, v in zip(items[::2], items[1::2], strict=True)])


def _flatten(tree: Document, null: str) -> Document:
    """Every RESP3 type as the RESP2 type that stands for it."""
    type_ = tree["type"]
    if type_ == "attribute":
        return _flatten(tree["reply"], null)
    if "items" in tree:
        return _array([_flatten(item, null) for item in tree["items"]])
    if type_ == "null":
        return {"type": null}
    if type_ == "boolean":
        return {"type": "integer", "value": int(tree["value"])}
    if type_ == "bulk-error":
        text = to_printable(tree["value"]).replace("\r", " ").replace("\n", " ")
        return {"type": "error", "value": text}
    if type_ == "streamed-bulk":
        data = b"".join(to_bytes(chunk) for chunk in tree["chunks"])
        return _bulk(to_text(data))
    if type_ in ("double", "big-number", "verbatim"):
        return _bulk(tree["value"])
    return tree


# RESP2 → RESP3


def _to_resp3(tree: Document, command: Sequence[Text], is_recorded_resp3: bool) -> Document:
    shape = shape_of(command)
    if is_recorded_resp3 or tree["type"] in ONLY_RESP3 or shape is Shape.SAME:
        return _replace_nulls(tree)
    if tree["type"] in _NULLS or tree["type"] == "error":
        return _replace_nulls(tree)
    if shape is Shape.UNKNOWN:
        if tree["type"] in _SCALARS:
            return _replace_nulls(tree)
        name = command_name(command)
        raise ProtocolError(f"{name} was recorded in RESP2, its RESP3 reply is not known")
    return _replace_nulls(_RAISE[shape](tree))


def _replace_nulls(tree: Document) -> Document:
    if tree["type"] in _NULLS:
        return {"type": "null"}
    if "items" not in tree:
        return tree
    converted = {**tree, "items": [_replace_nulls(item) for item in tree["items"]]}
    if "reply" in tree:
        converted["reply"] = _replace_nulls(tree["reply"])
    return converted


def _array(items: list[Document]) -> Document:
    return {"type": "array", "items": items}


def _bulk(value: Any) -> Document:
    return {"type": "bulk", "value": value}


def _double(tree: Document) -> Document:
    return {"type": "double", "value": tree["value"]} if tree["type"] == "bulk" else tree


def _map(tree: Document) -> Document:
    """A flat array of keys and values, or (XREAD) an array of pairs, as a map."""
    items = tree["items"]
    if _is_nested(tree) and all(len(item["items"]) == 2 for item in items):
        items = [part for item in items for part in item["items"]]
    return {"type": "map", "items": items} if len(items) % 2 == 0 else tree


def _pairs(tree: Document, last: Callable[[Document], Document]) -> Document:
    items = tree["items"]
    if _is_nested(tree) or len(items) % 2:
        return tree
    pairs = zip(items[::2], items[1::2], strict=True)
    return _array([_array([first, last(second)]) for first, second in pairs])


def _each(tree: Document, function: Callable[[Document], Document]) -> Document:
    return _array(
        [function(item) if item["type"] not in _NULLS else item for item in tree["items"]]
    )


def _last_double(tree: Document) -> Document:
    items = tree["items"]
    return _array([*items[:-1], _double(items[-1])]) if items else tree


def _popped(tree: Document) -> Document:
    key, members = tree["items"]
    return _array([key, _each(members, _last_double)])


_RAISE: dict[Shape, Callable[[Document], Document]] = {
    Shape.MAP: _map,
    Shape.MAP_OF_MAPS: lambda tree: _each(tree, _map),
    Shape.SET: lambda tree: {**tree, "type": "set"},
    Shape.DOUBLE: _double,
    Shape.DOUBLES: lambda tree: _each(tree, _double),
    Shape.PAIRS: lambda tree: _pairs(tree, _double),
    Shape.FIELD_PAIRS: lambda tree: _pairs(tree, lambda value: value),
    Shape.FLAT_SCORE: _last_double,
    Shape.KEYED_SCORE: _last_double,
    Shape.RANK_SCORE: _last_double,
    Shape.POPPED: _popped,
    Shape.POSITIONS: lambda tree: _each(tree, lambda position: _each(position, _double)),
    Shape.VERBATIM: lambda tree: {"type": "verbatim", "format": "txt", "value": tree["value"]},
}
