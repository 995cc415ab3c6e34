"""Records an application, and replays a recording against a copy of it."""

from __future__ import annotations

import json
import shlex
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from examples.processes import Process, ProcessError
from examples.recorder import find_kebpf, launch_recorder, stop_recorder, with_sources
from tests.e2e.kebpf_runs import Entry
from tests.e2e.runtimes.load import wait_until_healthy
from tests.mutants.applications import READY_SECONDS, Application

ALONE = Path(__file__).parent / "alone.py"
TEST_SECONDS = 120.0
REQUEST_SECONDS = 5.0


def record(application: Application, folder: Path, path: Path, drive: Callable[[], None]) -> int:
    """Has kebpf start the copy in ``folder`` and ``drive`` go; gives the number of cases.

    Raises `AssertionError` where anything was lost or left out.
    """
    application.reset()
    first, *rest = application.command
    program = folder / first
    recorder = launch_recorder(
        path,
        command=[str(program) if program.exists() else first, *rest],
        environment={**application.environment, "PYTHONDONTWRITEBYTECODE": "1"},
        folder=folder,
    )
    try:
        wait_until_healthy(application.port, READY_SECONDS)
        drive()
    finally:
        summary = stop_recorder(recorder)
    assert summary["lost_bytes"] == 0 or application.name == "python-django", summary
    cases: int = summary["test_cases"]
    return cases


@dataclass(frozen=True)
class Replay:
    """How a replay ended: the exit status of ``kebpf test`` and the first thing it found."""

    status: int | None
    finding: str
    output: str

    @property
    def is_caught(self) -> bool:
        return self.status in (1, 3)


def replay(application: Application, folder: Path, path: Path, report: Path) -> Replay:
    """Tests the copy in ``folder`` with its servers out of reach, until the first failure.

    It runs in a network namespace of its own, so any number can at the same time.
    """
    command = shlex.join(application.command)
    options = ["test", "--fail-fast", "--timeout", f"{REQUEST_SECONDS:g}", "-c", command]
    alone = ["unshare", "--net", "--", sys.executable, "-S", "-E", str(ALONE)]
    test = Process(
        "kebpf test",
        [*alone, *find_kebpf(), *options, str(path), "--json", str(report)],
        environment=with_sources({**application.environment, "PYTHONDONTWRITEBYTECODE": "1"}),
        folder=folder,
    )
    status: int | None
    try:
        status = test.wait(TEST_SECONDS)
    except ProcessError:
        status = None
    finally:
        test.stop(signal.SIGINT)
    lines = report.read_text().splitlines() if report.exists() else []
    return Replay(status, describe([json.loads(line) for line in lines]), "\n".join(test.lines))


def describe(events: list[Entry]) -> str:
    """The first finding, in a line."""
    for event in events:
        if event["event"] == "run_failed":
            return f"it did not start: {event['reason']}"
        if event["event"] == "case_finished" and event["verdict"] != "passed":
            return f"{event['request']}: {_describe_case(event)}"
        if event["event"] == "run_finished" and event["findings"]:
            found = event["findings"][0]
            return f"{found['kind']} call: {found['call']}"
    return ""


def _describe_case(event: Entry) -> str:
    if event["error"]:
        return str(event["error"])
    for call in event["calls"]:
        return f"{call['kind']} call: {call['call']}"
    return f"{event['mismatches'][0]['kind']} {event['mismatches'][0]['path']}"
