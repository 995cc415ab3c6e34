"""A real recording under load is killed: what was complete is a set, and nothing else is."""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from examples.recorder import with_sources
from kebpf.recording.facts import CUT_OFF
from kebpf.recording.recovery import recover_all
from kebpf.recording.store import TestSet
from tests.e2e.conftest import skip_unless_root
from tests.recording.running import Service, run_service

pytestmark = [pytest.mark.e2e, pytest.mark.kernel]

RECORDER = Path(__file__).with_name("durable_recorder.py")
#: How often something is killed; ``make kills`` asks for more.
KILLS = int(os.environ.get("KEBPF_KILLS", "3"))
VICTIMS = ("assembler", "recorder", "both")


@contextmanager
def under_load(service: Service) -> Iterator[list[str]]:
    """Requests one after the other; the names that were answered, and answered right."""
    answered: list[str] = []
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.wait(0.005):  # what is parsed is to keep up
            name = f"item{len(answered)}"
            assert service.get(name) == {"name": name, "value": 2 * name}
            answered.append(name)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield answered
    finally:
        is_over.set()
        thread.join()


@dataclass(slots=True)
class Run:
    """A recorder at work: ``said`` is what it prints."""

    process: subprocess.Popen[str]
    said: Iterator[str]
    assembler: int
    ended: int  # readable when the assembler has ended


@contextmanager
def recording(pid: int, folder: Path) -> Iterator[Run]:
    """Until it is killed, at the latest here."""
    words = [sys.executable, str(RECORDER), str(pid), str(folder)]
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, text=True, env=with_sources(os.environ)
    )
    try:
        assert process.stdout is not None
        assembler = int(process.stdout.readline())
        ended = os.pidfd_open(assembler)
        try:
            yield Run(process, iter(process.stdout), assembler, ended)
        finally:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(ended, signal.SIGKILL)
            os.close(ended)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", range(KILLS))
def test_kill_9_at_any_moment(tmp_path: Path, number: int) -> None:
    skip_unless_root()
    victim, luck = VICTIMS[number % len(VICTIMS)], random.Random(number)
    with (
        run_service() as service,
        under_load(service) as answered,
        recording(service.pid, tmp_path / "set") as run,
    ):
        enough = luck.randrange(1, 200)
        told = next(cases for line in run.said if (cases := int(line)) >= enough)
        if victim != "assembler":
            run.process.kill()
        if victim != "recorder":
            signal.pidfd_send_signal(run.ended, signal.SIGKILL)
        told = max([told, *map(int, run.said)])
        poll = select.poll()
        poll.register(run.ended, select.POLLIN)
        poll.poll()
        assert service.get("after") == {"name": "after", "value": "afterafter"}
        seen = set(answered)
    if victim == "recorder":
        assert [path.name for path in tmp_path.iterdir()] == ["set"], "it finishes alone"
        assert recover_all(tmp_path).recovered == []
    else:
        assert len(recover_all(tmp_path).recovered) == 1
    check_set(TestSet.open(tmp_path / "set"), told, seen)


def check_set(test_set: TestSet, told: int, answered: set[str]) -> None:
    """All that was said to be complete is there; each case is as its client saw it."""
    cases = test_set.cases()
    assert len(cases) >= told
    assert CUT_OFF in test_set.manifest.extra
    assert test_set.manifest.command[-2].endswith("service.py")
    test_set.check_calls()
    mocks = {mock.name: mock for _, mock in test_set.iter_mocks()}
    for case in cases:
        name = case.request["target"][1:]
        assert name in answered
        assert case.response["body"] == b'{"name": "%s", "value": "%s"}' % (
            name.encode(),
            2 * name.encode(),
        )
        (call,) = case.calls
        assert (mocks[call].case, name in str(mocks[call].request)) == (case.name, True)
    assert {mock.case for mock in mocks.values()} <= {None, *(case.name for case in cases)}
