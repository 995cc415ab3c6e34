"""The forms in which the same calls can be made, as the environment says; none changes a call."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

OWNERS = ("alice", "bob", "charlie", "dave")
SWAPPED = {"alice": "charlie", "charlie": "alice"}
DRIVERS = ("psycopg", "literal", "asyncpg", "psycopg2", "redis", "http")

# How the recording was made: pools of two, every statement prepared from its second use on.
RECORDED: dict[str, str] = {}
# Forms that must all answer from that recording.
FORMS: dict[str, Mapping[str, str]] = {
    "as_recorded": RECORDED,
    "one_connection": {"POOL": "1"},
    "eight_connections": {"POOL": "8"},
    "prepared_at_once": {"THRESHOLD": "0"},
    "never_prepared": {"THRESHOLD": "none", "CACHE": "0"},
    "evicted": {"EVICT": "1"},
    "opened_in_another_order": {"BACKWARDS": "1", "POOL": "3"},
    "binary": {"BINARY": "1"},
    "pipelined": {"PIPELINE": "1"},
    "simple_protocol": {"SIMPLE": "1"},
    "new_connections": {"KEEP": "0", "EVICT": "1", "THRESHOLD": "none"},
    "all_at_once": {
        "POOL": "5",
        "THRESHOLD": "0",
        "CACHE": "0",
        **dict.fromkeys(("BINARY", "PIPELINE", "SIMPLE", "EVICT", "BACKWARDS"), "1"),
        "KEEP": "0",
    },
}
# Forms of Redis commands that are other commands: one question in place of two, a transaction.
OTHER_CALLS = ("mget", "multi")


@dataclass(frozen=True)
class Form:
    """What one start of the service was told."""

    pool: int
    threshold: int | None
    cache: int
    is_binary: bool
    is_pipelined: bool
    is_simple: bool
    is_evicting: bool
    is_backwards: bool
    keeps_alive: bool
    is_swapped: bool
    redis: str

    @classmethod
    def from_environment(cls) -> Form:
        """Raises ``ValueError`` for a number that is none."""
        get = os.environ.get
        threshold = get("THRESHOLD", "1")
        return cls(
            pool=int(get("POOL", "2")),
            threshold=None if threshold == "none" else int(threshold),
            cache=int(get("CACHE", "100")),
            is_binary=get("BINARY") == "1",
            is_pipelined=get("PIPELINE") == "1",
            is_simple=get("SIMPLE") == "1",
            is_evicting=get("EVICT") == "1",
            is_backwards=get("BACKWARDS") == "1",
            keeps_alive=get("KEEP", "1") == "1",
            is_swapped=get("SWAP") == "1",
            redis=get("REDIS_FORM", "pipeline" if get("PIPELINE") == "1" else "single"),
        )
