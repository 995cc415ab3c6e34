"""Patterns match what a real server's KEYS gives for them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from kebpf.protocols.redis.patterns import matches_pattern
from tests.fix_redis import needs_redis, run_redis

NAMES = [b"news", b"new", b"n", b"n*s", b"n.s", b"n\ns", b"a-c", b"b", b"^", b"]", b"n\\s", b"\xff"]
PATTERNS = r"""
* n* *s n?s ? ?? new news n[e]ws n[a-e]w n[^e]w [^a]* [a-] [-a]* [c-a] n\\s n\*s n[*]s [\]] [^^] [^]
ne[w n** **s *e* \n n.s \
"""


@pytest.fixture(scope="module")
def client() -> Iterator[redis.Redis]:
    with run_redis() as port, redis.Redis(port=port) as one:
        one.mset(dict.fromkeys(NAMES, b""))
        yield one


@needs_redis
@pytest.mark.redis
@pytest.mark.parametrize("pattern", PATTERNS.split())
def test_like_keys(pattern: str, client: redis.Redis) -> None:
    found = {name for name in NAMES if matches_pattern(pattern, name)}
    assert found == set(client.keys(pattern))
