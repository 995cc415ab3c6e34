"""The accounts with real servers: recorded warm, once from the start and once joined, then off."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import redis

from examples.processes import Process, find_free_port
from examples.recorder import start_recorder, stop_recorder, with_sources
from tests.e2e.accounts.forms import DRIVERS, FORMS, OWNERS
from tests.e2e.field.dependency import serving
from tests.e2e.field.stand import COMMAND as FIELD_COMMAND
from tests.e2e.field.stand import test_service
from tests.e2e.kebpf_runs import Entry, TestRun, read_set
from tests.fix_postgres import run_postgres
from tests.fix_redis import run_redis

COMMAND = [*FIELD_COMMAND[:-1], "tests.e2e.accounts"]
CLIENTS = 4
RUNS_AT_ONCE = 3
TABLES = """
CREATE ROLE accounts LOGIN;
CREATE TABLE accounts (owner text PRIMARY KEY, balance int NOT NULL);
INSERT INTO accounts VALUES ('alice', 1100), ('bob', 2200), ('charlie', 3300), ('dave', 4400);
GRANT ALL ON accounts TO accounts;
"""

Answers = list[tuple[str, dict[str, Any]]]  # target and body, as the client got them


@dataclass
class Stand:
    """Recordings, what the database itself said of the owners, and runs."""

    folder: Path
    environment: dict[str, str]
    truth: dict[str, int]
    summaries: dict[str, Entry] = field(default_factory=dict)
    answers: dict[str, Answers] = field(default_factory=dict)
    _begun: dict[tuple[str, bool], Future[TestRun]] = field(default_factory=dict)
    _executor: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(RUNS_AT_ONCE))
    _numbers: Iterator[int] = field(default_factory=count)

    def tell_truth(self, driver: str, owner: str) -> Any:
        """What an answer must hold."""
        shown = {"redis": f"{self.truth[owner]} EUR", "http": f"/balances/{owner}"}
        return shown.get(driver, self.truth[owner])

    def cases(self, recording: str) -> list[Entry]:
        return [one for one in read_set(self.folder / recording) if one["kind"] == "test"]

    def run_form(self, form: str, is_swapped: bool) -> TestRun:
        """One of the forms against the recording from the start; all are begun at the first."""
        if not self._begun:
            for one in FORMS:
                for swap in (False, True):
                    self._begun[one, swap] = self._executor.submit(self._run_form, one, swap)
        return self._begun[form, is_swapped].result()

    def _run_form(self, form: str, is_swapped: bool) -> TestRun:
        if not is_swapped:
            return self.run("warm", FORMS[form])
        names = {one["request"]["path"]: one["name"] for one in self.cases("warm")}
        chosen = [names[f"/{driver}/{owner}"] for driver in DRIVERS for owner in ("bob", "charlie")]
        options = [word for name in chosen for word in ("--case", name)]
        return self.run("warm", {**FORMS[form], "SWAP": "1"}, *options)

    def run(self, recording: str, form: Mapping[str, str], *options: str) -> TestRun:
        """``kebpf test`` of the service in a form."""
        own = {"ACCOUNTS_PORT": str(find_free_port())}
        report = self.folder / f"events-{next(self._numbers)}.jsonl"
        environment = {**self.environment, **own, **form}
        return test_service(COMMAND, self.folder / recording, report, environment, *options)

    def close(self) -> None:
        """Waits for what still runs."""
        self._executor.shutdown(cancel_futures=True)


@contextmanager
def preparing(folder: Path) -> Iterator[Stand]:
    """Records; all servers are off by the time it is given."""
    with ExitStack() as servers:
        stand = start_servers(servers, folder)
        record_from_start(stand)
        record_joined(stand)
        servers.close()
        try:
            yield stand
        finally:
            stand.close()


def start_servers(stack: ExitStack, folder: Path) -> Stand:
    """What the service depends on."""
    postgres = stack.enter_context(run_postgres())
    redis_port = stack.enter_context(run_redis())
    http = stack.enter_context(serving("bank"))
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        connection.execute(TABLES.encode())
        rows = connection.execute("SELECT owner, balance FROM accounts").fetchall()
    truth = {str(owner): int(balance) for owner, balance in rows}
    environment = {
        "ACCOUNTS_PORT": str(find_free_port()),
        "ACCOUNTS_DATABASE": f"postgresql://accounts@127.0.0.1:{postgres.port}/postgres",
        "ACCOUNTS_REDIS": f"redis://127.0.0.1:{redis_port}/0",
        "ACCOUNTS_HTTP": http.url,
    }
    with redis.Redis.from_url(environment["ACCOUNTS_REDIS"]) as client:
        client.mset({f"balance:{owner}": balance for owner, balance in truth.items()})
        client.set("currency", "EUR")
    return Stand(folder, environment, truth)


def record_from_start(stand: Stand) -> None:
    """The caches get warm while it is recorded: the later calls are executions by name."""
    recorder = start_recorder(stand.folder / "warm", command=COMMAND, environment=stand.environment)
    try:
        recorder.wait_for(lambda line: line.endswith("ready"))
        stand.answers["warm"] = [*drive(stand, 1, rounds=2), *drive(stand, CLIENTS)]
    finally:
        stand.summaries["warm"] = stop_recorder(recorder)


def record_joined(stand: Stand) -> None:
    """The caches were warm before: what was prepared then is known by name alone."""
    service = Process("accounts", COMMAND, environment=with_sources(stand.environment))
    try:
        service.wait_for(lambda line: line == "ready")
        drive(stand, 1, rounds=3)
        recorder = start_recorder(stand.folder / "joined", "--pid", str(service.pid))
        try:
            stand.answers["joined"] = drive(stand, 1)  # else doubts leave out others' cases too
        finally:
            stand.summaries["joined"] = stop_recorder(recorder)
    finally:
        service.stop()


def drive(stand: Stand, clients: int, rounds: int = 1) -> Answers:
    """Asks every driver for every owner."""
    targets = [f"/{driver}/{owner}" for owner in OWNERS for driver in DRIVERS] * rounds
    if clients > 1:
        random.Random(7).shuffle(targets)
    port = int(stand.environment["ACCOUNTS_PORT"])
    with ThreadPoolExecutor(clients) as executor:
        parts = [targets[number::clients] for number in range(clients)]
        return [found for part in executor.map(lambda one: ask(port, one), parts) for found in part]


def ask(port: int, targets: Sequence[str]) -> Answers:
    """Over one connection."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    found = []
    for target in targets:
        connection.request("GET", target)
        found.append((target, json.loads(connection.getresponse().read())))
    connection.close()
    return found
