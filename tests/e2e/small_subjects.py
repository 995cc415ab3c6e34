"""The small services of the tests and of the example, recorded with many requests in flight."""

from __future__ import annotations

import json
import random
import shlex
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

from examples.processes import find_free_port
from examples.rates.app import RATES
from examples.recorder import start_recorder, stop_recorder
from examples.services import EXAMPLES
from tests.e2e.accounts.forms import DRIVERS, OWNERS
from tests.e2e.accounts.stand import COMMAND as ACCOUNTS
from tests.e2e.accounts.stand import start_servers
from tests.e2e.subjects import Recorded, Subject

GUESTS = 8
VISITS = 12  # requests of each guest

Asked = tuple[str, str, bytes]  # method, target and body


@dataclass
class SmallSubject:
    """A service of one command; ``prepare`` starts what it needs and says what it is told."""

    name: str
    command: Sequence[str]
    folder: Path
    is_ready: Callable[[str], bool]  # by what it prints
    prepare: Callable[[ExitStack, Path], Mapping[str, str]]
    port_name: str
    ask: Callable[[random.Random], Asked]
    in_flight: int = GUESTS

    def why_not(self) -> str | None:
        return None

    @contextmanager
    def recorded(self, path: Path, *options: str) -> Iterator[Recorded]:
        with ExitStack() as servers:
            environment = self.prepare(servers, path.parent)
            recorder = start_recorder(path, *options, command=self.command, environment=environment)
            try:
                recorder.wait_for(self.is_ready)
                self._crowd(int(environment[self.port_name]))
            finally:
                stop_recorder(recorder)
            servers.close()
            yield Recorded(path, shlex.join(self.command), environment, self.folder)

    def _crowd(self, port: int) -> None:
        with ThreadPoolExecutor(self.in_flight) as pool:
            visits = [pool.submit(self._visit, port, guest) for guest in range(self.in_flight)]
            for visit in visits:
                visit.result()

    def _visit(self, port: int, guest: int) -> None:
        choice = random.Random(f"{self.name} {guest}")
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        for _ in range(VISITS):
            method, target, body = self.ask(choice)
            headers = {"Content-Type": "application/json"} if body else {}
            connection.request(method, target, body or None, headers)
            answer = connection.getresponse()
            answer.read()
            assert answer.status < 500, target
        connection.close()


def ask_for_balance(choice: random.Random) -> Asked:
    """Of anyone, over any driver."""
    return "GET", f"/{choice.choice(DRIVERS)}/{choice.choice(OWNERS)}", b""


def ask_for_rates(choice: random.Random) -> Asked:
    """A rate, one that there is not, or a charge."""
    if choice.random() < 0.5:
        currency, base = choice.choice([*RATES, "XXX"]), choice.choice([*RATES])
        return "GET", f"/rates/{currency}?base={base}", b""
    charge = {
        "reference": str(uuid.UUID(int=choice.getrandbits(128), version=4)),
        "amount": f"{choice.randrange(1, 9999)}.00",
        "currency": choice.choice([*RATES]),
        "card": choice.choice(["tok_visa", "tok_declined"]),
    }
    return "POST", "/charges", json.dumps(charge).encode()


def prepare_accounts(servers: ExitStack, folder: Path) -> Mapping[str, str]:
    return start_servers(servers, folder).environment


def prepare_rates(_servers: ExitStack, _folder: Path) -> Mapping[str, str]:
    return {"RATES_PORT": str(find_free_port()), "PYTHONPATH": str(EXAMPLES)}


def find_small_subjects(in_flight: int | None = None) -> list[Subject]:
    """All there are."""
    guests = in_flight or GUESTS
    return [
        SmallSubject(
            "accounts",
            ACCOUNTS,
            EXAMPLES.parent,
            lambda line: line.endswith("ready"),
            prepare_accounts,
            "ACCOUNTS_PORT",
            ask_for_balance,
            guests,
        ),
        SmallSubject(
            "rates",
            [sys.executable, "-m", "rates"],
            EXAMPLES,
            lambda line: "Uvicorn running" in line,
            prepare_rates,
            "RATES_PORT",
            ask_for_rates,
            guests,
        ),
    ]
