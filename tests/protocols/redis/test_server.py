"""Real clients see the same from the recording as from Redis, in either version of RESP."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.fix_redis import needs_redis, run_redis
from tests.protocols.redis.programs import PROGRAMS, run_cli
from tests.protocols.redis.tee import Recording, record, replay

pytestmark = [pytest.mark.redis, needs_redis]


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    with run_redis() as port:
        yield port


def run_program(name: str, port: int, version: int) -> list[Any]:
    client = redis.Redis(
        port=port,
        protocol=version,
        single_connection_client=name == "use_session",
        retry=Retry(NoBackoff(), 0),
    )
    with client:
        return PROGRAMS[name](client)


def record_program(name: str, server: int, version: int) -> tuple[list[Any], Recording]:
    with redis.Redis(port=server) as admin:
        admin.flushall()
        admin.script_flush()
    with record(server) as (port, recording):
        seen = run_program(name, port, version)
    return seen, recording


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("name", PROGRAMS)
def test_same_from_recording(server: int, name: str, version: int) -> None:
    live, recording = record_program(name, server, version)
    assert [e.problem for e in recording.exchanges if e.problem] == []
    assert recording.broken == []
    with replay(recording) as (port, answerer):
        assert run_program(name, port, version) == live
    assert answerer.misses == []
    assert answerer.unused == 0


@pytest.mark.parametrize(("recorded", "asked"), [(2, 3), (3, 2)])
@pytest.mark.parametrize("name", PROGRAMS)
def test_other_version_than_recorded(server: int, name: str, recorded: int, asked: int) -> None:
    expected, _ = record_program(name, server, asked)
    _, recording = record_program(name, server, recorded)
    with replay(recording) as (port, answerer):
        assert run_program(name, port, asked) == expected
    assert answerer.misses == []


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("name", sorted(set(PROGRAMS) - {"use_scripts"}))
def test_calls_are_what_the_server_counts(server: int, name: str, version: int) -> None:
    with redis.Redis(port=server) as admin:
        admin.flushall()
        with record(server) as (port, recording):
            admin.config_resetstat()
            run_program(name, port, version)
        stats = admin.info("commandstats")
    counted = sum(entry["calls"] for entry in stats.values())
    own = stats.get("cmdstat_config|resetstat", {"calls": 0})["calls"]
    own += sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ["_"])
    assert sum(e.calls for e in recording.exchanges) == counted - own, dict(
        Counter(str(e.request["command"][0]) for e in recording.exchanges)
    )


CLI_SCRIPT = """SET k "a b\\n\\xff"
GET k
HSET h f v
HGETALL h
MULTI
INCR n
INCR n
EXEC
MULTI
NOSUCH
EXEC
MULTI
SET x 1
DISCARD
EXEC
EVAL "return 7" 0
LRANGE none 0 -1
GET none
INCR k
"""


def test_redis_cli(server: int) -> None:
    with redis.Redis(port=server) as admin:
        admin.flushall()
    with record(server) as (port, recording):
        live = run_cli(port, CLI_SCRIPT)
    assert [e.problem for e in recording.exchanges if e.problem] == []
    with replay(recording) as (port, answerer):
        assert run_cli(port, CLI_SCRIPT) == live
    assert answerer.unused == 0
