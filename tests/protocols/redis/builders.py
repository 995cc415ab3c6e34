"""Generated commands and replies, and helpers to feed them to a pairer."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from kebpf.protocols.base import Document, Exchange, Mark, Sender
from kebpf.protocols.redis.pairing import RedisPairer
from kebpf.protocols.redis.parser import Parser
from kebpf.protocols.redis.text import to_text
from kebpf.protocols.redis.writer import write_command

MARK = Mark(1, 2, 0)

payloads = st.one_of(st.binary(max_size=30), st.text(max_size=10).map(str.encode))
texts = payloads.map(to_text)
commands = st.lists(texts, min_size=1, max_size=5)
lines = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=10)
numbers = st.integers(-(2**63), 2**63 - 1)
doubles = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr), st.sampled_from(["inf", "-inf"])
)


def _scalar(type_: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[Document]:
    return values.map(lambda value: {"type": type_, "value": value})


resp2_scalars = st.one_of(
    _scalar("simple", lines),
    _scalar("error", lines),
    _scalar("integer", numbers),
    _scalar("bulk", texts),
    st.sampled_from([{"type": "null-bulk"}, {"type": "null-array"}]),
)
resp3_scalars = st.one_of(
    resp2_scalars,
    _scalar("double", doubles),
    _scalar("big-number", st.integers().map(str)),
    _scalar("boolean", st.booleans()),
    _scalar("bulk-error", texts),
    st.builds(lambda t: {"type": "verbatim", "format": "txt", "value": t}, texts),
    st.just({"type": "null"}),
)


def _aggregate(type_: str, items: st.SearchStrategy[list[Any]]) -> st.SearchStrategy[Document]:
    return items.map(lambda rows: {"type": type_, "items": rows})


def _flat_pairs(tree: st.SearchStrategy[Document]) -> st.SearchStrategy[list[Any]]:
    pairs = st.lists(st.tuples(tree, tree), max_size=3)
    return pairs.map(lambda rows: [part for pair in rows for part in pair])


def _nest(tree: st.SearchStrategy[Document]) -> st.SearchStrategy[Document]:
    rows = st.lists(tree, max_size=4)
    return st.one_of(
        _aggregate("array", rows),
        _aggregate("set", rows),
        _aggregate("push", st.lists(tree, min_size=1, max_size=4)),
        _aggregate("map", _flat_pairs(tree)),
    )


def _nest_more(tree: st.SearchStrategy[Document]) -> st.SearchStrategy[Document]:
    """Also what hiredis does not read: attributes, streamed strings and aggregates."""
    streamed = st.builds(lambda t: {**t, "streamed": True}, _aggregate("array", st.lists(tree)))
    streamed_map = st.builds(
        lambda t: {**t, "streamed": True}, _aggregate("map", _flat_pairs(tree))
    )
    attribute = st.builds(
        lambda items, reply: {"type": "attribute", "items": items, "reply": reply},
        _flat_pairs(tree),
        tree,
    )
    chunks = st.lists(st.binary(min_size=1, max_size=9).map(to_text), max_size=3)
    streamed_bulk = chunks.map(lambda parts: {"type": "streamed-bulk", "chunks": parts})
    return st.one_of(_nest(tree), streamed, streamed_map, attribute, streamed_bulk)


resp2_replies = st.recursive(
    resp2_scalars, lambda tree: _aggregate("array", st.lists(tree, max_size=4)), max_leaves=12
)
hiredis_replies = st.recursive(resp3_scalars, _nest, max_leaves=12)
all_replies = st.recursive(resp3_scalars, _nest_more, max_leaves=12)


def parse_all(parser: Parser, data: bytes, sizes: list[int] | None = None) -> list[Document]:
    """The messages of ``data``, fed in pieces of the given sizes (the last takes the rest)."""
    documents: list[Document] = []
    for size in [*(sizes or []), len(data)]:
        parser.feed(data[:size], MARK)
        data = data[size:]
        while message := parser.next_message():
            documents.append(message.document)
    return documents


def ask(pairer: RedisPairer, *commands: list[Any]) -> list[Exchange]:
    """The client sends commands in one piece."""
    data = b"".join(write_command(command) for command in commands)
    return pairer.receive_data(Sender.CLIENT, data, MARK)


def tell(pairer: RedisPairer, data: bytes) -> list[Exchange]:
    """The server sends bytes."""
    return pairer.receive_data(Sender.SERVER, data, MARK)


def problems(exchanges: list[Exchange]) -> list[str]:
    return [exchange.problem for exchange in exchanges if exchange.problem]
