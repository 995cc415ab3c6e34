"""RESP2 ↔ RESP3 against what a real server sends in each."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from kebpf.protocols.base import Document, ProtocolError
from kebpf.protocols.redis.convert import convert_reply
from kebpf.protocols.redis.replies import ReplyParser
from kebpf.protocols.redis.writer import write_command
from tests.fix_redis import needs_redis, run_redis
from tests.protocols.redis.builders import MARK

PREPARE = """SET s v
HSET h a 1 b 2
SADD t x
ZADD z 1 a 2.5 b
ZADD z2 1 a
RPUSH l 1 2 3
XADD x 1-1 k v
XGROUP CREATE x g 0
GEOADD geo 13.361389 38.115556 P 15.087269 37.502669 C"""
READS = """GET s
GET none
MGET s none
HGETALL h
HGETALL none
HMGET h a none
HRANDFIELD h 2 WITHVALUES
HRANDFIELD none
SMEMBERS t
SMEMBERS none
SINTER t t
SISMEMBER t x
SRANDMEMBER t 2
ZSCORE z b
ZSCORE z none
ZMSCORE z a none
ZRANGE z 0 -1
ZRANGE z 0 -1 WITHSCORES
ZRANGE none 0 -1 WITHSCORES
ZREVRANGEBYSCORE z +inf -inf WITHSCORES
ZRANDMEMBER z2 1 WITHSCORES
ZUNION 2 z z2 WITHSCORES
ZDIFF 2 z z2 WITHSCORES
ZRANK z b
ZRANK z none
LRANGE l 0 -1
LPOP none 2
LPOS l 9
LMPOP 1 none LEFT
ZMPOP 1 none MIN
XRANGE x - +
XREAD STREAMS x 0
XREAD STREAMS x 9
XREADGROUP GROUP g c STREAMS x 0
XINFO STREAM x
XINFO GROUPS x
XPENDING x g
GEOPOS geo P none
GEODIST geo P C
GEODIST geo P none
GEOSEARCH geo FROMMEMBER P BYRADIUS 500 km ASC
CONFIG GET maxmemory
OBJECT ENCODING s
TYPE s
TTL s
SCAN 0
HSCAN h 0
EVAL return{1,'a',false,{ok='x'}} 0
PUBSUB NUMSUB c
CLIENT LIST
INCR s
NOSUCH
ACL LOG
SPOP t 1
SPOP none 1
SPOP none
ZADD z INCR 1 a
ZADD z NX INCR 1 a
ZINCRBY z 1 a
ZPOPMIN z
ZPOPMIN none
ZPOPMAX z 5
BZPOPMIN z2 1
BZPOPMIN none 0.01
BLPOP none 0.01
BLPOP l 1"""

Replies = dict[str, Document]


def run_script(port: int, version: int, lines: list[str]) -> Replies:
    """The reply trees to the lines over a connection of its own."""
    parser, replies = ReplyParser(), {}
    with socket.create_connection(("127.0.0.1", port)) as client:
        for line in [f"HELLO {version}", *lines]:
            client.sendall(write_command(list(line.split())))
            while (message := parser.next_message()) is None:
                parser.feed(client.recv(65536), MARK)
            replies[line] = message.document
    return replies


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[Replies, Replies]]:
    with run_redis() as port:
        answers = []
        for version in (2, 3):
            run_script(port, 2, ["FLUSHALL", *PREPARE.splitlines()])
            answers.append(run_script(port, version, READS.splitlines()))
        yield answers[0], answers[1]


CHANGING = {"SCAN 0", "CLIENT LIST", "XREADGROUP GROUP g c STREAMS x 0"}


@pytest.mark.redis
@needs_redis
@pytest.mark.parametrize("line", READS.splitlines())
def test_as_the_server_says_it(both: tuple[Replies, Replies], line: str) -> None:
    request = {"command": line.split()}
    resp2, resp3 = both[0][line], both[1][line]
    raised = convert_reply(resp2, request, 3)
    lowered = convert_reply(resp3, request, 2)
    if line in CHANGING:
        assert (raised["type"], lowered["type"]) == (resp3["type"], resp2["type"])
        return
    if line.startswith("HRANDFIELD h"):
        key = str
        assert sorted(raised["items"], key=key) == sorted(resp3["items"], key=key)
        return
    assert raised == resp3
    assert lowered == resp2
    assert convert_reply(resp3, request, 3, is_recorded_resp3=True) == resp3
    assert convert_reply(resp2, request, 2) == resp2


def test_transaction_is_converted_command_by_command() -> None:
    scores = [{"type": "bulk", "value": "a"}, {"type": "bulk", "value": "1"}]
    request = {"command": ["EXEC"], "queued": [["HGETALL", "h"], ["ZSCORE", "z", "a"]]}
    reply = {"type": "array", "items": [{"type": "array", "items": scores}, scores[1]]}
    assert convert_reply(reply, request, 3)["items"] == [
        {"type": "map", "items": scores},
        {"type": "double", "value": "1"},
    ]


def test_unknown_shape_is_refused_not_guessed() -> None:
    request = {"command": ["FT.SEARCH", "idx", "q"]}
    reply: Document = {"type": "array", "items": [{"type": "integer", "value": 0}]}
    with pytest.raises(ProtocolError, match=r"FT\.SEARCH was recorded in RESP2"):
        convert_reply(reply, request, 3)
    assert convert_reply(reply, request, 3, is_recorded_resp3=True) == reply
    assert convert_reply(reply, request, 2) == reply
