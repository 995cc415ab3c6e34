"""Says whether the bytes of a connection are RESP, from its start or from its middle."""

from __future__ import annotations

import re

from kebpf.protocols.base import Detection, Mark, ProtocolError
from kebpf.protocols.redis.commands import CommandParser
from kebpf.protocols.redis.replies import ReplyParser

_START = re.compile(rb"\*[1-9][0-9]{0,6}\r\n\$[1-9][0-9]?\r\n([A-Za-z][A-Za-z0-9_.|-]*)")
_TYPE_BYTES = b"+-:$*_#,(!=%~>|"
_INLINE_NAMES = frozenset(
    b"PING ECHO GET SET DEL INCR DECR EXISTS INFO QUIT AUTH SELECT HELLO KEYS TTL EXPIRE HGETALL "
    b"HGET HSET LPUSH RPUSH LRANGE SMEMBERS SADD COMMAND CLIENT CONFIG DBSIZE FLUSHALL FLUSHDB "
    b"MONITOR SUBSCRIBE TYPE MULTI EXEC".split()
)
# What may still be missing of the shortest head, whatever of it is there.
_TAILS = (
    b"*1\r\n$4\r\nP",
    b"1\r\n$4\r\nP",
    b"\r\n$4\r\nP",
    b"\n$4\r\nP",
    b"$4\r\nP",
    b"4\r\nP",
    b"\r\nP",
    b"\nP",
    b"P",
)
_HEAD_SIZE = 4096
_LONGEST_START = 32


def judge_command_start(data: bytes) -> Detection:
    """Does ``data`` begin with the head of an array command (count, name length, name)?"""
    if match := _START.match(data):
        line_end = data.index(b"$")
        size = int(data[line_end + 1 : data.index(b"\r", line_end)])
        name = match.group(1)
        rest = data[match.end(1) : match.end(1) + 2]
        if len(name) == size:
            return Detection.YES if rest == b"\r\n"[: len(rest)] else Detection.NO
        is_cut = len(name) < size and match.end(1) == len(data)
        return Detection.NEED_MORE if is_cut else Detection.NO
    return Detection.NEED_MORE if _is_start_prefix(data) else Detection.NO


def _is_start_prefix(data: bytes) -> bool:
    """Whether more bytes could make it a head: tried by completing it."""
    if len(data) > _LONGEST_START:
        return False
    return any(_START.match(data + tail) for tail in _TAILS)


def detect(client: bytes, server: bytes) -> Detection:
    """Judges both heads of a connection seen from its start."""
    replies = _count_replies(server)
    if replies is None:
        return Detection.NO
    if not client:
        return Detection.NO if server else Detection.NEED_MORE
    if client[:1] == b"*":
        return judge_command_start(client[:_HEAD_SIZE])
    return _judge_inline(client[:_HEAD_SIZE], replies)


def resynchronise(client: bytes, server: bytes) -> Detection:
    """Judges bytes from the middle: only a whole command head at the client's byte 0 is a yes."""
    if not client:
        return Detection.NEED_MORE
    return judge_command_start(client[:_HEAD_SIZE])


def _count_replies(server: bytes) -> int | None:
    """How many whole replies the server's head holds; ``None`` if it is not RESP."""
    if server and server[0] not in _TYPE_BYTES:
        return None
    parser = ReplyParser()
    parser.feed(server[:_HEAD_SIZE], Mark(0))
    count = 0
    try:
        while parser.next_message():
            count += 1
    except ProtocolError:
        return None
    return count


def _judge_inline(client: bytes, replies: int) -> Detection:
    """Inline commands look like many things, so a server's RESP answer is waited for."""
    word = re.match(rb"[A-Za-z]*", client)
    name = word.group() if word else b""
    end = client[len(name) : len(name) + 1]
    if not name or (end and (end not in b" \r\n" or name.upper() not in _INLINE_NAMES)):
        return Detection.NO
    if b" HTTP/" in client or not any(known.startswith(name.upper()) for known in _INLINE_NAMES):
        return Detection.NO
    parser = CommandParser()
    parser.feed(client, Mark(0))
    try:
        commands = sum(1 for _ in iter(parser.next_message, None))
    except ProtocolError:
        return Detection.NO
    if replies > commands:
        return Detection.NO
    return Detection.YES if replies else Detection.NEED_MORE
