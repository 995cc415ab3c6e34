"""Runs the kebpf command: a recording while something happens, a test, what a test set holds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from examples.processes import Process
from examples.recorder import find_kebpf, start_recorder, stop_recorder, with_sources
from examples.services import EXAMPLES, Services

TEST_SECONDS = 100.0
SHOWN_LINES = 60

Entry = dict[str, Any]


@contextmanager
def recording(
    path: Path, *options: str, command: Sequence[str] = (), environment: Mapping[str, str] = {}
) -> Iterator[Entry]:
    """Records for as long as the block lasts; what is given has the summary afterwards."""
    recorder = start_recorder(path, *options, command=command, environment=environment)
    summary: Entry = {}
    try:
        yield summary
    finally:
        summary.update(stop_recorder(recorder))


def read_set(path: Path) -> list[Entry]:
    """What ``kebpf show --json`` prints of a test set."""
    done = subprocess.run(
        [*find_kebpf(), "show", "--json", path],
        env=with_sources(os.environ),
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


@dataclass(frozen=True)
class TestRun:
    """How a ``kebpf test`` went: exit status, run events, what it printed."""

    __test__ = False

    status: int
    events: list[Entry] = field(repr=False)
    output: str = field(repr=False)

    @property
    def cases(self) -> list[Entry]:
        return [event for event in self.events if event["event"] == "case_finished"]

    @property
    def failed(self) -> list[Entry]:
        """The cases that did not pass, in the order they were run."""
        return [case for case in self.cases if case["verdict"] != "passed"]

    @property
    def finished(self) -> Entry:
        """The last event."""
        assert self.events and self.events[-1]["event"] == "run_finished", self.output
        return self.events[-1]

    def explain(self) -> str:
        """What a person would have seen of the failures."""
        shown = self.output.partition("FAILED")[2] or self.output
        return "\n".join(shown.partition("values not compared")[0].splitlines()[:SHOWN_LINES])


def run_shop_test(services: Services, path: Path, report: Path, bug: str = "") -> TestRun:
    """Tests the shop, with a regression if named, against a recording of it."""
    words = ["-c", services.shop_command, str(path)]
    environment = {**services.shop_environment, "SHOP_BUG": bug}
    return run_kebpf_test(words, report, environment, EXAMPLES)


def run_kebpf_test(
    words: Sequence[str],
    report: Path,
    environment: Mapping[str, str],
    folder: Path,
    seconds: float = TEST_SECONDS,
    user: str | None = None,
) -> TestRun:
    """``kebpf test`` with these words, in a folder, as a user; not longer than ``seconds``."""
    command = [*find_kebpf(), "test", *words, "--json", str(report)]
    told = with_sources(environment)
    report.unlink(missing_ok=True)
    test = Process("kebpf test", command, environment=told, folder=folder, user=user)
    try:
        status = test.wait(seconds)
    finally:
        test.stop(signal.SIGINT)
    lines = report.read_text().splitlines() if report.exists() else []
    return TestRun(status, [json.loads(line) for line in lines], "\n".join(test.lines))
