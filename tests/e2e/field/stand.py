"""The service with real servers, recorded in sequence and under load, after which they are off."""

from __future__ import annotations

import json
import random
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from itertools import count, product
from pathlib import Path

import psycopg
import redis

from examples.processes import Process, find_free_port
from examples.recorder import find_kebpf, start_recorder, stop_recorder, with_sources
from tests.e2e.field import bodies, extras, http_calls, late_calls, redis_calls, sql_calls, values
from tests.e2e.field.dependency import Dependency, serving
from tests.e2e.field.lines import LINES, Line
from tests.e2e.kebpf_runs import Entry, TestRun, read_set
from tests.fix_postgres import PostgresCluster, run_postgres
from tests.fix_redis import run_redis

MODULES = (
    bodies,
    extras,
    http_calls,
    late_calls,
    redis_calls,
    sql_calls,
    values,
)  # they fill LINES
COMMAND = [sys.executable, "-m", "tests.e2e.field"]
RECORDINGS = ("sequence", "load")
CLIENTS = 4
RUNS_AT_ONCE = 3
RING = ("--ring-size", "16")  # MiB: the large bodies come at once
TEST_SECONDS = 250.0
APART = ("death", "write_of_a_thread_doubled")  # what they do shows in other cases, too
ROLE = """
CREATE ROLE field LOGIN;
CREATE DATABASE field;
CREATE DATABASE other;
"""
TABLES = """
CREATE TABLE accounts (id int PRIMARY KEY, owner text, balance int, note text);
CREATE TABLE archive (id int);
CREATE TABLE places (id int, note text);
CREATE TABLE events (id uuid DEFAULT gen_random_uuid(), other_id uuid, kind text, note text);
CREATE TABLE sessions (owner text, expires timestamptz, note text);
CREATE TABLE owners (name text NOT NULL UNIQUE, again bool);
CREATE TABLE items (n int, note text);
CREATE TABLE owned (owner text, note text);
ALTER TABLE owned ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON owned USING (owner = current_setting('app.owner', true));
INSERT INTO accounts SELECT n, (ARRAY['alice', 'bob'])[n], n * 11, '' FROM generate_series(1, 9) n;
INSERT INTO places SELECT n, current_database() || ' ' || n FROM generate_series(1, 3) n;
INSERT INTO owners VALUES ('alice');
INSERT INTO owned VALUES ('alice', 'of alice'), ('bob', 'of bob'), ('charlie', 'of charlie');
GRANT ALL ON ALL TABLES IN SCHEMA public TO field;
"""
KEYS = {"balance:alice": "11", "balance:bob": "22", "stock:11": "5", "stock:12": "6", "cart": "a"}


@dataclass
class Stand:
    """The recordings by name, and runs of the service against them, each made once."""

    folder: Path
    environment: dict[str, str]
    summaries: dict[str, Entry] = field(default_factory=dict)
    answers: dict[str, dict[str, tuple[int, bytes]]] = field(default_factory=dict)
    _runs: dict[tuple[str, str], Future[TestRun]] = field(default_factory=dict)
    _executor: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(RUNS_AT_ONCE))
    _numbers: Iterator[int] = field(default_factory=count)

    def close(self) -> None:
        """Waits for what still runs."""
        self._executor.shutdown(cancel_futures=True)

    def environment_of(self, recording: str) -> dict[str, str]:
        """Each has a port of its own; only the one from the start has a call at the start."""
        own = {"FIELD_PORT": self.environment[f"PORT_{recording}"]}
        if recording == "sequence":
            own["FIELD_VERSION"] = "1"
        return {**self.environment, **own}

    def entries(self, recording: str) -> list[Entry]:
        return read_set(self.folder / recording)

    def run(self, recording: str, bugs: Sequence[str] = ()) -> TestRun:
        """``kebpf test`` of the service without mistakes or with a batch; all are begun at once."""
        if not self._runs:
            for one, batch in product(RECORDINGS, [[], *list_batches()]):
                text = ",".join(batch)
                self._runs[one, text] = self._executor.submit(self.run_alone, one, text)
        return self._runs[recording, ",".join(bugs)].result()

    def run_alone(self, recording: str, bugs: str, *options: str) -> TestRun:
        own = {"FIELD_PORT": str(find_free_port()), "BUG": bugs}  # others run at the same time
        environment = {**self.environment_of(recording), **own}
        report = self.folder / f"events-{next(self._numbers)}.jsonl"
        return test_service(COMMAND, self.folder / recording, report, environment, *options)


def test_service(
    command: Sequence[str], path: Path, report: Path, environment: Mapping[str, str], *options: str
) -> TestRun:
    """Runs ``kebpf test`` to its end."""
    words = ["test", str(path), "--json", str(report), *options, "--", *command]
    test = Process("kebpf test", [*find_kebpf(), *words], environment=with_sources(environment))
    try:
        status = test.wait(TEST_SECONDS)
    finally:
        test.stop(signal.SIGINT)
    text = report.read_text() if report.exists() else ""
    return TestRun(status, [json.loads(line) for line in text.splitlines()], "\n".join(test.lines))


test_service.__test__ = False  # type: ignore[attr-defined]


def list_batches() -> list[list[str]]:
    """The mistakes that are switched on together: every second; the rest must stay green."""
    names = [name for name in LINES if name not in APART]
    return [names[::2], names[1::2]]


def choose_batch(line: Line) -> list[str]:
    """The batch a mistake is in."""
    return next(batch for batch in list_batches() if line.name in batch)


@contextmanager
def preparing(folder: Path) -> Iterator[Stand]:
    """Records; all servers are off by the time it is given."""
    with ExitStack() as servers:
        stand = Stand(folder, start_servers(servers))
        record_from_start(stand, "sequence")
        record_running(stand, "load")
        servers.close()
        try:
            yield stand
        finally:
            stand.close()


def start_servers(stack: ExitStack) -> dict[str, str]:
    """What the service depends on; gives the service's environment."""
    postgres = stack.enter_context(run_postgres())
    here, there = (stack.enter_context(run_redis()) for _ in range(2))
    http, other_http = (stack.enter_context(serving(name)) for name in ("here", "there"))
    fill_postgres(postgres)
    for place, url in enumerate((f"{here}/0", f"{here}/1", f"{there}/0")):
        fill_redis(f"redis://127.0.0.1:{url}", f"place {place}")
    return make_environment(postgres.port, here, there, http, other_http)


def make_environment(
    postgres: int, here: int, there: int, http: Dependency, other_http: Dependency
) -> dict[str, str]:
    server = f"postgresql://field@127.0.0.1:{postgres}"
    return {
        **{f"PORT_{name}": str(find_free_port()) for name in RECORDINGS},
        "FIELD_DATABASE": f"{server}/field",
        "FIELD_OTHER_DATABASE": f"{server}/other",
        "FIELD_REDIS": f"redis://127.0.0.1:{here}",
        "FIELD_OTHER_REDIS": f"redis://127.0.0.1:{there}",
        "FIELD_HTTP": http.url,
        "FIELD_OTHER_HTTP": other_http.url,
    }


def fill_postgres(cluster: PostgresCluster) -> None:
    with psycopg.connect(cluster.dsn, autocommit=True) as connection:
        for statement in ROLE.strip().splitlines():
            connection.execute(statement.encode())
    for name in ("field", "other"):
        dsn = cluster.dsn.replace("dbname=postgres", f"dbname={name}")
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(TABLES.encode())


def fill_redis(url: str, place: str) -> None:
    keys = {**KEYS, "place:number": place, "place:one": place, "place:port": place}
    with redis.Redis.from_url(url) as client:
        client.mset(keys)


def record_from_start(stand: Stand, name: str) -> None:
    """One request after the other, from the service's first breath."""
    path = stand.folder / name
    environment = stand.environment_of(name)
    recorder = start_recorder(path, *RING, command=COMMAND, environment=environment)
    try:
        recorder.wait_for(lambda line: line.endswith("ready"))
        stand.answers[name] = drive(environment, clients=1)
    finally:
        stand.summaries[name] = stop_recorder(recorder)


def record_running(stand: Stand, name: str) -> None:
    """Four clients at a time, in another order, of a service that already runs."""
    environment = stand.environment_of(name)
    service = Process("service", COMMAND, environment=with_sources(environment))
    try:
        service.wait_for(lambda line: line == "ready")
        recorder = start_recorder(stand.folder / name, *RING, "--pid", str(service.pid))
        try:
            stand.answers[name] = drive(environment, clients=CLIENTS)
        finally:
            stand.summaries[name] = stop_recorder(recorder)
    finally:
        service.stop()


def drive(environment: Mapping[str, str], clients: int) -> dict[str, tuple[int, bytes]]:
    """Asks for every line once; gives status and body by line."""
    names, port = list(LINES), int(environment["FIELD_PORT"])
    if clients > 1:
        random.Random(4).shuffle(names)
    with ThreadPoolExecutor(clients) as executor:
        parts = executor.map(
            lambda part: ask_all(port, part), (names[n::clients] for n in range(clients))
        )
        return {name: answer for part in parts for name, answer in part.items()}


def ask_all(port: int, names: Sequence[str]) -> dict[str, tuple[int, bytes]]:
    """Over one connection, as long as it is kept alive."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    found = {}
    for name in names:
        connection.request("GET", f"/{name}")
        response = connection.getresponse()
        found[name] = response.status, response.read()
    connection.close()
    return found
