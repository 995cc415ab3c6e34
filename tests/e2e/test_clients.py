"""pgbench and redis-benchmark, which only make calls: recorded, then run with the servers off."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from examples.oracle import count_postgres_calls, count_redis_calls
from examples.processes import Process
from examples.recorder import launch_recorder, start_recorder, stop_recorder
from tests.cli.recorders import run_kebpf
from tests.e2e.conftest import skip_unless_root
from tests.e2e.fix_services import why_not
from tests.e2e.kebpf_runs import Entry, read_set
from tests.fix_postgres import BIN, run_postgres
from tests.fix_redis import run_redis

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.kernel,
    pytest.mark.postgres,
    pytest.mark.redis,
    pytest.mark.timeout(300),
]

MODES = ("simple", "extended", "prepared")
RUN_SECONDS = 60.0
SEEDED = ["--random-seed=7", "-c", "3", "-t", "40"]
TRANSACTIONS = 3 * 40
# Few values, so that the same ones come again in any order of the clients.
TRANSFER = """
\\set aid random(1, 3)
BEGIN;
UPDATE accounts SET balance = balance + {delta} WHERE aid = :aid;
SELECT balance FROM accounts WHERE aid = 4;
INSERT INTO history (aid, delta) VALUES (:aid, {delta});
END;
"""
# One value only: a part of the run has all the calls of another.
STEADY = """
BEGIN;
UPDATE accounts SET balance = balance + 7 WHERE aid = 2;
SELECT balance FROM accounts WHERE aid = 2;
END;
"""
TABLES = """
CREATE ROLE bench LOGIN;
CREATE EXTENSION pg_stat_statements;
CREATE TABLE accounts (aid int PRIMARY KEY, balance int NOT NULL);
CREATE TABLE history (aid int NOT NULL, delta int NOT NULL);
INSERT INTO accounts SELECT n, 0 FROM generate_series(1, 10) AS n;
GRANT ALL ON accounts, history TO bench;
"""


@dataclass(frozen=True)
class Recorded:
    """A recording with what the server counted meanwhile and what recorder and client printed."""

    path: Path
    summary: Entry
    mocks: list[Entry]
    counted: int
    lines: list[str]

    @property
    def calls(self) -> int:
        """Without those of sessions."""
        return sum(mock["calls"] for mock in self.mocks if mock["tier"] != "session")


class Stand:
    """Servers, scripts and the recordings made while the servers ran, by name."""

    def __init__(self, folder: Path, postgres_port: int, redis_port: int) -> None:
        self.folder = folder
        self.recorded: dict[str, Recorded] = {}
        self._postgres_port = postgres_port
        self._redis_port = redis_port
        folder.chmod(0o755)
        for name, text in {
            "transfer.sql": TRANSFER.format(delta=7),
            "changed.sql": TRANSFER.format(delta=8),
            "steady.sql": STEADY,
        }.items():
            (folder / name).write_text(text)
        with self._connect() as connection:
            connection.execute(TABLES)

    def _connect(self) -> psycopg.Connection:
        port = self._postgres_port
        return psycopg.connect(f"host=127.0.0.1 port={port} user=postgres", autocommit=True)

    def pgbench(self, mode: str, script: str, *options: str) -> list[str]:
        place = ["-h", "127.0.0.1", "-p", str(self._postgres_port), "-U", "bench"]
        chosen = ["-n", "-M", mode, "-f", str(self.folder / script), *options]
        return [str(BIN / "pgbench"), *place, *chosen, "postgres"]

    def redis_benchmark(self, *options: str) -> list[str]:
        command = ["redis-benchmark", "-p", str(self._redis_port), "-t", "get,set", "-c", "5"]
        return [*command, *options]

    def count(self, protocol: str) -> int:
        """What the server was asked so far, ``BEGIN`` and ``END`` aside.

        PostgreSQL 15 counts such a statement, once prepared, on its first execution only.
        """
        if protocol == "redis":
            return sum(count_redis_calls(self._redis_port).values())
        with self._connect() as connection:
            counted = count_postgres_calls(connection, "bench")
        return sum(calls for sql, calls in counted.items() if sql not in ("BEGIN", "END"))

    def record_start(self, name: str, protocol: str, command: Sequence[str]) -> None:
        """Records a command from its start to its end."""
        before = self.count(protocol)
        recorder = launch_recorder(self.folder / name, command=command)
        try:
            assert recorder.wait(RUN_SECONDS) == 0, recorder.tail()
        finally:
            summary = stop_recorder(recorder)
        self._keep(name, summary, self.count(protocol) - before, list(recorder.lines))

    def record_midway(self, name: str, command: Sequence[str]) -> None:
        """Joins a pgbench that reports each second, for two of its reports."""
        client = Process("pgbench", command)
        try:
            client.wait_for(lambda line: line.startswith("progress: 1."))
            before = self.count("postgres")
            recorder = start_recorder(self.folder / name, "--pid", str(client.pid))
            seen = len(client.lines)
            client.wait_for(lambda _: len(client.lines) >= seen + 2)
            summary = stop_recorder(recorder)
            counted = self.count("postgres") - before
        finally:
            client.stop(signal.SIGINT)
        self._keep(name, summary, counted, list(recorder.lines))

    def _keep(self, name: str, summary: Entry, counted: int, lines: list[str]) -> None:
        path = self.folder / name
        self.recorded[name] = Recorded(path, summary, read_set(path), counted, lines)

    def run(self, name: str, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """``kebpf mock`` with a recording."""
        return run_kebpf("mock", str(self.folder / name), "--", *command)


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """All recordings; the servers are off by the time it is given."""
    skip_unless_root()
    reason = why_not()
    if reason is None and not (BIN / "pgbench").exists():
        reason = f"no pgbench in {BIN}"
    if reason is None and shutil.which("redis-benchmark") is None:
        reason = "redis-benchmark is not installed"
    if reason is not None:
        pytest.skip(reason)
    with ExitStack() as servers:
        postgres = servers.enter_context(run_postgres())
        redis_port = servers.enter_context(run_redis())
        stand = Stand(tmp_path_factory.mktemp("clients"), postgres.port, redis_port)
        for mode in MODES:
            command = stand.pgbench(mode, "transfer.sql", *SEEDED)
            stand.record_start(f"start-{mode}", "postgres", command)
        for mode in ("simple", "prepared"):
            command = stand.pgbench(
                mode, "steady.sql", "-c", "3", "-R", "60", "-T", "60", "-P", "1"
            )
            stand.record_midway(f"midway-{mode}", command)
        stand.record_start("redis", "redis", stand.redis_benchmark("-n", "2000"))
        servers.close()
        yield stand


@pytest.mark.parametrize("name", [*(f"start-{mode}" for mode in MODES), "redis"])
def test_every_call_the_server_counted_is_a_mock(name: str, stand: Stand) -> None:
    recorded = stand.recorded[name]
    assert (recorded.summary["lost_bytes"], recorded.summary["left_out"]) == (0, {})
    assert recorded.summary["test_cases"] == 0
    assert 0 < recorded.counted == recorded.calls
    [said] = [line for line in recorded.lines if line.startswith("no requests were served")]
    number = f"{recorded.summary['mocks']:,} calls recorded as mocks"
    assert said.startswith(f"no requests were served; {number} in ")
    assert f"to run a command on these mocks: kebpf mock {recorded.path} -- COMMAND" in (
        recorded.lines
    )


@pytest.mark.parametrize("mode", MODES)
def test_pgbench_runs_on_its_mocks(mode: str, stand: Stand) -> None:
    done = stand.run(f"start-{mode}", stand.pgbench(mode, "transfer.sql", *SEEDED))
    assert done.returncode == 0, done.stderr
    assert f"transactions actually processed: {TRANSACTIONS}/{TRANSACTIONS}\n" in done.stdout
    assert "failed transactions: 0 " in done.stdout
    number = 3 * TRANSACTIONS
    assert f", no miss; {number:,} of {number:,} mocks used\n" in done.stderr


def test_redis_benchmark_runs_on_its_mocks(stand: Stand) -> None:
    done = stand.run("redis", stand.redis_benchmark("-n", "2000"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("2000 requests completed") == 2
    number = stand.recorded["redis"].calls
    assert number >= 4000
    assert f"{number:,} calls answered in " in done.stderr
    assert f", no miss; {number:,} of {number:,} mocks used\n" in done.stderr


def test_other_calls_fail(stand: Stand) -> None:
    done = stand.run("start-extended", stand.pgbench("extended", "changed.sql", *SEEDED))
    assert done.returncode not in (0, 3)
    assert f"processed: {TRANSACTIONS}/{TRANSACTIONS}" not in done.stdout
    assert "recorded but different: UPDATE accounts" in done.stderr
    more = stand.pgbench("simple", "transfer.sql", "--random-seed=7", "-c", "3", "-t", "41")
    done = stand.run("start-simple", more)
    assert done.returncode not in (0, 3)
    assert "recorded and used up: " in done.stderr
    done = stand.run("redis", stand.redis_benchmark("-n", "2000", "-d", "4"))
    assert done.returncode not in (0, 3)
    assert "recorded but different: SET key:__rand_int__ " in done.stderr


def test_joining_a_client_that_prepares_nothing(stand: Stand) -> None:
    recorded = stand.recorded["midway-simple"]
    assert recorded.summary["lost_bytes"] == 0
    assert 0 < recorded.calls <= recorded.counted
    done = stand.run("midway-simple", stand.pgbench("simple", "steady.sql", "-c", "2", "-t", "20"))
    assert done.returncode == 0, done.stderr
    assert "transactions actually processed: 40/40\n" in done.stdout


def test_joining_a_client_that_has_prepared(stand: Stand) -> None:
    """Nothing it calls by a name alone can be known: it is counted, with the reason."""
    recorded = stand.recorded["midway-prepared"]
    assert [mock["request"] for mock in recorded.mocks if mock["tier"] != "session"] == []
    reasons = recorded.summary["left_out"]
    assert reasons.keys() == {
        f'a call of no test case: statement "P_{number}" was prepared before the recording began'
        for number in range(4)
    }
    assert min(reasons.values()) > 20
    assert any(line.startswith("no requests were served; 0 calls") for line in recorded.lines)
