"""Records a row's program by PID while it is busy, and tests it with all its peers off."""

from __future__ import annotations

import http.client
import shlex
import ssl
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from examples.processes import Process
from examples.recorder import start_recorder, stop_recorder
from tests.e2e.kebpf_runs import Entry, TestRun, read_set, run_kebpf_test
from tests.e2e.runtimes.declaration import install
from tests.e2e.tls.calls import Call, read_mocks
from tests.e2e.tls.load import Load, Sent, loading
from tests.e2e.tls.rows import Row
from tests.e2e.tls.services import Services

READY_SECONDS = 60.0
TEST_SECONDS = 300.0
BEFORE_ATTACH = 30  # requests: pools are open by then
BEFORE_STOP = 5


@dataclass(frozen=True)
class Recording:
    """A test set beside what the customers and the peers say happened meanwhile.

    ``within`` are the requests sent and answered between attach and stop, ``around`` those that
    were under way at either moment; ``asked`` are the calls that the peers saw of ``within``.
    """

    path: Path
    summary: Entry
    entries: list[Entry]
    within: list[Sent]
    around: list[Sent]
    asked: list[Call]
    lines: list[str]

    @cached_property
    def cases(self) -> dict[int, Entry]:
        """The test cases by the number of their request."""
        return {
            int(one["request"]["path"].rpartition("/")[2]): one
            for one in self.entries
            if one["kind"] == "test" and one["request"]["path"].startswith("/ask/")
        }

    @cached_property
    def asserted(self) -> list[str]:
        """The names of the cases whose calls are nobody else's, for certain."""
        calls = Counter(
            one["case"] for one in self.entries if one["kind"] == "mock" and not one["candidates"]
        )
        most = max((calls[case["name"]] for case in self.cases.values()), default=0)
        names = (case["name"] for case in self.cases.values())
        return [name for name in names if calls[name] == most]

    @cached_property
    def mocked(self) -> list[Call]:
        """The calls of the mocks, those of ``within`` only."""
        numbers = {one.number for one in self.within}
        mocks = read_mocks(one for one in self.entries if one["kind"] == "mock")
        return [call for call in mocks if call.number in numbers]


class Program:
    """A row's program, installed, beside its peers."""

    def __init__(self, row: Row, services: Services) -> None:
        self.row = row
        self.folder = install(row.project)
        self.services = services
        told = services.environment
        values = {"port": services.port, "cert": told["CERT_FILE"], "key": told["KEY_FILE"]}
        self.command = [word.format(**values) for word in row.start]
        authority = dict.fromkeys(row.trusts, told["CA_FILE"])
        self.environment = {**told, **authority, **row.environment}

    @contextmanager
    def running(self) -> Iterator[Process]:
        """Until the block ends."""
        process = Process(
            self.row.name, self.command, environment=self.environment, folder=self.folder
        )
        try:
            self._wait_until_ready(process)
            yield process
        finally:
            process.stop()

    def _wait_until_ready(self, process: Process) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not is_healthy(self.services.port, self.context):
            if time.monotonic() > deadline or process.exit_status is not None:
                raise TimeoutError(f"{self.row.name} does not serve:\n{process.tail()}")
            time.sleep(0.05)  # nothing to wait on: the program may not listen yet

    @property
    def context(self) -> ssl.SSLContext | None:
        """What its customers trust, if it serves TLS."""
        return self.services.certificates.trust() if self.row.serves else None

    @contextmanager
    def busy(self) -> Iterator[tuple[Process, Load]]:
        """Running, its customers served and its connections open, for as long as the block."""
        row = self.row
        with (
            self.running() as process,
            loading(
                self.services.port,
                row.customers,
                is_reversed=row.is_reversed,
                context=self.context,
                pause=row.pause,
            ) as load,
        ):
            load.wait_for(BEFORE_ATTACH)
            yield process, load

    def record(self, path: Path) -> Recording:
        """Attaches while customers come and go; ends before they do."""
        with self.busy() as (process, load):
            began_ns = time.monotonic_ns()
            recorder = start_recorder(path, "--pid", str(process.pid), *self.row.options)
            attached_ns = time.monotonic_ns()
            try:
                load.admit()
                load.wait_for(self.row.requests + self.row.customers)
                stopping_ns = time.monotonic_ns()
            finally:
                summary = stop_recorder(recorder)
            stopped_ns = time.monotonic_ns()
            load.wait_for(BEFORE_STOP)
        assert not load.failures, load.failures
        seen = [one for one in load.sent if one.ended_ns > began_ns and one.started_ns < stopped_ns]
        within = [
            one for one in seen if attached_ns <= one.started_ns and one.ended_ns <= stopping_ns
        ]
        numbers = {one.number for one in within}
        asked = [call for call in self.services.take_calls() if call.number in numbers]
        around = [one for one in seen if one.number not in numbers]
        return Recording(path, summary, read_set(path), within, around, asked, list(recorder.lines))

    def replay(self, path: Path, report: Path, bug: str = "", cases: Sequence[str] = ()) -> TestRun:
        """Tests the program, changed if a change is named, against a recording or some of it."""
        words = ["-c", shlex.join(self.command), str(path)]
        words += [word for name in cases for word in ("--case", name)]
        environment: Mapping[str, str] = self.environment | ({"TLS_BUG": bug} if bug else {})
        return run_kebpf_test(words, report, environment, self.folder, TEST_SECONDS)


def is_healthy(port: int, context: ssl.SSLContext | None) -> bool:
    """Whether the program serves."""

    connection = (
        http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        if context is None
        else http.client.HTTPSConnection("localhost", port, timeout=5, context=context)
    )
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
