"""The applications that are recorded with many requests in flight, one interface for all."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from examples.recorder import launch_recorder, stop_recorder
from examples.services import EXAMPLES, Services
from tests.e2e.crowd import record_crowd
from tests.e2e.kebpf_runs import TestRun, run_kebpf_test
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


class Recorded(Protocol):
    """An application with its test set, everything it depends on switched off."""

    def replay(self, report: Path, *options: str) -> TestRun:
        """Tests the same version; ``options`` are those of ``kebpf test``."""


class Subject(Protocol):
    """An application that can be recorded."""

    name: str
    in_flight: int

    def why_not(self) -> str | None:
        """What of it is not on this machine, if anything."""

    @contextmanager
    def recorded(self, path: Path) -> Iterator[Recorded]:
        """Makes the test set ``path``."""


class Shop:
    """The example, all its guests in it from the first moment on."""

    def __init__(self, guests: int = SHOP_GUESTS) -> None:
        self.name, self.in_flight = SHOP, guests

    def why_not(self) -> str | None:
        return None

    @contextmanager
    def recorded(self, path: Path) -> Iterator[Recorded]:
        os.environ.pop("SHOP_BUG", None)
        with Services() as services:
            record_crowd(services, path, self.in_flight)
            services.stop_backends()
            yield RecordedShop(services, path)


class RecordedShop:
    def __init__(self, services: Services, path: Path) -> None:
        self._services = services
        self._path = path

    def replay(self, report: Path, *options: str) -> TestRun:
        words = ["-c", self._services.shop_command, str(self._path), *options]
        return run_kebpf_test(words, report, self._services.shop_environment, EXAMPLES)


class RuntimeSubject:
    """The notes service in one of its forms."""

    def __init__(self, runtime: Runtime) -> None:
        self.name, self.in_flight = runtime.name, RUNTIME_GUESTS
        self._runtime = runtime

    def why_not(self) -> str | None:
        return self._runtime.why_not()

    @contextmanager
    def recorded(self, path: Path) -> Iterator[Recorded]:
        folder = install(self._runtime)
        with Servers(path.parent, (*AUTHORS, *CROWD)) as servers:
            program = Program(self._runtime, folder, servers)
            words = program.command
            recorder = launch_recorder(
                path,
                command=[find_command(folder, words[0]), *words[1:]],
                environment=program.environment,
                folder=folder,
            )
            try:
                wait_until_healthy(servers.port, READY_SECONDS)
                with loading(servers.port, *CROWD[: self.in_flight]) as load:
                    load.wait_for(RUNTIME_REQUESTS)
            finally:
                stop_recorder(recorder)
            assert not load.failures, load.failures
            servers.switch_off()
            yield RecordedProgram(program, path, folder)


class RecordedProgram:
    def __init__(self, program: Program, path: Path, folder: Path) -> None:
        self._program, self._path, self._folder = program, path, folder

    def replay(self, report: Path, *options: str) -> TestRun:
        words = ["-c", shlex.join(self._program.command), str(self._path), *options]
        return run_kebpf_test(words, report, self._program.environment, self._folder)


class StrangerSubject:
    """An application of the strangers."""

    def __init__(self, stranger: Stranger) -> None:
        self.name, self.in_flight = stranger.name, stranger.clients
        self._stranger = stranger

    def why_not(self) -> str | None:
        return self._stranger.why_not()

    @contextmanager
    def recorded(self, path: Path) -> Iterator[Recorded]:
        with StrangerServices(self._stranger) as services:
            application = Application(self._stranger, services)
            application.record(path)
            services.switch_off()
            yield RecordedStranger(application, path)


class RecordedStranger:
    def __init__(self, application: Application, path: Path) -> None:
        self._application, self._path = application, path

    def replay(self, report: Path, *options: str) -> TestRun:
        return self._application.replay(self._path, report, *options)


def find_subjects() -> list[Subject]:
    """All there are."""
    runtimes = [RuntimeSubject(one) for one in find_runtimes()]
    return [Shop(), *runtimes, *(StrangerSubject(one) for one in find_strangers())]
