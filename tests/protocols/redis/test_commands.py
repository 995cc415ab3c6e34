"""Commands: exact both ways, under any cutting; inline ones as Redis splits them."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from kebpf.protocols.base import Mark, ProtocolError
from kebpf.protocols.redis.commands import CommandParser, split_inline
from kebpf.protocols.redis.stream import MAX_LINE_SIZE
from kebpf.protocols.redis.text import Text, to_bytes, to_text
from kebpf.protocols.redis.writer import write_command, write_request
from tests.fix_redis import needs_redis, run_redis
from tests.protocols.redis.builders import commands, parse_all


@given(st.binary())
def test_text_loses_nothing(data: bytes) -> None:
    text = to_text(data)
    assert to_bytes(text) == data
    assert to_text(to_bytes(text)) == text


@given(st.one_of(st.text(st.characters(exclude_categories=["Cs"])), st.binary()))
def test_text_is_unambiguous(text: Text) -> None:
    assert (to_text(to_bytes(text)) == text) == (isinstance(text, str) or not _is_utf8(text))


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


@given(st.lists(commands, max_size=5), st.lists(st.integers(0, 40)))
def test_any_cutting(sent: list[list[Text]], sizes: list[int]) -> None:
    wire = b"".join(map(write_command, sent))
    documents = parse_all(CommandParser(), wire, sizes)
    assert [document["command"] for document in documents] == sent
    assert b"".join(map(write_request, documents)) == wire


@given(st.binary(max_size=100), st.lists(st.integers(0, 40)))
def test_garbage_gives_commands_or_an_error(data: bytes, sizes: list[int]) -> None:
    try:
        documents = parse_all(CommandParser(), data, sizes)
    except ProtocolError:
        return
    assert all(document["command"] for document in documents)


def test_redis_py_writes_the_same() -> None:
    arguments = ["SET", b"\xff\x00", "é", 5, 1.5]
    connection: Any = redis.Connection()  # type: ignore[no-untyped-call]
    packed = b"".join(connection.pack_command(*arguments))
    (document,) = parse_all(CommandParser(), packed)
    assert document == {"command": ["SET", b"\xff\x00", "é", "5", "1.5"]}
    assert write_request(document) == packed


def test_empty_commands_are_passed_over() -> None:
    wire = b"\r\n*0\r\n*-1\r\n*1\r\n$4\r\nPING\r\n\n"
    assert parse_all(CommandParser(), wire) == [{"command": ["PING"]}]


def test_marks_are_where_a_command_begins_and_ends() -> None:
    parser = CommandParser()
    wire = write_command(["PING"]) + write_command(["ECHO", "x"])
    parser.feed(wire[:20], Mark(1, 7, 100))
    parser.feed(wire[20:], Mark(2, 8, 120))
    first, second = parser.next_message(), parser.next_message()
    assert first and (first.start, first.end) == (Mark(1, 7, 100), Mark(1, 7, 114))
    assert second and (second.start, second.end) == (Mark(1, 7, 114), Mark(2, 8, 100 + len(wire)))


INLINE = [
    b"echo plain",
    b'echo "with space"',
    b"echo 'single \\' quote'",
    b'echo "\\x41\\n\\t\\"\\\\\\q"',
    b"  echo\tlead ",
    b'echo ""',
    b"echo '\\x41'",
    b'echo a"b"',
]
UNBALANCED = [b'echo "open', b"echo 'open", b'echo "a"b']


@pytest.mark.parametrize("line", UNBALANCED)
def test_unbalanced_quotes(line: bytes) -> None:
    with pytest.raises(ProtocolError, match="unbalanced"):
        split_inline(line + b"\r\n")


@pytest.mark.parametrize("wire", [b"*1\r\n+a\r\n", b"*x\r\n", b"*1\r\n$-1\r\n", b"*-2\r\n"])
def test_malformed(wire: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_all(CommandParser(), wire)


def test_inline_cap() -> None:
    with pytest.raises(ProtocolError, match="cap"):
        parse_all(CommandParser(), b"a" * (MAX_LINE_SIZE + 1))


@pytest.mark.redis
@needs_redis
def test_inline_as_redis_splits_it() -> None:
    with run_redis() as port, socket.create_connection(("127.0.0.1", port)) as client:
        replies = client.makefile("rb")
        for line in INLINE:
            client.sendall(line + b"\r\n")
            size = int(replies.readline()[1:])
            echoed = replies.read(size + 2)[:-2]
            (document,) = parse_all(CommandParser(), line + b"\r\n")
            assert to_bytes(document["command"][1]) == echoed
            assert write_request(document) == line + b"\r\n"
