"""Replies against hiredis, the specification's literals, any cutting, and garbage."""

from __future__ import annotations

import math
from typing import Any

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebpf.protocols.base import Document, ProtocolError
from kebpf.protocols.redis import stream
from kebpf.protocols.redis.replies import ReplyParser
from kebpf.protocols.redis.text import to_bytes
from kebpf.protocols.redis.writer import write_reply
from tests.protocols.redis.builders import (
    MARK,
    all_replies,
    hiredis_replies,
    parse_all,
    resp2_replies,
)

SPECIFICATION: list[tuple[bytes, Document]] = [
    (b"+OK\r\n", {"type": "simple", "value": "OK"}),
    (b"-ERR no\r\n", {"type": "error", "value": "ERR no"}),
    (b":-3\r\n", {"type": "integer", "value": -3}),
    (b":+3\r\n", {"type": "integer", "value": "+3"}),
    (b"$0\r\n\r\n", {"type": "bulk", "value": ""}),
    (b"$2\r\n\xff\n\r\n", {"type": "bulk", "value": b"\xff\n"}),
    (b"$-1\r\n", {"type": "null-bulk"}),
    (b"*-1\r\n", {"type": "null-array"}),
    (b"_\r\n", {"type": "null"}),
    (b",1.23\r\n", {"type": "double", "value": "1.23"}),
    (b",-inf\r\n", {"type": "double", "value": "-inf"}),
    (b"#f\r\n", {"type": "boolean", "value": False}),
    (b"!5\r\nERR a\r\n", {"type": "bulk-error", "value": "ERR a"}),
    (b"=7\r\ntxt:abc\r\n", {"type": "verbatim", "format": "txt", "value": "abc"}),
    (
        b"(3492890328409238509324850943850943825024385\r\n",
        {"type": "big-number", "value": "3492890328409238509324850943850943825024385"},
    ),
    (
        b"$?\r\n;4\r\nHell\r\n;1\r\no\r\n;0\r\n",
        {"type": "streamed-bulk", "chunks": ["Hell", "o"]},
    ),
    (
        b"*?\r\n:1\r\n:2\r\n.\r\n",
        {
            "type": "array",
            "items": [{"type": "integer", "value": 1}, {"type": "integer", "value": 2}],
            "streamed": True,
        },
    ),
    (
        b"|1\r\n+ttl\r\n:3600\r\n*1\r\n:1\r\n",
        {
            "type": "attribute",
            "items": [{"type": "simple", "value": "ttl"}, {"type": "integer", "value": 3600}],
            "reply": {"type": "array", "items": [{"type": "integer", "value": 1}]},
        },
    ),
]


@pytest.mark.parametrize(("wire", "tree"), SPECIFICATION)
def test_literals(wire: bytes, tree: Document) -> None:
    assert parse_all(ReplyParser(), wire) == [tree]
    assert write_reply(tree) == wire


def to_hiredis(tree: Document) -> Any:
    """What hiredis makes of a tree, as its documentation says."""
    type_ = tree["type"]
    if type_ in ("error", "bulk-error"):
        return ("error", to_bytes(tree["value"]))
    if type_ == "map":
        items = [to_hiredis(item) for item in tree["items"]]
        return ("map", list(zip(items[::2], items[1::2], strict=True)))
    if "items" in tree:
        return ("list", [to_hiredis(item) for item in tree["items"]])
    value: Any = tree.get("value")
    if type_ == "double":
        return float(value)
    if type_ in ("null", "null-bulk", "null-array", "boolean", "integer"):
        return value
    return to_bytes(value)


def from_hiredis(value: Any) -> Any:
    if isinstance(value, hiredis.ReplyError):
        return ("error", str(value).encode(errors="surrogateescape"))
    if isinstance(value, list):
        return ("list", [from_hiredis(item) for item in value])
    return value


def _is_comparable(tree: Document) -> bool:
    """hiredis cannot give maps (their keys would have to be hashable) or some numbers."""
    if tree["type"] in ("map", "set", "big-number", "bulk-error", "push"):
        return False
    if tree["type"] == "double" and math.isinf(float(tree["value"])):
        return False
    return all(map(_is_comparable, tree.get("items", [])))


def read_hiredis(wire: bytes) -> Any:
    reader = hiredis.Reader(errors="surrogateescape")
    reader.feed(wire)
    return reader.gets()


@given(st.one_of(resp2_replies, hiredis_replies).filter(_is_comparable))
def test_hiredis_reads_the_same(tree: Document) -> None:
    wire = write_reply(tree)
    assert from_hiredis(read_hiredis(wire)) == to_hiredis(tree)
    assert parse_all(ReplyParser(), wire) == [tree]


@given(st.dictionaries(st.binary(max_size=9), st.integers(-9, 9), max_size=5))
def test_hiredis_reads_the_same_map(values: dict[bytes, int]) -> None:
    parts = [b"$%d\r\n%b\r\n:%d\r\n" % (len(k), k, v) for k, v in values.items()]
    wire = b"%%%d\r\n%b" % (len(values), b"".join(parts))
    assert read_hiredis(wire) == values
    (tree,) = parse_all(ReplyParser(), wire)
    keys = [to_bytes(item["value"]) for item in tree["items"][::2]]
    assert dict(zip(keys, [item["value"] for item in tree["items"][1::2]], strict=True)) == values


@given(st.lists(all_replies, max_size=4), st.lists(st.integers(0, 40)))
def test_any_cutting(trees: list[Document], sizes: list[int]) -> None:
    wire = b"".join(map(write_reply, trees))
    parser = ReplyParser()
    assert parse_all(parser, wire, sizes) == trees
    assert parser.is_idle


@given(all_replies)
def test_byte_by_byte(tree: Document) -> None:
    wire = write_reply(tree)
    assert parse_all(ReplyParser(), wire, [1] * len(wire)) == [tree]


@given(st.binary(max_size=200), st.lists(st.integers(0, 40)))
def test_garbage_gives_messages_or_an_error(data: bytes, sizes: list[int]) -> None:
    try:
        trees = parse_all(ReplyParser(), data, sizes)
    except ProtocolError:
        return
    assert data.startswith(b"".join(map(write_reply, trees)))


@given(all_replies, st.integers(0, 10_000), st.integers(0, 255))
def test_mutation_is_written_as_it_was_read(tree: Document, position: int, byte: int) -> None:
    wire = bytearray(write_reply(tree))
    wire[position % len(wire)] = byte
    test_garbage_gives_messages_or_an_error.hypothesis.inner_test(bytes(wire), [])  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "wire",
    [
        b"x\r\n", b"$01\r\na\r\n", b"$+1\r\n", b"$-2\r\n", b"*-2\r\n", b"$1\r\nabc", b":1x\r\n",
        b",1,5\r\n", b"#x\r\n", b"_x\r\n", b".\r\n", b"*1\r\n.\r\n", b"%?\r\n:1\r\n.\r\n",
        b">?\r\n", b"+a\rb\r\n", b"=3\r\ntxt\r\n", b"$?\r\n:1\r\n", b"(1.5\r\n", b"\r\n",
    ],
)  # fmt: skip
def test_malformed(wire: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_all(ReplyParser(), wire)


@pytest.mark.parametrize(
    "wire",
    [
        b"*%d\r\n" % (stream.MAX_ITEMS + 1),
        b"$%d\r\n" % (stream.MAX_MESSAGE_SIZE + 1),
        b"*1\r\n" * (stream.MAX_DEPTH + 1),
        b"+" + b"a" * (stream.MAX_LINE_SIZE + 3),
    ],
)
def test_caps(wire: bytes) -> None:
    with pytest.raises(ProtocolError, match="cap"):
        parse_all(ReplyParser(), wire)


def test_gap_inside_a_payload_keeps_the_framing() -> None:
    parser = ReplyParser()
    parser.feed(b"*2\r\n$10\r\nabc", MARK)
    assert parser.next_message() is None
    assert not parser.skip(8, MARK)
    assert parser.skip(7, MARK)
    parser.feed(b"\r\n:1\r\n:2\r\n", MARK)
    first, second = parser.next_message(), parser.next_message()
    assert first and first.is_damaged
    assert second and second.document["value"] == 2 and not second.is_damaged
