"""A recording of psycopg and redis-py against real servers, which are off by the time of tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
import redis

from examples.recorder import find_kebpf, with_sources
from tests.fix_postgres import BIN, run_postgres
from tests.fix_redis import HAS_REDIS, run_redis

RECORDED = """
import sys, uuid
from datetime import datetime, timezone
import psycopg, redis
postgres, cache = map(int, sys.argv[1:])
with psycopg.connect(host="127.0.0.1", port=postgres, user="postgres", dbname="postgres") as c:
    for number in (1, 2):
        c.execute("SELECT name FROM people WHERE id = %s", (number,)).fetchone()
    c.execute("INSERT INTO log VALUES (%s, %s, %s)",
              (uuid.uuid4(), datetime.now(timezone.utc), "hello"))
    c.commit()
    c.execute("SELECT count(*) FROM people").fetchone()
r = redis.Redis(port=cache)
r.get("greeting"), r.incr("visits"), r.incr("visits")
"""
OTHER = """
import sys, redis
print(redis.Redis(port=int(sys.argv[1])).get("farewell"))
"""
TABLES = """
CREATE TABLE people (id int PRIMARY KEY, name text);
INSERT INTO people VALUES (1, 'ann'), (2, 'bob');
CREATE TABLE log (id uuid, at timestamptz, what text);
"""


@dataclass(frozen=True)
class PeopleRecording:
    """Test sets ``people`` and ``other`` under ``folder``, and where the servers were."""

    folder: Path
    postgres: int
    cache: int

    @property
    def environment(self) -> dict[str, str]:
        return {"POSTGRES": str(self.postgres), "CACHE": str(self.cache)}


def record(folder: Path, name: str, code: str, *words: str) -> None:
    command = [*find_kebpf(), "record", "-o", str(folder), "--name", name, "--"]
    subprocess.run(
        [*command, sys.executable, "-c", code, *words],
        env={**os.environ, **with_sources({})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        timeout=100,
    )


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PeopleRecording]:
    if os.geteuid() != 0:
        pytest.skip("recording needs root")
    if not (BIN / "postgres").exists() or not HAS_REDIS:
        pytest.skip("PostgreSQL 15 and Redis are not both installed")
    folder = tmp_path_factory.mktemp("recordings")
    with run_postgres() as cluster, run_redis() as cache:
        with psycopg.connect(cluster.dsn) as connection:
            connection.execute(TABLES)
        with redis.Redis(port=cache) as client:
            client.mset({"greeting": "hi", "farewell": "bye"})
        record(folder, "people", RECORDED, str(cluster.port), str(cache))
        record(folder, "other", OTHER, str(cache))
    yield PeopleRecording(folder, cluster.port, cache)
