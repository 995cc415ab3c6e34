"""Starts a program of another runtime, records it under load, replays it with all else off.

A runtime is a folder beside this file: one real program (the *notes* service, see `routes` for
what it must answer), its pinned dependencies and a ``runtime.json`` with

- ``title``      what it is, in a line
- ``needs``      programs that must be on PATH; without them the test is skipped with the reason
- ``lock``       files that pin the dependencies: their hash decides whether to install anew
- ``install``    commands, run once in a copy of the folder under ``build/runtimes/``
- ``build``      commands, run there every time, when the sources have been copied (incremental)
- ``start``      the command, run there; relative paths are relative to the copy
- ``environment``  more variables for the program (optional)
- ``bugs``       values of ``NOTES_BUG`` each of which must fail the replay (default: ``title``)
- ``left_out``   regular expressions of the reasons for which requests may be left out of the
  recording that joined (default: none; requests under way at attach or stop are never cases and
  need no entry)
- ``min_cases``  how many cases the recording that joined must have at least (default: 1)
- ``sendfile``   how many bytes of the file go by sendfile(2) and so are not captured (default: 0):
  its requests are left out, and so many bytes of each are lost
- ``recycles_after``  for a pool that tries a connection before use when it was idle so many
  seconds: in the middle of the joined recording there is a lull in which PostgreSQL ends its
  sessions, so that statements prepared before the attach are prepared again (default: none)

There are two recordings: one *joined* by PID under load, one *fresh* from the program's start, in
which every request must be a case and which the regressions are tested with.

``{python}`` in a command is the interpreter of the tests, ``{port}`` in ``start`` the port.

The program is given ``PORT`` (on 127.0.0.1), ``DATABASE_URL``
(``postgres://notes@127.0.0.1:PORT/notes``, no password), ``REDIS_URL``
(``redis://127.0.0.1:PORT/0``), ``FILES_DIR`` (a folder with the file ``logo``) and, for a
regression, ``NOTES_BUG``.  It is healthy when ``GET /health`` says so, and ends on SIGTERM.

One folder: ``KEBPF_RUNTIMES=python-asyncio python -m pytest tests/e2e/test_runtimes.py``.
"""

from __future__ import annotations

import json
import shlex
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from examples.processes import Process
from examples.recorder import (
    find_kebpf,
    launch_recorder,
    start_recorder,
    stop_recorder,
    with_sources,
)
from tests.e2e.kebpf_runs import Entry, TestRun, read_set
from tests.e2e.runtimes.declaration import Runtime, fill_in
from tests.e2e.runtimes.load import Load, loading, wait_until_healthy
from tests.e2e.runtimes.routes import ID_HEADER, Sent
from tests.e2e.runtimes.servers import Servers

READY_SECONDS = 60.0
TEST_SECONDS = 300.0
BEFORE_ATTACH = 40  # requests: pools are open and statements prepared by then
BEFORE_RECYCLING = 60  # requests on connections that were there before
WHILE_ATTACHED = 200
BEFORE_STOP = 10
FROM_START = 120  # requests of a recording that begins with the program


@dataclass(frozen=True)
class Recording:
    """A test set beside what the driver and the servers say happened meanwhile.

    ``within`` are the requests sent and answered between attach and stop, ``around`` those that
    were under way at either moment; ``counted`` is what the servers were asked from before the
    first to after the second.
    """

    path: Path
    summary: Entry
    entries: list[Entry]
    within: list[Sent]
    around: list[Sent]
    counted: dict[str, int]

    @property
    def cases(self) -> dict[str, Entry]:
        """The test cases by the number of their request."""
        cases = (one for one in self.entries if one["kind"] == "test")
        return {number: one for one in cases if (number := find_number(one)) is not None}

    @property
    def mocks(self) -> list[Entry]:
        return [one for one in self.entries if one["kind"] == "mock"]


def find_number(case: Entry) -> str | None:
    """The request's number, if a customer sent it."""
    headers = {name.lower(): value for name, value in case["request"]["headers"]}
    return headers.get(ID_HEADER.lower())


def find_command(folder: Path, word: str) -> str:
    """A program of the folder by its whole path, any other as it is."""
    return str(folder / word) if (folder / word).is_file() else word


class Program:
    """The program of a runtime, installed in a folder, beside its servers."""

    def __init__(self, runtime: Runtime, folder: Path, servers: Servers) -> None:
        self.runtime = runtime
        self._folder = folder
        self._servers = servers
        self.command = fill_in(runtime.start, port=servers.port)
        self.environment = {**servers.environment, **runtime.environment}

    def start(self) -> Process:
        """Runs it until it is healthy."""
        process = Process(
            self.runtime.name, self.command, environment=self.environment, folder=self._folder
        )
        try:
            wait_until_healthy(self._servers.port, READY_SECONDS)
        except TimeoutError as error:
            process.stop()
            raise TimeoutError(f"{error}\n{process.tail()}") from None
        return process

    def record(self, path: Path) -> Recording:
        """Attaches while customers come and go; ends before they do."""
        process = self.start()
        try:
            with loading(self._servers.port, "ann", "bob") as load:
                return self._record_under(load, process, path)
        finally:
            process.stop()

    def _record_under(self, load: Load, process: Process, path: Path) -> Recording:
        load.wait_for(BEFORE_ATTACH)
        before, began_ns = self._servers.count_calls(), time.monotonic_ns()
        recorder = start_recorder(path, "--pid", str(process.pid))
        attached_ns = time.monotonic_ns()
        try:
            load.admit("eve")
            if self.runtime.recycles_after is not None:
                load.wait_for(BEFORE_RECYCLING)
                self._recycle(load, self.runtime.recycles_after)
            load.wait_for(WHILE_ATTACHED)
            stopping_ns = time.monotonic_ns()
        finally:
            summary = stop_recorder(recorder)
        stopped_ns = time.monotonic_ns()
        load.wait_for(BEFORE_STOP)
        load.end()
        after = self._servers.count_calls()
        overlapping = [
            one for one in load.sent if one.ended_ns > began_ns and one.started_ns < stopped_ns
        ]
        within = [
            one
            for one in overlapping
            if attached_ns <= one.started_ns and one.ended_ns <= stopping_ns
        ]
        return Recording(
            path,
            summary,
            read_set(path),
            within,
            [one for one in overlapping if one not in within],
            {name: after[name] - before[name] for name in after},
        )

    def _recycle(self, load: Load, seconds: float) -> None:
        with load.lull():
            self._servers.end_sessions()
            time.sleep(seconds)  # by the pool's own clock

    def record_from_start(self, path: Path) -> Recording:
        """Lets kebpf start the program; the customers come when it is healthy, and go first."""
        before = self._servers.count_calls()
        recorder = launch_recorder(
            path,
            command=[find_command(self._folder, self.command[0]), *self.command[1:]],
            environment=self.environment,
            folder=self._folder,
        )
        try:
            wait_until_healthy(self._servers.port, READY_SECONDS)
            with loading(self._servers.port, "ann", "bob") as load:
                load.wait_for(BEFORE_ATTACH)
                load.admit("eve")
                load.wait_for(FROM_START - BEFORE_ATTACH)
        finally:
            summary = stop_recorder(recorder)
        assert not load.failures, load.failures
        after = self._servers.count_calls()
        counted = {name: after[name] - before[name] for name in after}
        return Recording(path, summary, read_set(path), load.sent, [], counted)

    def replay(self, path: Path, report: Path, bug: str = "") -> TestRun:
        """Tests the program, with a regression if named, against a recording of it."""
        command = shlex.join(self.command)
        test = Process(
            "kebpf test",
            [*find_kebpf(), "test", "-c", command, str(path), "--json", str(report)],
            environment=with_sources(self._with_bug(bug)),
            folder=self._folder,
        )
        try:
            status = test.wait(TEST_SECONDS)
        finally:
            test.stop(signal.SIGINT)
        events = [json.loads(line) for line in report.read_text().splitlines()]
        return TestRun(status, events, "\n".join(test.lines))

    def _with_bug(self, bug: str) -> Mapping[str, str]:
        return {**self.environment, **({"NOTES_BUG": bug} if bug else {})}
