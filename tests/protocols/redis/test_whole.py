"""Messages read in one go are those that the parsers read step by step, and hiredis as well."""

from __future__ import annotations

from itertools import pairwise
from typing import Any
from unittest import mock

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kebpf.protocols.base import Mark, ProtocolError
from kebpf.protocols.redis import whole
from kebpf.protocols.redis.commands import CommandParser
from kebpf.protocols.redis.replies import ReplyParser

Parsers = type[CommandParser] | type[ReplyParser]

COMMANDS = [
    b"*1\r\n$4\r\nPING\r\n",
    b"*2\r\n$3\r\nGET\r\n$4\r\na\r\nb\r\n",
    b"*2\r\n$3\r\nGET\r\n$1\r\n\xff\r\n",
    b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n",
    b"*0\r\n",
    b"*-1\r\n",
    b"PING\r\n",
    b"\r\n",
    b"*01\r\n$4\r\nPING\r\n",
    b"*1\r\n$04\r\nPING\r\n",
    b"*1\r\n+PING\r\n",
    b"*1\r\n$4\r\nPINGS\r\n",
    b"*1\r\n$5000\r\n" + bytes(5000) + b"\r\n",
]
REPLIES = [
    b"+OK\r\n",
    b"-ERR no\r\n",
    b"+\xff\r\n",
    b"+a\nb\r\n",
    b"+a\rb\r\n",
    b":7\r\n",
    b":-7\r\n",
    b":+7\r\n",
    b":07\r\n",
    b":99999\r\n",
    b":\r\n",
    b"$3\r\nabc\r\n",
    b"$2\r\n\r\n\r\n",
    b"$1\r\n\xff\r\n",
    b"$-1\r\n",
    b"$0\r\n\r\n",
    b"$03\r\nabc\r\n",
    b"$3\r\nabcd\r\n",
    b"$5000\r\n" + bytes(5000) + b"\r\n",
    b"*-1\r\n",
    b"*0\r\n",
    b"*2\r\n$1\r\na\r\n:1\r\n",
    b"*2\r\n*1\r\n$-1\r\n*0\r\n",
    b"*1\r\n" * 12 + b":1\r\n",
    b"*1\r\n" * 40 + b":1\r\n",
    b"*1\r\n_\r\n",
    b"%1\r\n+a\r\n#t\r\n",
    b">2\r\n+a\r\n+b\r\n",
    b"|1\r\n+a\r\n+b\r\n:1\r\n",
    b"$?\r\n;1\r\na\r\n;0\r\n",
    b"=7\r\ntxt:abc\r\n",
]


def read(make: Parsers, pieces: list[bytes], lost: list[int]) -> list[Any]:
    """The messages, where each piece left the parser, and how it ended."""
    parser, offset = make(), 100
    seen: list[Any] = []
    for number, piece in enumerate(pieces):
        if number in lost:
            seen.append(parser.skip(len(piece), Mark(number, 1, offset)))
        else:
            parser.feed(piece, Mark(number, 1, offset))
        offset += len(piece)
        try:
            while (message := parser.next_message()) is not None:
                seen.append(message)
        except ProtocolError as error:
            seen.append(str(error))
            parser.clear()
        seen.append(parser.is_idle)
    return seen


@pytest.mark.parametrize(("make", "parts"), [(CommandParser, COMMANDS), (ReplyParser, REPLIES)])
@given(st.data())
def test_the_short_way_gives_what_the_long_way_gives(
    make: Parsers, parts: list[bytes], data: st.DataObject
) -> None:
    chosen = data.draw(st.lists(st.sampled_from(parts) | st.binary(max_size=3), max_size=5))
    stream = b"".join(chosen)
    ends = [len(b"".join(chosen[:number])) for number in range(len(chosen))]
    points = data.draw(st.lists(st.sampled_from(ends) if ends else st.just(0), max_size=4))
    points += data.draw(st.lists(st.integers(0, len(stream)), max_size=3))
    pieces = [stream[a:b] for a, b in pairwise(sorted({0, *points, len(stream)}))]
    lost = data.draw(st.lists(st.integers(0, 8), max_size=1))
    short = read(make, pieces, lost)
    long_way = mock.Mock(return_value=(None, 0))
    with mock.patch.multiple(whole, read_command=long_way, read_reply=long_way):
        assert read(make, pieces, lost) == short


def _plain(tree: dict[str, Any]) -> object:
    """A tree of RESP2 as hiredis gives it."""
    if tree["type"] in ("null-bulk", "null-array"):
        return None
    if tree["type"] == "array":
        return [_plain(item) for item in tree["items"]]
    value = tree["value"]
    return value.encode() if isinstance(value, str) else value


SCALARS = st.one_of(
    st.binary(max_size=9).map(lambda data: b"$%d\r\n%s\r\n" % (len(data), data)),
    st.integers(0, 4095).map(lambda number: b":%d\r\n" % number),
    st.sampled_from([b"+OK\r\n", b"$-1\r\n", b"*-1\r\n"]),
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4).map(
        lambda items: b"*%d\r\n%s" % (len(items), b"".join(items))
    ),
    max_leaves=8,
)


@given(TREES, st.binary(max_size=4))
def test_replies_as_hiredis_reads_them(reply: bytes, more: bytes) -> None:
    document, end = whole.read_reply(reply + more, 0)
    assert document is not None and end == len(reply)
    reader = hiredis.Reader()
    reader.feed(reply)
    assert _plain(document) == reader.gets()


@given(st.lists(st.binary(max_size=9), min_size=1, max_size=5), st.binary(max_size=4))
def test_commands_as_hiredis_writes_them(arguments: list[bytes], more: bytes) -> None:
    written = hiredis.pack_command((*arguments,))  # type: ignore[arg-type]  # any number
    document, end = whole.read_command(written + more, 0)
    assert document is not None and end == len(written)
    plain = [each.encode() if isinstance(each, str) else each for each in document["command"]]
    assert plain == arguments


@given(TREES, st.data())
def test_a_cut_reply_is_none(reply: bytes, data: st.DataObject) -> None:
    size = data.draw(st.integers(0, len(reply) - 1))
    assert whole.read_reply(reply[:size], 0)[0] is None
