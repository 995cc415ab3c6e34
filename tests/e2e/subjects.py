"""The applications that are recorded with many requests in flight, one interface for all."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from examples.recorder import launch_recorder, stop_recorder
from examples.services import EXAMPLES, Services
from tests.e2e.crowd import record_crowd
from tests.e2e.kebpf_runs import TestRun, run_kebpf_test
from tests.e2e.ordinary import give
from tests.e2e.runtimes.declaration import Runtime, find_runtimes, install
from tests.e2e.runtimes.harness import READY_SECONDS, Program, find_command
from tests.e2e.runtimes.load import loading, wait_until_healthy
from tests.e2e.runtimes.servers import AUTHORS, CROWD, Servers
from tests.e2e.strangers.declaration import Stranger, find_strangers
from tests.e2e.strangers.harness import Application
from tests.e2e.strangers.harness import Services as StrangerServices

SHOP = "shop"
SHOP_GUESTS = 32
RUNTIME_GUESTS = 8
RUNTIME_REQUESTS = 80  # or some more: each guest ends the round of requests it is in
TEST_SECONDS = 300.0


@dataclass(frozen=True)
class Recorded:
    """An application with its test set, everything it depends on switched off.

    ``user`` is who tests it: root unless named.
    """

    path: Path
    command: str
    environment: Mapping[str, str]
    folder: Path
    user: str | None = None

    def replay(self, report: Path, *options: str) -> TestRun:
        """Tests the same version; ``options`` are those of ``kebpf test``."""
        words = ["-c", self.command, str(self.path), *options]
        return run_kebpf_test(
            words, report, self.environment, self.folder, TEST_SECONDS, user=self.user
        )

    def lend(self, user: str, home: Path) -> Recorded:
        """The same with a copy of the test set that is another's, in a folder that is theirs."""
        path = home / self.path.name
        shutil.copytree(self.path, path)
        give(home, user)
        environment = {**self.environment, "HOME": str(home)}
        return replace(self, path=path, environment=environment, user=user)


class Subject(Protocol):
    """An application that can be recorded."""

    name: str
    in_flight: int

    def why_not(self) -> str | None:
        """What of it is not on this machine, if anything."""

    @contextmanager
    def recorded(self, path: Path, *options: str) -> Iterator[Recorded]:
        """Makes the test set ``path``; ``options`` are those of ``kebpf record``."""


class Shop:
    """The example, all its guests in it from the first moment on."""

    def __init__(self, guests: int = SHOP_GUESTS) -> None:
        self.name, self.in_flight = SHOP, guests

    def why_not(self) -> str | None:
        return None

    @contextmanager
    def recorded(self, path: Path, *options: str) -> Iterator[Recorded]:
        os.environ.pop("SHOP_BUG", None)
        with Services() as services:
            record_crowd(services, path, self.in_flight, options=options)
            services.stop_backends()
            yield shop_recorded(services, path)


def shop_recorded(services: Services, path: Path) -> Recorded:
    """A test set of the shop."""
    return Recorded(path, services.shop_command, services.shop_environment, EXAMPLES)


class RuntimeSubject:
    """The notes service in one of its forms."""

    def __init__(
        self, runtime: Runtime, guests: int = RUNTIME_GUESTS, requests: int = RUNTIME_REQUESTS
    ) -> None:
        self.name, self.in_flight = runtime.name, guests
        self._runtime, self._requests = runtime, requests

    def why_not(self) -> str | None:
        return self._runtime.why_not()

    @contextmanager
    def recorded(self, path: Path, *options: str) -> Iterator[Recorded]:
        folder = install(self._runtime)
        with Servers(path.parent, (*AUTHORS, *CROWD)) as servers:
            program = Program(self._runtime, folder, servers)
            words = program.command
            recorder = launch_recorder(
                path,
                *options,
                command=[find_command(folder, words[0]), *words[1:]],
                environment=program.environment,
                folder=folder,
            )
            try:
                wait_until_healthy(servers.port, READY_SECONDS)
                with loading(servers.port, *CROWD[: self.in_flight]) as load:
                    load.wait_for(self._requests)
            finally:
                stop_recorder(recorder)
            assert not load.failures, load.failures
            servers.switch_off()
            yield Recorded(path, shlex.join(program.command), program.environment, folder)


class StrangerSubject:
    """An application of the strangers."""

    def __init__(self, stranger: Stranger) -> None:
        self.name, self.in_flight = stranger.name, stranger.clients
        self._stranger = stranger

    def why_not(self) -> str | None:
        return self._stranger.why_not()

    @contextmanager
    def recorded(self, path: Path, *options: str) -> Iterator[Recorded]:
        with StrangerServices(self._stranger) as services:
            application = Application(self._stranger, services)
            application.record(path, *options)
            services.switch_off()
            command = shlex.join(application.command(application.folder))
            yield Recorded(path, command, services.environment, application.folder)


def find_subjects(in_flight: int | None = None) -> list[Subject]:
    """All there are, with their own crowds or one of so many that comes for one visit each."""
    runtimes, strangers = find_runtimes(), find_strangers()
    if in_flight is None:
        return [Shop(), *map(RuntimeSubject, runtimes), *map(StrangerSubject, strangers)]
    return [
        Shop(in_flight),
        *(RuntimeSubject(one, in_flight, 1) for one in runtimes),
        *(StrangerSubject(replace(one, clients=in_flight)) for one in strangers),
    ]
