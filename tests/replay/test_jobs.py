"""Several instances for real: namespaces, redirection, processes; one stream of events."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from kebpf.cli.environment import isolated_environment, make_environment
from kebpf.kernel.cgroup import find_cgroup2_mount, remove_cgroups_of
from kebpf.kernel.errors import KernelError
from kebpf.recording.model import Endpoint, Mock, TestCase, Tier
from kebpf.replay.events import (
    ApplicationReady,
    CaseFinished,
    RunEvent,
    RunFailed,
    RunFinished,
    RunStarted,
)
from kebpf.replay.invoker import find_invoker
from kebpf.replay.jobs import Instances, JobsRunner
from kebpf.replay.runner import Runner
from kebpf.replay.setrun import Environment, RunOptions

from .sets import SetInMemory, make_case, make_mock

pytestmark = pytest.mark.kernel

T = TypeVar("T")
PORT = 8765
NAMES = "abcdefgh"
RATES = "192.0.2.7:8001"
APPLICATION = """
import http.server, os, sys, urllib.request
mode, folder, kept = sys.argv[1], sys.argv[2], {}

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *words): pass
    def do_GET(self):
        name = self.path[1:]
        if name == "b" and mode == "crash":
            os._exit(9)
        if name == "b" and mode == "kill":
            os.kill(int(open(f"{folder}/worker-{os.readlink('/proc/self/ns/net')}").read()), 9)
        request = urllib.request.Request("http://RATES/rates", headers={"User-Agent": "app"})
        body = b"2.0"
        if mode != "silent":
            body = urllib.request.urlopen(request).read()
        if name == "b" and mode == "wrong":
            body = b"9.9"
        self.send_response_only(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

with open(f"{folder}/started", "a") as log:
    log.write("x")
    log.flush()
    if mode == "exit" or mode == "exit-second" and os.fstat(log.fileno()).st_size == 2:
        print("no configuration", flush=True)
        sys.exit(5)
print("up", os.getpid(), flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
"""


class Stand:
    """An application and the means to run it in several instances."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines: list[str] = []
        self.notes: list[str] = []
        text = APPLICATION.replace("RATES", RATES).replace("PORT", str(PORT))
        (folder / "app.py").write_text(text)

    def make_case(self, name: str, order: int) -> TestCase:
        request = f"GET /{name} HTTP/1.1\r\nHost: shop\r\n\r\n".encode()
        response = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n2.0"
        place = Endpoint("tcp", "127.0.0.1", PORT)
        return make_case(name, request, response, order, endpoint=place, calls=[f"rate-{name}"])

    def make_mock(self, name: str, **fields: Any) -> Mock:
        headers = f"Accept-Encoding: identity\r\nHost: {RATES}\r\nUser-Agent: app\r\n"
        request = f"GET /rates HTTP/1.1\r\n{headers}Connection: close\r\n\r\n".encode()
        response = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n2.0"
        values = {"name": f"rate-{name}", "tier": Tier.CASE, "case": name} | fields
        return make_mock("http", RATES, request, response, **values)

    def make_set(self) -> SetInMemory:
        cases = [self.make_case(name, order) for order, name in enumerate(NAMES, 1)]
        return SetInMemory(cases, [self.make_mock(name) for name in NAMES], [PORT])

    @contextlib.contextmanager
    def enter(self) -> Iterator[Environment]:
        """Isolates, and leaves word of who is the worker of this network."""
        with isolated_environment([]) as environment:
            network = Path("/proc/self/ns/net").readlink()
            (self.folder / f"worker-{network}").write_text(str(os.getpid()))
            yield environment

    def make_runner(
        self,
        mode: str,
        jobs: int,
        recorded: SetInMemory | None = None,
        enter: Callable[[], AbstractContextManager[Environment]] | None = None,
        **changes: Any,
    ) -> JobsRunner:
        command = [sys.executable, str(self.folder / "app.py"), mode, str(self.folder)]
        options = RunOptions(
            command, find_invoker(), on_line=self.lines.append, on_note=self.notes.append
        )
        sets = [("set", recorded or self.make_set())]
        runner = Runner(replace(options, **changes), sets, make_environment([]))
        return JobsRunner(runner, Instances(jobs, enter or self.enter, remove_cgroups_of))

    def run(self, mode: str, jobs: int = 4, **changes: Any) -> list[RunEvent]:
        events = list(self.make_runner(mode, jobs, **changes).run())
        assert isinstance(events[0], RunStarted)
        assert isinstance(events[-1], RunFinished)
        return events

    def check_all_gone(self) -> None:
        """No group of a worker is left, and no application."""
        mount = find_cgroup2_mount()
        for worker in self.folder.glob("worker-*"):
            assert not list(mount.glob(f"kebpf-test-{worker.read_text()}*"))
        for line in self.lines:
            pid = line.rpartition("up ")[2]
            assert not pid.isdigit() or not is_alive(int(pid))


def is_alive(pid: int) -> bool:
    """Whether a process is there and is more than a status that nobody asked for yet."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    made = Stand(tmp_path)
    yield made
    made.check_all_gone()


def pick(events: Sequence[RunEvent], kind: type[T]) -> list[T]:
    return [event for event in events if isinstance(event, kind)]


def verdicts(events: Sequence[RunEvent]) -> dict[str, str]:
    return {case.case: case.verdict.value for case in pick(events, CaseFinished)}


def finish(events: Sequence[RunEvent]) -> RunFinished:
    [finished] = pick(events, RunFinished)
    return finished


def test_all_pass_once_on_one_port_in_four_networks(stand: Stand) -> None:
    with socket.create_server(("127.0.0.1", PORT)):  # the host's port is taken meanwhile
        events = stand.run("same")
    assert pick(events, RunStarted)[0].jobs == 4
    assert [ready.ports for ready in pick(events, ApplicationReady)] == [[PORT]] * 4
    assert verdicts(events) == dict.fromkeys(NAMES, "passed")
    finished = finish(events)
    assert (finished.passed, finished.unused_mocks, finished.misses) == (8, 0, 0)
    assert finished.ledger.used == 8
    assert {line[0] for line in stand.lines} == set("1234")


def test_a_failing_case_fails_and_no_other(stand: Stand) -> None:
    events = stand.run("wrong")
    assert verdicts(events) == dict.fromkeys(NAMES, "passed") | {"b": "failed"}
    assert finish(events).failed_cases == ["b"]


def test_mocks_are_unused_if_no_instance_used_them(stand: Stand) -> None:
    recorded = stand.make_set()
    mocks = [mock for _, mock in recorded.iter_mocks()]
    mocks.append(stand.make_mock("start", tier=Tier.STARTUP, case=None))
    events = stand.run("same", recorded=SetInMemory(list(recorded.cases()), mocks, [PORT]))
    assert finish(events).ledger.unused == ["rate-start"]


@pytest.mark.parametrize(("mode", "kinds"), [("same", []), ("silent", ["missing"])])
def test_a_call_of_several_cases_is_asserted_once(
    stand: Stand, mode: str, kinds: list[str]
) -> None:
    cases = [stand.make_case(name, order) for order, name in enumerate("ab", 1)]
    shared = [stand.make_mock(n, case=None, candidates=["a", "b"]) for n in "ab"]
    for case in cases:
        case.calls = []
    if mode == "silent":
        shared = shared[:1]
    finished = finish(stand.run(mode, 2, recorded=SetInMemory(cases, shared, [PORT])))
    assert [finding.kind for finding in finished.findings] == kinds


def test_an_application_that_does_not_start_is_told_once(stand: Stand) -> None:
    events = stand.run("exit")
    [failed] = pick(events, RunFailed)
    assert failed.reason == "the application exited with status 5 before it listened"
    assert failed.output == ["no configuration"]
    assert finish(events).skipped == len(NAMES)


def test_one_that_does_not_start_ends_the_others(stand: Stand) -> None:
    events = stand.run("exit-second", 2)
    assert [failed.output for failed in pick(events, RunFailed)] == [["no configuration"]]
    assert len(pick(events, CaseFinished)) + finish(events).skipped == len(NAMES)


def test_one_that_falls_over_leaves_the_others_to_their_cases(stand: Stand) -> None:
    events = stand.run("crash", 2)
    [failed] = pick(events, RunFailed)
    assert "exited with status 9" in failed.reason
    found = verdicts(events)
    assert found["b"] == "errored" and len(found) == len(NAMES)
    assert list(found.values()).count("passed") >= 4


def test_a_worker_that_is_killed_is_a_sentence(stand: Stand) -> None:
    events = stand.run("kill", 2)
    [failed] = pick(events, RunFailed)
    assert failed.reason.startswith("kebpf's process for instance ")
    assert failed.reason.endswith(" of 2 was ended by SIGKILL: the rest of its cases were not run")
    assert "b" not in verdicts(events)
    assert finish(events).passed >= 4


def test_the_first_failure_ends_all(stand: Stand) -> None:
    events = stand.run("wrong", 2, is_failing_fast=True)
    assert list(verdicts(events).values()).count("failed") == 1
    assert pick(events, CaseFinished)[-1].case == "b"


def test_each_alone_is_divided_too(stand: Stand) -> None:
    events = stand.run("same", 2, is_alone=True)
    assert verdicts(events) == dict.fromkeys(NAMES, "passed")
    assert len(pick(events, ApplicationReady)) == len(NAMES)
    assert finish(events).unused_mocks == 0


def test_a_shuffled_order_holds_within_each_instance(stand: Stand) -> None:
    events = stand.run("same", 1, shuffle=5)
    runner = stand.make_runner("same", 1, shuffle=5)
    order = [case.name for case in runner.runner.sets[0].cases]
    assert list(verdicts(events)) == order != list(NAMES)


def test_where_there_can_be_no_network_nothing_is_said_but_that(stand: Stand) -> None:
    def refuse() -> AbstractContextManager[Environment]:
        raise KernelError("a network namespace cannot be made: no", "do without")

    run = stand.make_runner("same", 2, enter=refuse).run()
    with pytest.raises(KernelError, match="cannot be made: no") as raised:
        next(run)
    assert raised.value.hint == "do without"


def test_an_interrupt_ends_every_instance(stand: Stand) -> None:
    run = stand.make_runner("same", 2).run()
    while not isinstance(next(run), CaseFinished):
        pass
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
            next(run)
    finally:
        signal.signal(signal.SIGINT, previous)
        run.close()  # type: ignore[attr-defined]


def test_events_are_what_reports_are_made_of(stand: Stand) -> None:
    from kebpf.report.jsonl import event_to_json

    for event in stand.run("same", 2):
        assert json.loads(json.dumps(event_to_json(event)))["event"]
