"""What has to be known of single commands: which are session, which answer oddly, which block."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from kebpf.protocols.base import Document
from kebpf.protocols.redis.text import Text, to_printable

_LONGEST_NAME = 32  # characters; what is longer is no name of a command


def words(text: str) -> frozenset[str]:
    """The set of the words in a text."""
    return frozenset(text.split())


# Answered from the state of a connection or from the recording, never asserted.  INFO, COMMAND,
# ROLE, CLUSTER and SENTINEL are here because clients ask them to find their feet, as often as
# they happen to (re)connect; SCRIPT LOAD and EXISTS because a script cache is server state that a
# recording joined in the middle never saw being filled.
SESSION_COMMANDS = words(
    "AUTH HELLO SELECT CLIENT PING ECHO QUIT RESET READONLY READWRITE ASKING COMMAND INFO ROLE "
    "CLUSTER SENTINEL WATCH UNWATCH DISCARD SUBSCRIBE UNSUBSCRIBE PSUBSCRIBE PUNSUBSCRIBE "
    "SSUBSCRIBE SUNSUBSCRIBE"
)
SESSION_SUBCOMMANDS = frozenset({("SCRIPT", "LOAD"), ("SCRIPT", "EXISTS")})

SUBSCRIBING = {"SUBSCRIBE": "channel", "PSUBSCRIBE": "pattern", "SSUBSCRIBE": "shard"}
UNSUBSCRIBING = {"UNSUBSCRIBE": "channel", "PUNSUBSCRIBE": "pattern", "SUNSUBSCRIBE": "shard"}
MESSAGE_SIZES = {"message": 3, "pmessage": 4, "smessage": 3}
ALLOWED_WHILE_SUBSCRIBED = frozenset({*SUBSCRIBING, *UNSUBSCRIBING, "PING", "QUIT", "RESET"})

# Executed at once inside MULTI instead of being queued (processCommand of the Redis source).
NEVER_QUEUED = frozenset({"MULTI", "EXEC", "DISCARD", "WATCH", "QUIT", "RESET"})

# Commands that wait, by the place of the seconds they wait at most.
_TIMEOUT_PLACES = {
    **dict.fromkeys(words("BLPOP BRPOP BRPOPLPUSH BLMOVE BZPOPMIN BZPOPMAX"), -1),
    **dict.fromkeys(words("BLMPOP BZMPOP"), 1),
}
_BLOCKING_READS = words("XREAD XREADGROUP")  # if told to

# After these a connection is no longer one of requests and replies.
LEAVES_PROTOCOL = {
    "MONITOR": "the connection became a MONITOR stream",
    "SYNC": "the connection became a replication stream",
    "PSYNC": "the connection became a replication stream",
}

# First words of errors with which a server refuses a command instead of executing it.
_REFUSALS = words(
    "NOAUTH NOPERM LOADING MISCONF READONLY OOM BUSY MASTERDOWN NOREPLICAS MOVED ASK CLUSTERDOWN "
    "CROSSSLOT TRYAGAIN DENIED EXECABORT"
)
_REFUSING_ERR = (
    "ERR unknown command",
    "ERR unknown subcommand",
    "ERR wrong number of arguments",
    "ERR Can't execute",
    "ERR Command not allowed inside a transaction",
    "ERR Protocol error",
)
# These find out only while executing that their arguments do not come in pairs.
_CHECKS_PAIRS_LATE = {"HSET": 4, "HMSET": 4, "MSET": 3, "MSETNX": 3}

# Types in which the most used commands answer (errors always may): what a wrong pairing breaks.
_STRING = frozenset({"bulk", "null-bulk", "null"})
_INTEGER = frozenset({"integer"})
_STATUS = frozenset({"simple"})
_REPLY_TYPES: dict[str, frozenset[str]] = {
    **dict.fromkeys(words("GET GETEX GETDEL HGET"), _STRING),
    **dict.fromkeys(words("INCR DECR INCRBY DECRBY HINCRBY DEL UNLINK EXISTS EXPIRE"), _INTEGER),
    **dict.fromkeys(words("TTL PTTL HSET HDEL HLEN LPUSH RPUSH LLEN SADD SREM"), _INTEGER),
    **dict.fromkeys(words("SCARD SISMEMBER ZREM ZCARD APPEND STRLEN PUBLISH SETNX"), _INTEGER),
    **dict.fromkeys(words("SETEX PSETEX MSET HMSET FLUSHDB FLUSHALL MULTI WATCH"), _STATUS),
    **dict.fromkeys(words("SELECT AUTH UNWATCH TYPE RENAME"), _STATUS),
    **dict.fromkeys(words("MGET HMGET LRANGE KEYS SCAN HKEYS HVALS"), frozenset({"array"})),
    "HGETALL": frozenset({"array", "map"}),
    "SMEMBERS": frozenset({"array", "set"}),
    "SET": frozenset({"simple", *_STRING}),
    "PING": frozenset({"simple", "bulk", "array"}),
}


def command_name(command: Sequence[Text]) -> str:
    """The command's name in capitals (empty for no command)."""
    return _capitals(command[0]) if command else ""


def subcommand_name(command: Sequence[Text]) -> str:
    """The second word in capitals (empty if there is none)."""
    return _capitals(command[1]) if len(command) > 1 else ""


def _capitals(word: Text) -> str:
    return _short_capitals(word) if len(word) <= _LONGEST_NAME else to_printable(word).upper()


@lru_cache(1024)
def _short_capitals(word: Text) -> str:
    return to_printable(word).upper()


def is_session_command(command: Sequence[Text]) -> bool:
    """Whether a responder answers it from session state and nothing is asserted about it."""
    name = command_name(command)
    return name in SESSION_COMMANDS or (name, subcommand_name(command)) in SESSION_SUBCOMMANDS


def waiting_seconds(command: Sequence[Text]) -> float | None:
    """How long a command may wait for its reply (0: for ever), ``None`` for one that does not."""
    name, place = command_name(command), _TIMEOUT_PLACES.get(command_name(command))
    if name in _BLOCKING_READS:
        words_ = [_capitals(word) for word in command]
        if "BLOCK" not in words_[1:-1]:
            return None
        value, unit = command[words_.index("BLOCK", 1) + 1], 1000.0
    elif place is None or len(command) <= 2:
        return None
    else:
        value, unit = command[place], 1.0
    try:
        seconds = float(to_printable(value)) / unit
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None


def bare_reply(tree: Document) -> Document:
    """The reply without the attributes before it."""
    while tree["type"] == "attribute":
        tree = tree["reply"]
    return tree


def error_text(tree: Document) -> str | None:
    """The text of an error reply, ``None`` for any other."""
    bare = bare_reply(tree)
    return to_printable(bare["value"]) if bare["type"] in ("error", "bulk-error") else None


def is_refusal(command: Sequence[Text], tree: Document) -> bool:
    """Whether the reply says the command was never executed (so statistics do not count it)."""
    text = error_text(tree)
    if text is None:
        return False
    if text.startswith("ERR wrong number of arguments"):
        return len(command) < _CHECKS_PAIRS_LATE.get(command_name(command), len(command) + 1)
    return text.split(" ", 1)[0] in _REFUSALS or text.startswith(_REFUSING_ERR)


def fits_command(command: Sequence[Text], tree: Document) -> bool:
    """Whether a reply of this type can be an answer to the command, as far as is known."""
    types = _REPLY_TYPES.get(command_name(command))
    type_ = bare_reply(tree)["type"]
    return types is None or type_ in types or type_ in ("error", "bulk-error")


def push_kind(tree: Document) -> str:
    """The first element of an array or push in lower case: ``message``, ``subscribe`` …"""
    bare = bare_reply(tree)
    items = bare.get("items") or [{}]
    value = items[0].get("value")
    return to_printable(value).lower() if isinstance(value, str | bytes) else ""


def is_message(tree: Document) -> bool:
    """Whether it has the form of a published message (RESP2 arrays included)."""
    size = MESSAGE_SIZES.get(push_kind(tree))
    return size is not None and len(bare_reply(tree)["items"]) == size
