from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from kebpf.kernel.errors import KernelError
from kebpf.recording.model import Endpoint, Mock, TestCase, Tier, Timing
from kebpf.replay import processes
from kebpf.replay.events import (
    ApplicationReady,
    CaseFinished,
    MissKind,
    RunEvent,
    RunFailed,
    RunFinished,
    RunStarted,
    Verdict,
)
from kebpf.replay.invoker import find_invoker
from kebpf.replay.runner import Runner, exit_status
from kebpf.replay.setrun import Environment, RunOptions
from kebpf.replay.stages import Listening, Refusal, ResponderPorts
from tests.replay.sets import PROTOCOLS, SetInMemory, make_case, make_mock
from tests.replay.test_launch import is_alive

T = TypeVar("T")
DEPENDENCY = ("10.0.0.7", 8001)
APPLICATION = """
import http.client, http.server, json, os, pathlib, socket, sys, threading, time
folder, mode, port = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])

def call(path):
    there = http.client.HTTPConnection("127.0.0.1", int((folder / "responder").read_text()))
    there.request("GET", path, headers={"Host": "rates"})
    answer = there.getresponse()
    body = answer.read().decode()
    there.close()
    return str(answer.status) if answer.status != 200 else body

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        name = self.path[1:]
        if mode == "crash" and name == "b":
            print("falling over", flush=True)
            os._exit(9)
        if mode == "drop" and name == "b":
            self.close_connection = True
            return
        rate = "0" if mode == "uncalled" else call("/rates/" + name) if mode != "late" else "1.5"
        if mode == "extra":
            call("/never")
        body = json.dumps({"name": name, "rate": "9" if mode == "wrong" else rate}).encode()
        self.send_response_only(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if mode == "shut":  # the response and the end in one segment
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        self.wfile.write(body)
        self.wfile.flush()
        if mode == "shut":
            self.connection.shutdown(socket.SHUT_WR)
        if mode == "late":
            time.sleep(float((folder / "pause").read_text()))
            call("/rates/" + name)

if mode == "exit":
    print("no configuration", flush=True)
    sys.exit(5)
if mode == "startmiss":
    call("/start")
server = http.server.HTTPServer(("127.0.0.1", port), Handler)
print("up", os.getpid(), flush=True)
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
    told.connect(str(folder / "notify"))
    told.send(b"%d %d" % (os.getpid(), server.server_address[1]))
server.serve_forever()
"""


@dataclass(frozen=True)
class Group:
    """A control group that holds nobody: enough for an application of one process."""

    path: Path


class FakeSteering:
    """Redirects by agreement: the application looks up the responder and tells that it listens."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.is_closed = False
        self._told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        (folder / "notify").unlink(missing_ok=True)
        self._told.bind(str(folder / "notify"))
        self._told.setblocking(False)

    def attach(self, group: processes.Group, ports: ResponderPorts) -> None:
        (self._folder / "responder").write_text(str(ports.tcp4))

    async def watch_listening(self) -> AsyncIterator[Listening]:
        while True:
            data = await asyncio.get_running_loop().sock_recv(self._told, 100)
            pid, port = data.split()
            yield Listening(int(pid), "127.0.0.1", int(port))

    def original_destination(self, transport: str, host: str, port: int) -> tuple[str, int] | None:
        return DEPENDENCY

    def take_refusals(self) -> list[Refusal]:
        return []

    def close(self) -> None:
        self.is_closed = True
        self._told.close()


def find_free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


class Stand:
    """A folder with an application, a test set for it and all that a run needs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = find_free_port()
        (folder / "app.py").write_text(APPLICATION)
        (folder / "pause").write_text("0")
        (folder / "cgroup.procs").touch()
        self.steerings: list[FakeSteering] = []
        self.notes: list[str] = []
        self.lines: list[str] = []

    def make_case(self, name: str, order: int) -> TestCase:
        request = b"GET /%s HTTP/1.1\r\nHost: shop\r\n\r\n" % name.encode()
        body = json.dumps({"name": name, "rate": "1.5"}).encode()
        response = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
        return make_case(
            name,
            request,
            response + body,
            order,
            endpoint=Endpoint("tcp", "127.0.0.1", self.port),
            calls=[f"rate-{name}"],
        )

    def make_mock(self, name: str, **fields: Any) -> Mock:
        request = f"GET /rates/{name} HTTP/1.1\r\nHost: rates\r\nAccept-Encoding: identity\r\n\r\n"
        response = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n1.5"
        values = {"name": f"rate-{name}", "case": name, "tier": Tier.CASE} | fields
        destination = f"{DEPENDENCY[0]}:{DEPENDENCY[1]}"
        return make_mock("http", destination, request.encode(), response, **values)

    def make_set(self, *names: str) -> SetInMemory:
        cases = [self.make_case(name, order) for order, name in enumerate(names, 1)]
        return SetInMemory(cases, [self.make_mock(name) for name in names], [self.port])

    def make_options(self, mode: str, **changes: Any) -> RunOptions:
        app = str(self.folder / "app.py")
        command = [sys.executable, app, str(self.folder), mode, str(self.port)]
        options = RunOptions(
            command,
            find_invoker(),
            calls_wait_s=20.0,
            request_timeout_s=20.0,
            ready_timeout_s=20.0,
            on_line=self.lines.append,
            on_note=self.notes.append,
        )
        return replace(options, **changes)

    def make_steering(self) -> FakeSteering:
        self.steerings.append(FakeSteering(self.folder))
        return self.steerings[-1]

    @contextmanager
    def make_group(self) -> Iterator[Group]:
        yield Group(self.folder)
        (self.folder / "cgroup.procs").write_text("")

    def make_runner(
        self, mode: str, sets: Sequence[SetInMemory] | None = None, **changes: Any
    ) -> Runner:
        environment = Environment(self.make_steering, self.make_group, protocols=lambda: PROTOCOLS)
        sets = [self.make_set("a", "b", "c")] if sets is None else sets
        named = [(f"set{number}", one) for number, one in enumerate(sets, 1)]
        return Runner(self.make_options(mode, **changes), named, environment)

    def run(self, mode: str, *sets: SetInMemory, **changes: Any) -> list[RunEvent]:
        events = list(self.make_runner(mode, list(sets) or None, **changes).run())
        assert isinstance(events[0], RunStarted)
        assert isinstance(events[-1], RunFinished)
        assert all(steering.is_closed for steering in self.steerings)
        for line in self.lines:
            if line.startswith("up "):
                assert not is_alive(int(line.split()[1]))
        return events


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path)


def pick(events: Sequence[RunEvent], kind: type[T]) -> list[T]:
    return [event for event in events if isinstance(event, kind)]


def verdicts(events: Sequence[RunEvent]) -> str:
    """One letter a case: passed, failed, errored."""
    return "".join(case.verdict.value[0] for case in pick(events, CaseFinished))


def finish(events: Sequence[RunEvent]) -> RunFinished:
    [finished] = pick(events, RunFinished)
    return finished


class TestVerdicts:
    def test_unchanged_code_passes(self, stand: Stand) -> None:
        events = stand.run("same")
        kinds = [type(event) for event in events]
        assert kinds == [RunStarted, ApplicationReady, *[CaseFinished] * 3, RunFinished]
        assert verdicts(events) == "ppp"
        [ready] = pick(events, ApplicationReady)
        assert (ready.test_set, ready.ports) == ("set1", [stand.port])
        case = pick(events, CaseFinished)[0]
        assert case.request == "GET http://shop/a"
        assert case.exact > 0
        assert f"http://127.0.0.1:{stand.port}/a" in case.curl
        assert case.repeat.startswith("kebpf test set1 --case a -- ")
        finished = finish(events)
        assert (finished.passed, finished.failed, finished.errored) == (3, 0, 0)
        assert (finished.misses, finished.unused_mocks, finished.ledger.used) == (0, 0, 3)
        assert exit_status(finished) == 0

    def test_details_are_told_where_a_report_asks_for_them(self, stand: Stand) -> None:
        [plain, *_] = pick(stand.run("same"), CaseFinished)
        assert (plain.sent, plain.timings) == (None, [])
        [case, *_] = pick(stand.run("same", is_detailed=True), CaseFinished)
        assert (case.sent["method"], case.sent["path"]) == ("GET", "/a")
        [call] = case.timings
        assert call.mock is not None
        assert 0 < (call.at or 0) <= (case.answered_seconds or 0) <= case.seconds
        assert call.recorded_seconds is not None

    def test_a_changed_response_fails(self, stand: Stand) -> None:
        events = stand.run("wrong")
        assert verdicts(events) == "fff"
        [mismatch] = pick(events, CaseFinished)[0].mismatches
        assert (mismatch.kind, mismatch.expected, mismatch.actual) == ("changed", "1.5", "9")
        assert finish(events).failed_cases == ["a", "b", "c"]
        assert exit_status(finish(events)) == 1

    def test_an_equal_response_with_another_call_fails(self, stand: Stand) -> None:
        events = stand.run("extra")
        assert verdicts(events) == "fff"
        [finding] = pick(events, CaseFinished)[0].calls
        assert (finding.kind, finding.miss) == ("extra", MissKind.NEVER_RECORDED)
        assert pick(events, CaseFinished)[0].mismatches == []
        assert finish(events).misses == 3

    def test_a_missing_call_fails_after_the_wait_for_it(self, stand: Stand) -> None:
        events = stand.run("uncalled", calls_wait_s=0.01)
        assert verdicts(events) == "fff"
        assert [one.kind for one in pick(events, CaseFinished)[0].calls] == ["missing"]
        assert finish(events).unused_mocks == 3

    def test_a_call_after_the_response_is_waited_for(self, stand: Stand) -> None:
        assert verdicts(stand.run("late")) == "ppp"

    def test_an_application_that_does_nothing_more_is_not_waited_for(self, stand: Stand) -> None:
        events = stand.run("uncalled", calls_wait_s=3600.0)  # the test's own limit is shorter
        assert [one.kind for one in pick(events, CaseFinished)[0].calls] == ["missing"]

    @pytest.mark.parametrize("end_s", [0.1, 1.0])
    def test_a_call_is_waited_for_as_long_as_it_took_when_recorded(
        self, end_s: float, stand: Stand
    ) -> None:
        (stand.folder / "pause").write_text("0.5")
        case = stand.make_case("a", 1)
        start_ns = case.timing.start_ns
        case.timing = Timing(start_ns, start_ns + int(end_s * 1e9))
        made = Timing(start_ns + 600_000_000, start_ns + 601_000_000)
        recorded = SetInMemory([case], [stand.make_mock("a", timing=made)], [stand.port])
        assert verdicts(stand.run("late", recorded)) == "p"

    def test_a_lost_connection_is_an_error_of_its_case_only(self, stand: Stand) -> None:
        events = stand.run("drop")
        assert verdicts(events) == "pep"
        assert "connection" in str(pick(events, CaseFinished)[1].error)
        assert pick(events, RunFailed) == []
        assert exit_status(finish(events)) == 1

    def test_a_connection_that_was_kept_is_not_to_be_closed(self, stand: Stand) -> None:
        recorded = stand.make_set("a", "b")
        recorded.cases()[0].is_kept_open = True
        assert verdicts(stand.run("shut", recorded)) == "ep"
        assert verdicts(stand.run("same", recorded)) == "pp"

    def test_a_shared_call_that_is_lost_fails_the_run(self, stand: Stand) -> None:
        cases = [stand.make_case("a", 1), stand.make_case("b", 2)]
        shared = stand.make_mock("shared", case=None, candidates=["a", "b"])
        recorded = SetInMemory(cases, [stand.make_mock("a"), stand.make_mock("b"), shared])
        finished = finish(stand.run("same", recorded, calls_wait_s=0.01))
        assert [finding.kind for finding in finished.findings] == ["missing"]
        assert exit_status(finished) == 1

    def test_a_start_up_call_that_was_never_recorded_fails_the_run(self, stand: Stand) -> None:
        events = stand.run("startmiss")
        assert verdicts(events) == "ppp"
        [finding] = finish(events).findings
        assert finding.miss is MissKind.NEVER_RECORDED
        assert exit_status(finish(events)) == 1


class TestFailFast:
    def test_the_run_ends_after_the_first_failure(self, stand: Stand) -> None:
        sets = [stand.make_set("a", "b"), stand.make_set("c")]
        events = stand.run("wrong", *sets, is_failing_fast=True)
        assert verdicts(events) == "f"
        finished = finish(events)
        assert (finished.failed, finished.skipped, finished.unused_mocks) == (1, 2, 0)
        assert exit_status(finished) == 1

    def test_nothing_is_left_out_when_all_pass(self, stand: Stand) -> None:
        sets = [stand.make_set("a", "b"), stand.make_set("c")]
        assert verdicts(stand.run("same", *sets, is_failing_fast=True)) == "ppp"

    def test_a_crash_is_still_told(self, stand: Stand) -> None:
        events = stand.run("crash", is_failing_fast=True)
        assert verdicts(events) == "pe"
        assert len(pick(events, RunFailed)) == 1


class TestApplication:
    def test_a_crash_ends_the_run_with_its_last_lines(self, stand: Stand) -> None:
        events = stand.run("crash")
        assert verdicts(events) == "pee"
        errors = [case.error for case in pick(events, CaseFinished)]
        assert errors[1:] == [
            "the application exited with status 9",
            "not sent: the application exited with status 9",
        ]
        [failed] = pick(events, RunFailed)
        assert failed.reason == "the application exited with status 9 before the run was over"
        assert failed.output[-1] == "falling over"
        assert exit_status(failed) == 3

    def test_an_early_exit(self, stand: Stand) -> None:
        events = stand.run("exit")
        [failed] = pick(events, RunFailed)
        assert failed.reason == "the application exited with status 5 before it listened"
        assert failed.output == ["no configuration"]
        assert finish(events).skipped == 3

    def test_a_command_that_is_not_there(self, stand: Stand) -> None:
        events = stand.run("same", command=["no-such-command"])
        assert [one.reason for one in pick(events, RunFailed)] == [
            "the command no-such-command was not found"
        ]

    def test_another_port_is_used_and_said(self, stand: Stand) -> None:
        recorded = stand.make_set("a")
        stand.port = find_free_port()
        events = stand.run("same", recorded)
        assert verdicts(events) == "p"
        assert [note for note in stand.notes if f"listens on port {stand.port} instead" in note]

    def test_leaving_early_ends_everything(self, stand: Stand) -> None:
        async def scenario() -> None:
            async with aclosing(stand.make_runner("same").events()) as events:
                async for event in events:
                    if isinstance(event, CaseFinished):
                        break

        asyncio.run(scenario())
        [up] = [line for line in stand.lines if line.startswith("up ")]
        assert not is_alive(int(up.split()[1]))
        assert stand.steerings[0].is_closed

    def test_an_interrupt_ends_everything(self, stand: Stand) -> None:
        def interrupt(line: str) -> None:
            stand.lines.append(line)
            signal.raise_signal(signal.SIGINT)

        with pytest.raises(KeyboardInterrupt):
            list(stand.make_runner("same", on_line=interrupt).run())
        assert not is_alive(int(stand.lines[0].split()[1]))
        assert stand.steerings[0].is_closed


class TestSets:
    def test_each_set_has_an_application_of_its_own(self, stand: Stand) -> None:
        events = stand.run("same", stand.make_set("a"), stand.make_set("b"))
        ready = pick(events, ApplicationReady)
        assert [one.test_set for one in ready] == ["set1", "set2"]
        assert ready[0].pid != ready[1].pid
        assert verdicts(events) == "pp"

    def test_only_chosen_cases_run_and_the_others_mocks_are_not_missed(self, stand: Stand) -> None:
        events = stand.run("same", cases=["b", "nothing*"])
        assert [case.case for case in pick(events, CaseFinished)] == ["b"]
        assert (finish(events).passed, finish(events).unused_mocks) == (1, 0)
        assert stand.notes == ["no case is called nothing*"]

    def test_nothing_to_run_is_not_a_pass(self, stand: Stand) -> None:
        events = stand.run("same", cases=["nothing"])
        assert [type(event) for event in events] == [RunStarted, RunFinished]
        assert exit_status(finish(events)) == 4

    def test_a_delay_is_cut_short_only_by_an_exit(self, stand: Stand) -> None:
        assert verdicts(stand.run("same", delay_s=0.01)) == "ppp"


class TestOrder:
    def test_a_seed_is_an_order_that_the_repeat_line_names(self, stand: Stand) -> None:
        orders = []
        for seed in (4, 4, 5):
            events = stand.run("same", shuffle=seed)
            [started] = pick(events, RunStarted)
            assert (started.shuffle, started.is_alone) == (seed, False)
            assert verdicts(events) == "ppp"
            cases = pick(events, CaseFinished)
            orders.append([case.case for case in cases])
            assert cases[0].repeat.startswith(f"kebpf test set1 --shuffle={seed} -- ")
        assert orders[0] == orders[1] == ["c", "b", "a"]
        assert orders[2] == ["a", "b", "c"]

    def test_alone_is_a_start_of_the_application_for_each_case(self, stand: Stand) -> None:
        mocks = [stand.make_mock("a"), stand.make_mock("b")]
        mocks.append(stand.make_mock("start", tier=Tier.STARTUP, case=None))
        cases = [stand.make_case("a", 1), stand.make_case("b", 2)]
        recorded = SetInMemory(cases, mocks, [stand.port])
        events = stand.run("same", recorded, is_alone=True)
        ready = pick(events, ApplicationReady)
        assert len({one.pid for one in ready}) == len(ready) == 2
        assert [case.case for case in pick(events, CaseFinished)] == ["a", "b"]
        finished = finish(events)
        assert (finished.passed, finished.skipped) == (2, 0)
        assert finished.ledger.unused == ["rate-start"]

    def test_alone_a_missing_call_is_unused(self, stand: Stand) -> None:
        events = stand.run("uncalled", stand.make_set("a", "b"), is_alone=True, calls_wait_s=0.01)
        assert verdicts(events) == "ff"
        assert finish(events).ledger.unused == ["rate-a", "rate-b"]

    def test_alone_a_crash_is_its_own_case_only(self, stand: Stand) -> None:
        events = stand.run("crash", is_alone=True)
        assert verdicts(events) == "pep"
        assert finish(events).skipped == 0

    def test_alone_an_application_that_does_not_start_is_tried_once(self, stand: Stand) -> None:
        events = stand.run("exit", is_alone=True)
        assert len(pick(events, RunFailed)) == 1
        assert finish(events).skipped == 3


class TestEnvironment:
    @pytest.mark.parametrize(
        ("error", "reason"),
        [
            (KernelError("no BTF", "see `kebpf doctor`"), "no BTF (see `kebpf doctor`)"),
            (KernelError("no cgroup"), "no cgroup"),
            (
                PermissionError(1, "Operation not permitted"),
                "the test environment could not be set up: Operation not permitted",
            ),
        ],
    )
    def test_a_kernel_that_refuses_is_a_failed_run(
        self, stand: Stand, error: Exception, reason: str
    ) -> None:
        def refuse() -> FakeSteering:
            raise error

        environment = Environment(refuse, stand.make_group, protocols=lambda: PROTOCOLS)
        options = stand.make_options("same")
        events = list(Runner(options, [("set", stand.make_set("a"))], environment).run())
        assert [failed.reason for failed in pick(events, RunFailed)] == [reason]
        assert finish(events).skipped == 1


def test_every_verdict_has_a_letter_of_its_own() -> None:
    assert len({verdict.value[0] for verdict in Verdict}) == len(Verdict)
