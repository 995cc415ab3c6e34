"""How the replies of Redis' commands differ between RESP2 and RESP3 (redis.io, command replies).

A *shape* is a small tree that names, for one command, what its RESP3 reply looks like; `convert`
reads it in both directions.  Replies of scripts are taken to be the same: a script that gives
doubles, maps or sets of RESP3's by its own choice (``{double=1.5}``) shows none of it in RESP2.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

from kebpf.protocols.redis.catalogue import command_name, subcommand_name, words
from kebpf.protocols.redis.text import Text, to_printable


class Shape(enum.Enum):
    """What RESP3 makes of a reply that RESP2 sends as flat arrays and bulk strings."""

    SAME = "the same in both"
    MAP = "a map, values as they are"
    MAP_OF_MAPS = "an array of maps"
    SET = "a set"
    DOUBLE = "a double"
    DOUBLES = "an array of doubles"
    PAIRS = "an array of [member, double]"
    FIELD_PAIRS = "an array of [field, value]"
    FLAT_SCORE = "[member, double]"
    KEYED_SCORE = "[key, member, double]"
    POPPED = "[key, [[member, double], …]]"
    RANK_SCORE = "[rank, double]"
    POSITIONS = "an array of [double, double]"
    VERBATIM = "a verbatim string"
    UNKNOWN = "not known here"


_BY_NAME = {
    **dict.fromkeys(words("HGETALL XREAD XREADGROUP"), Shape.MAP),
    **dict.fromkeys(words("SMEMBERS SINTER SUNION SDIFF"), Shape.SET),
    **dict.fromkeys(words("ZSCORE ZINCRBY"), Shape.DOUBLE),
    **dict.fromkeys(words("BZPOPMIN BZPOPMAX"), Shape.KEYED_SCORE),
    **dict.fromkeys(words("ZMPOP BZMPOP"), Shape.POPPED),
    **dict.fromkeys(words("INFO LOLWUT"), Shape.VERBATIM),
    "ZMSCORE": Shape.DOUBLES,
    "GEOPOS": Shape.POSITIONS,
}
_BY_SUBCOMMAND = {
    ("CONFIG", "GET"): Shape.MAP,
    ("MEMORY", "STATS"): Shape.UNKNOWN,
    ("ACL", "GETUSER"): Shape.UNKNOWN,
    ("ACL", "LOG"): Shape.MAP_OF_MAPS,
    ("XINFO", "GROUPS"): Shape.MAP_OF_MAPS,
    ("XINFO", "CONSUMERS"): Shape.MAP_OF_MAPS,
    ("XINFO", "STREAM"): Shape.MAP,
    ("CLIENT", "LIST"): Shape.VERBATIM,
    ("CLIENT", "INFO"): Shape.VERBATIM,
    ("CLIENT", "TRACKINGINFO"): Shape.UNKNOWN,
    ("CLUSTER", "INFO"): Shape.VERBATIM,
    ("CLUSTER", "NODES"): Shape.VERBATIM,
    ("CLUSTER", "SHARDS"): Shape.UNKNOWN,
    ("CLUSTER", "LINKS"): Shape.MAP_OF_MAPS,
    ("COMMAND", "DOCS"): Shape.UNKNOWN,
    ("FUNCTION", "LIST"): Shape.UNKNOWN,
    ("FUNCTION", "STATS"): Shape.UNKNOWN,
    ("LATENCY", "DOCTOR"): Shape.VERBATIM,
    ("LATENCY", "HISTOGRAM"): Shape.UNKNOWN,
    ("MEMORY", "DOCTOR"): Shape.VERBATIM,
    ("MODULE", "LIST"): Shape.UNKNOWN,
    ("XINFO", "STREAM FULL"): Shape.UNKNOWN,
}
_WITH_SCORES = words(
    "ZRANGE ZRANGEBYSCORE ZREVRANGE ZREVRANGEBYSCORE ZDIFF ZINTER ZUNION ZRANDMEMBER"
)
# Commands whose RESP3 reply depends on options or nests more than a shape can say.
_UNKNOWN = frozenset({"GEORADIUS", "GEORADIUSBYMEMBER", "GEOSEARCH", "GEORADIUS_RO"})
# The most used of those whose reply is the same in both versions whatever their options.
_SAME = words(
    "GET SET SETEX PSETEX SETNX MGET MSET MSETNX INCR INCRBY DECR DECRBY APPEND STRLEN DEL UNLINK "
    "EXISTS EXPIRE PEXPIRE TTL PTTL HGET HMGET HSET HMSET HDEL HLEN LPUSH RPUSH LLEN LRANGE SADD "
    "SREM SCARD PUBLISH"
)
# RESP2 sends these a null array where they find nothing, all others a null bulk string.
_NULL_ARRAY = words("EXEC BLPOP BRPOP BZPOPMIN BZPOPMAX LMPOP BLMPOP ZMPOP BZMPOP XREAD XREADGROUP")


def finds_null_array(command: Sequence[Text]) -> bool:
    """Whether RESP2's "nothing" for the command is ``*-1`` and not ``$-1``."""
    name = command_name(command)
    return name in _NULL_ARRAY or (name in ("LPOP", "RPOP") and len(command) > 2)


def shape_of(command: Sequence[Text]) -> Shape:
    """The RESP3 shape of the command's reply; `Shape.UNKNOWN` where kebpf does not know it."""
    name = command_name(command)
    if name in _SAME:
        return Shape.SAME
    subcommand, options = subcommand_name(command), {to_printable(w).upper() for w in command[1:]}
    if name == "XINFO" and "FULL" in options:
        subcommand = "STREAM FULL"
    if (name, subcommand) in _BY_SUBCOMMAND:
        return _BY_SUBCOMMAND[name, subcommand]
    if name in _BY_NAME:
        return _BY_NAME[name]
    if "." in name or (name in _UNKNOWN and options & {"WITHCOORD", "WITHDIST", "WITHHASH"}):
        return Shape.UNKNOWN  # a command with a dot is a module's
    return _shape_by_option(name, len(command), options)


def _shape_by_option(name: str, size: int, options: set[str]) -> Shape:
    if name in _WITH_SCORES and "WITHSCORES" in options:
        return Shape.PAIRS
    if name in ("ZPOPMIN", "ZPOPMAX"):
        return Shape.PAIRS if size > 2 else Shape.FLAT_SCORE
    if name == "SPOP" and size > 2:
        return Shape.SET
    if name == "ZADD" and "INCR" in options:
        return Shape.DOUBLE
    if name in ("ZRANK", "ZREVRANK") and "WITHSCORE" in options:
        return Shape.RANK_SCORE
    if name == "HRANDFIELD" and "WITHVALUES" in options:
        return Shape.FIELD_PAIRS
    return Shape.SAME
